"""Destinations as the rules file names them, and whom they reach."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.chat import Chat, Variable, Visitor
from relay.destination import UNLIMITED, Destination, Rate, Secret, WhenUnsure
from relay.rules import RulesError
from relay.settings.table import read_settings
from relay.transports.access import Access
from relay.transports.registry import most_per_hour
from tests.rules.books import a_book


def a_destination(text: str, head: str = "") -> Destination:
    book = a_book(
        f"{head}\n"
        f"destinations: {{it: {text}, other: {{email: {{to: other@example.com}}}}}}\n"
        "rules: [{name: All, when: always, send_to: [it, other]}]"
    )
    return book.destinations["it"]


def test_a_mail_destination_has_bare_addresses_each_once() -> None:
    to = '[desk@example.com, "Anna <Anna@Example.com>", anna@example.com, DESK@example.com]'
    it = a_destination(f"{{email: {{to: {to}}}}}")
    assert it.options == {"to": ("desk@example.com", "Anna@example.com")}


def test_one_address_needs_no_list() -> None:
    assert a_destination("{email: {to: a@example.com}}").options == {"to": ("a@example.com",)}


def test_an_international_domain_becomes_ascii() -> None:
    assert a_destination("{email: {to: a@háčky.cz}}").options == {"to": ("a@xn--hky-ela4t.cz",)}


@pytest.mark.parametrize("domain", ["mail.local", "post.lan", "relay.test", "mx.internal"])
def test_a_domain_of_the_house_is_an_address(domain: str) -> None:
    assert a_destination(f"{{email: {{to: a@{domain}}}}}").options == {"to": (f"a@{domain}",)}


@pytest.mark.parametrize("written", ["$SLACK_ROOM", "${SLACK_ROOM}"])
def test_a_secret_is_kept_by_name(written: str) -> None:
    it = a_destination(f"{{slack: {{webhook: '{written}'}}}}")
    assert it.options == {"webhook": Secret("SLACK_ROOM")}


def test_an_option_that_says_how_may_stand_beside_or_below() -> None:
    beside = a_destination("{slack: {channel: C0123456789}, mention: here}")
    below = a_destination("{slack: {channel: C0123456789, mention: here}}")
    assert beside == below
    assert beside.options == {"channel": "C0123456789", "mention": "here"}


def test_language_and_zone_come_from_the_file_unless_said() -> None:
    head = "language: de\ntimezone: Europe/Berlin"
    plain = a_destination("{email: {to: a@example.com}}", head)
    assert (plain.language, plain.timezone) == ("de", ZoneInfo("Europe/Berlin"))
    own = a_destination("{email: {to: a@example.com}, language: cs, timezone: Europe/Madrid}", head)
    assert (own.language, own.timezone) == ("cs", ZoneInfo("Europe/Madrid"))


def test_without_a_word_it_is_english_and_utc() -> None:
    it = a_destination("{email: {to: a@example.com}}")
    assert (it.language, it.timezone, it.rates, it.fallback) == ("en", ZoneInfo("UTC"), None, "")


@pytest.mark.parametrize(
    ("written", "rates"),
    [
        ("5/s", (Rate(5),)),
        ("30/min", (Rate(30, timedelta(minutes=1)),)),
        ("100 / h", (Rate(100, timedelta(hours=1)),)),
        ("50/30s", (Rate(50, timedelta(seconds=30)),)),
        ("[1/s, 50/30s]", (Rate(1), Rate(50, timedelta(seconds=30)))),
        ("unlimited", ()),
    ],
)
def test_a_rate_is_a_count_in_a_time(written: str, rates: tuple[Rate, ...]) -> None:
    assert a_destination(f"{{email: {{to: a@example.com}}, rate: {written}}}").rates == rates


@pytest.mark.parametrize(
    ("written", "most"), [("50", 50), ("unlimited", UNLIMITED), ("Unlimited", UNLIMITED)]
)
def test_a_destination_gets_so_many_an_hour(written: str, most: int) -> None:
    it = a_destination(f"{{email: {{to: a@example.com}}, most_per_hour: {written}}}")
    assert it.most_per_hour == most


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("0", "expected how many in an hour, got '0'; write 200, or unlimited"),
        ("-5", "expected how many in an hour, got '-5'; write 200, or unlimited"),
        ("1.5", "expected how many in an hour, got '1.5'"),
        ("many", "expected how many in an hour, got 'many'"),
        ("50/h", "expected how many in an hour, got '50/h'; write 50"),
        ("200 per hour", "expected how many in an hour, got '200 per hour'; write 200"),
    ],
)
def test_what_is_no_number_an_hour_is_refused(written: str, words: str) -> None:
    with pytest.raises(RulesError) as caught:
        a_destination(f"{{email: {{to: a@example.com}}, most_per_hour: {written}}}")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("server", "setting", "written", "most"),
    [
        ("smtps://me:pw@smtp.example.com", {}, "", 200),
        ("smtp://10.0.0.5", {}, "", 200),
        ("smtp://127.0.0.1", {}, "", 2000),
        ("smtp://localhost", {}, "", 2000),
        ("smtp://[::1]", {}, "", 2000),
        ("smtp://127.0.0.1", {"RELAY_MAIL_PER_HOUR": "200"}, "", 200),
        ("smtps://me:pw@smtp.example.com", {"RELAY_MAIL_PER_HOUR": "unlimited"}, "", None),
        ("smtps://me:pw@smtp.example.com", {"RELAY_MAIL_PER_HOUR": "9"}, "5", 5),
        ("smtps://me:pw@smtp.example.com", {"RELAY_MAIL_PER_HOUR": "9"}, "unlimited", None),
    ],
)
def test_mail_has_a_ceiling_unless_somebody_says_otherwise(
    server: str, setting: dict[str, str], written: str, most: int | None
) -> None:
    key = f", most_per_hour: {written}" if written else ""
    mail = a_destination(f"{{email: {{to: a@example.com}}{key}}}")
    access = Access(read_settings({"RELAY_SMTP_URL": server, **setting}), str)
    assert most_per_hour(mail, access) == most


def test_a_fallback_is_another_destination() -> None:
    assert a_destination("{email: {to: a@example.com}, fallback: other}").fallback == "other"


def test_a_fallback_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(RulesError, match=r"called 'xyz'; there are: it, other$"):
        a_destination("{email: {to: a@example.com}, fallback: xyz}")


def test_what_waits_may_go_to_the_fallback_after_a_while() -> None:
    mail = "email: {to: a@example.com}, fallback: other"
    assert a_destination(f"{{{mail}}}").fallback_after is None
    it = a_destination(f"{{{mail}, fallback_after: 1h30m}}")
    assert it.fallback_after == timedelta(minutes=90)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("fallback: other, fallback_after: 59s", "'59s' is shorter than a minute"),
        ("fallback: other, fallback_after: soon", "expected a duration, got 'soon'"),
        ("fallback_after: 15m", "nothing says where notifications go after that"),
    ],
)
def test_a_fallback_after_nothing_or_at_once_is_refused(written: str, words: str) -> None:
    with pytest.raises(RulesError) as caught:
        a_destination(f"{{email: {{to: a@example.com}}, {written}}}")
    assert words in str(caught.value)


def test_secrets_and_settings_are_told_with_their_places() -> None:
    book = a_book(
        """\
        destinations:
          room: {slack: {webhook: $ROOM}}
          again: {slack: {webhook: $ROOM}}
          bot: {slack: {channel: C0123456789}}
        rules: [{name: All, when: always, send_to: [room, again, bot]}]
        """
    )
    assert {name: [str(place) for place in places] for name, places in book.secrets.items()} == {
        "ROOM": ["rules.yaml:2:27", "rules.yaml:3:28"]
    }
    assert list(book.needed_settings) == ["RELAY_SLACK_TOKEN"]


# -- recipients that a chat chooses ------------------------------------------------------------------------


@pytest.mark.parametrize("choice", WhenUnsure)
def test_what_follows_a_lost_answer_can_be_chosen(choice: WhenUnsure) -> None:
    assert a_destination("{email: {to: a@example.com}}").when_unsure is None
    it = a_destination(f"{{email: {{to: a@example.com}}, when_unsure: {choice.title()}}}")
    assert it.when_unsure is choice


@pytest.mark.parametrize(
    ("written", "reply_to"),
    [
        ("visitor", "visitor"),
        ("Visitor", "visitor"),
        ("nobody", "nobody"),
        ("team", "desk@example.com"),
        ("support@example.com", "support@example.com"),
        ("'Jana Malá <Jana@example.com>'", "Jana@example.com"),
        ("support@háčky.cz", "support@xn--hky-ela4t.cz"),
    ],
)
def test_who_gets_an_answer_can_be_chosen(written: str, reply_to: str) -> None:
    to = '["{{ visitor.variables.owner }}", desk@example.com, anna@example.com]'
    head = "recipient_domains: [example.com]"
    assert a_destination(f"{{email: {{to: {to}}}}}", head).reply_to == "visitor"
    assert a_destination(f"{{email: {{to: {to}}}, reply_to: {written}}}", head).reply_to == reply_to
    assert a_destination(f"{{email: {{to: {to}, reply_to: {written}}}}}", head).reply_to == reply_to


@pytest.mark.parametrize("written", ["nowhere", "a@b@c", "'{{ visitor.email }}'", "''"])
def test_an_answer_goes_to_somebody_or_to_nobody(written: str) -> None:
    with pytest.raises(
        RulesError, match=r"visitor, team, nobody or an address such as support@example\.com"
    ):
        a_destination(f"{{email: {{to: a@example.com}}, reply_to: {written}}}")


@pytest.mark.parametrize(
    ("written", "value"), [("false", False), ("No", False), ("true", True), ("yes", True)]
)
def test_a_mail_need_not_say_that_a_program_sent_it(written: str, value: bool) -> None:
    for text in ("{{email: {{to: a@b.example}}, {}}}", "{{email: {{to: a@b.example, {}}}}}"):
        it = a_destination(text.format(f"mark_as_automatic: {written}"))
        assert it.options["mark_as_automatic"] is value


@pytest.mark.parametrize("written", ["maybe", "0", "[true]", "''"])
def test_whether_a_mail_says_so_is_true_or_false(written: str) -> None:
    with pytest.raises(RulesError, match="expected true or false"):
        a_destination(f"{{email: {{to: a@b.example}}, mark_as_automatic: {written}}}")


def test_only_a_mail_is_answered() -> None:
    with pytest.raises(RulesError, match="unknown key 'reply_to' for a slack destination"):
        a_destination("{slack: {channel: C0123456789}, reply_to: nobody}")


def owned_by(owner: str, to: str = "{{ visitor.variables.owner }}") -> tuple[list[str], str]:
    """Who gets mail for a chat with this owner, and what is said of an address that was left out."""
    book = a_book(
        "recipient_domains: [example.com, háčky.cz]\n"
        f"destinations: {{owner: {{email: {{to: ['{to}', desk@example.org]}}}}}}\n"
        "rules: [{name: All, when: always, send_to: owner}]"
    )
    visitor = Visitor(variables={"owner": Variable(label="Owner", value=owner)})
    (verdict,) = book.explain(Chat(account="1", id="1", visitor=visitor))
    (match,) = verdict.matches
    *others, desk = sorted(match.recipients, key="desk@example.org".__eq__)
    assert desk == "desk@example.org"
    return others, " ".join(verdict.left_out)


def test_a_recipient_can_come_from_the_chat() -> None:
    assert owned_by("Anna@Example.com") == (["Anna@example.com"], "")
    assert owned_by("anna", "{{visitor.variables.owner}}@example.com")[0] == ["anna@example.com"]
    assert owned_by("a@háčky.cz")[0] == ["a@xn--hky-ela4t.cz"]


def test_the_same_address_twice_gets_one_mail() -> None:
    assert owned_by("DESK@example.org".replace("org", "com"), "desk@example.com")[0] == [
        "desk@example.com"
    ]


@pytest.mark.parametrize(
    ("owner", "why"),
    [
        ("", "owner: {{ visitor.variables.owner }} is empty for this chat"),
        ("anna", "is “anna”, which is not an email address"),
        ("anna@evil.test", "is “anna@evil.test”, which is outside recipient_domains"),
        ("anna@sub.example.com", "which is outside recipient_domains"),
        ("anna@example.com.evil.test", "which is outside recipient_domains"),
        ("a@evil.test, b@example.com", "which is not an email address"),
        ("a@evil.test>, <b@example.com", "which is not an email address"),
        ("a@example.com\nBcc: b@evil.test", "which is not an email address"),
        ('"a@evil.test"@example.com', "which is not an email address"),
        ("a@[192.0.2.1]", "which is not an email address"),
    ],
)
def test_an_address_that_can_t_be_used_is_left_out_and_named(owner: str, why: str) -> None:
    reached, left_out = owned_by(owner)
    assert reached == []
    assert why in left_out


@given(st.text(max_size=60))
def test_nobody_outside_the_allowed_domains_is_ever_reached(owner: str) -> None:
    for text in (owner, f"a@{owner}", f"{owner}@example.com", f"a@example.com{owner}"):
        reached, _ = owned_by(text)
        assert all(each.endswith(("@example.com", "@xn--hky-ela4t.cz")) for each in reached)
        assert all(each.count("@") == 1 and each.isascii() for each in reached)


def test_a_rule_whose_only_recipient_is_left_out_sends_nothing() -> None:
    book = a_book(
        "recipient_domains: example.com\n"
        "destinations: {owner: {email: {to: '{{ visitor.email }}'}}}\n"
        "rules: [{name: All, when: always, send_to: owner}]"
    )
    assert book.matches(Chat(account="1", id="1", visitor=Visitor(email="x@evil.test"))) == ()
    assert book.matches(Chat(account="1", id="1", visitor=Visitor(email="x@example.com")))


@pytest.mark.parametrize(
    ("rate", "slow"),
    [
        ("1/24h", "1 d"),
        ("1/h", "1 h"),
        ("50/1h", ""),
        ("1/10min", ""),
        ("5/s", ""),
    ],
)
def test_a_rate_that_is_meant_to_leave_messages_out_brings_a_warning(rate: str, slow: str) -> None:
    book = a_book(
        f"destinations: {{desk: {{email: {{to: desk@example.com}}, rate: {rate}}}}}\n"
        "rules: [{name: All, when: always, send_to: desk}]\n"
    )
    words = [warning.words for warning in book.warnings]
    assert len(words) == bool(slow)
    if slow:
        assert f"sends one message every {slow}, and all others wait" in words[0]
