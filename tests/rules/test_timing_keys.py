"""When destinations are told, as the rules file says it: read, and warned of where it does not say what it seems to."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from relay.chat import Chat, Visitor
from relay.rules import RuleBook
from relay.timing.plan import AT_ONCE, At, Every, Limit, OncePer, Timing
from tests.rules.books import a_book, problems_of
from tests.timing.zones import at

EVERY_DAY, WEEKDAYS = frozenset(range(7)), frozenset(range(5))
HOUR = timedelta(hours=1)


def file(timing: str = "", rule: str = "", more: str = "") -> str:
    return f"""\
timezone: Europe/Prague
schedules:
  office: {{days: mon-fri, hours: 08:00-17:00}}
destinations:
  room: {{slack: {{channel: C0123456789}}, {timing}}}
  duty: {{email: {{to: duty@example.com}}, hours: office}}
rules:
  - {{name: Missed, when: {{missed: true}}, send_to: [room, duty], {rule}}}
{more}"""


def timing(keys: str) -> Timing:
    return a_book(file(keys)).destinations["room"].timing


def test_a_destination_without_timing_is_told_at_once() -> None:
    assert timing("language: cs") is AT_ONCE
    assert not timing("send: at once").waits


@pytest.mark.parametrize(
    ("send", "slots"),
    [
        ("every 30m", (Every(timedelta(minutes=30)),)),
        ("Every 1h30m", (Every(timedelta(minutes=90)),)),
        ("every hour", (Every(HOUR),)),
        ("08:00", (At(EVERY_DAY, 480),)),
        ("8:05", (At(EVERY_DAY, 485),)),
        ("daily 00:00", (At(EVERY_DAY, 0),)),
        ("every day 23:59", (At(EVERY_DAY, 1439),)),
        ("mon-fri 08:00", (At(WEEKDAYS, 480),)),
        ("Monday at 7:30", (At(frozenset({0}), 450),)),
        ('"mon, thu 08:00"', (At(frozenset({0, 3}), 480),)),
        ("fri-mon 08:00", (At(frozenset({4, 5, 6, 0}), 480),)),
        ("[mon-fri 08:00, mon-fri 14:00]", (At(WEEKDAYS, 480), At(WEEKDAYS, 840))),
        ("[every 2h, sat 09:00]", (Every(2 * HOUR), At(frozenset({5}), 540))),
    ],
)
def test_send_says_when_digests_are_sent(send: str, slots: tuple[Every | At, ...]) -> None:
    assert timing(f"send: {send}").send == slots


@pytest.mark.parametrize(
    ("limit", "limits"),
    [
        ("5 per hour", (Limit(5, HOUR),)),
        ("5 per an hour", (Limit(5, HOUR),)),
        ("20 per day", (Limit(20, 24 * HOUR),)),
        ("1 per 30m per visitor", (Limit(1, HOUR / 2, per_visitor=True),)),
        ("[5 per hour, 1 per 30m per visitor]", (Limit(5, HOUR), Limit(1, HOUR / 2, per_visitor=True))),
    ],
)  # fmt: skip
def test_limit_says_how_many_come_by_themselves(limit: str, limits: tuple[Limit, ...]) -> None:
    assert timing(f"limit: {limit}").limits == limits


def test_hours_name_a_schedule_and_say_what_becomes_of_the_rest() -> None:
    found = timing("hours: office, outside_hours: digest, timezone: Europe/Madrid, send: 08:00")
    assert found.hours
    assert (found.hours.name, found.outside_hours, found.instead) == ("office", "digest", "")
    assert (found.hours.zone, found.zone) == (ZoneInfo("Europe/Prague"), ZoneInfo("Europe/Madrid"))
    assert timing("hours: office, outside_hours: duty").instead == "duty"


def test_a_destination_that_is_only_told_outside_hours_is_used() -> None:
    book = a_book(file("hours: office, outside_hours: duty").replace("[room, duty]", "room"))
    assert book.warnings == ()


def test_a_schedule_has_a_time_zone_and_exceptions_with_hours() -> None:
    text = """
    timezone: Europe/Prague
    schedules:
      a: {hours: 08:00-17:00, timezone: Europe/Madrid, except: {2026-12-24: 08:00-12:00}}
      b: {hours: 08:00-17:00, except: [2026-12-23, 2026-12-24: [8-10, 11-12], 2026-12-28 to 2026-12-30: 9-12]}
    destinations: {a: {email: {to: a@example.com}, hours: a}, b: {email: {to: a@example.com}, hours: b}}
    rules: [{name: All, when: always, send_to: [a, b]}]
    """
    schedules = a_book(text).schedules
    assert schedules["a"].zone == ZoneInfo("Europe/Madrid")
    christmas = date(2026, 12, 24)
    assert schedules["a"].special == ((christmas, christmas, ((480, 720),)),)
    assert schedules["b"].closed == ((date(2026, 12, 23),) * 2,)
    assert schedules["b"].special == (
        (christmas, christmas, ((480, 600), (660, 720))),
        (date(2026, 12, 28), date(2026, 12, 30), ((540, 720),)),
    )


def test_a_rule_is_urgent_and_tells_once_of_a_visitor() -> None:
    matches = a_book(file(rule="urgent: true, once_per: {visitor: 24h, then: nothing}")).matches(
        Chat(account="1", id="1", missed=True)
    )
    assert [(match.urgent, match.once_per) for match in matches] == [
        (True, OncePer(24 * HOUR, "nothing"))
    ] * 2
    (plain, _) = a_book(file()).matches(Chat(account="1", id="1", missed=True))
    assert (plain.urgent, plain.once_per) == (False, None)


MUTES = """\
mutes:
  - because: Warehouse move
    by: Anna
    from: 2026-12-04 18:00
    until: 2027-03-28 02:30
    what: {rule: Missed, when: {visitor.email: {ends_with: "@example.com"}}}
  - {because: Demo, by: Petr, from: 2026-12-04T08:00, until: 2026-12-04 09:00+00:00, what: {destination: room}, then: nothing}
"""


def mutes(book: RuleBook) -> list[tuple[str, ...]]:
    return [(each.rule, each.destination, each.then) for each in book.mutes]


def test_mutes_have_an_author_a_reason_and_an_end() -> None:
    book = a_book(file(more=MUTES))
    first, second = book.mutes
    assert mutes(book) == [("Missed", "", "digest"), ("", "room", "nothing")]
    assert (first.because, first.by, first.begins) == ("Warehouse move", "Anna", at("2026-12-04 18:00"))  # fmt: skip
    assert first.until == at("2027-03-28T01:00Z")  # 02:30 does not exist
    assert (second.begins, second.until) == (at("2026-12-04 08:00"), at("2026-12-04T09:00Z"))
    assert [warning.message for warning in book.warnings] == ["this mute is 113 days long"]


def test_a_mute_from_1970_on_is_as_long_as_it_says() -> None:
    since = MUTES.replace("from: 2026-12-04 18:00", "from: 1970-01-01 00:00+00:00")
    assert [warning.message for warning in a_book(file(more=since)).warnings] == [
        "this mute is 20905 days long"
    ]


def test_the_condition_of_a_mute_is_asked_by_its_words() -> None:
    book = a_book(file(more=MUTES))
    when = book.mutes[0].when
    ours = Chat(account="1", id="1", visitor=Visitor(email="jana@example.com"))
    assert book.meets(when, ours)
    assert not book.meets(when, Chat(account="1", id="1"))
    assert not a_book(file()).meets(when, ours)


SHORT = MUTES.replace("2027-03-28 02:30", "2026-12-07 08:00")


def test_a_mute_of_a_destination_says_what_becomes_of_urgent_rules() -> None:
    (problem,) = problems_of(file(rule="urgent: true", more=SHORT))
    line = int(problem.partition(":")[0])
    text = file(rule="urgent: true", more=SHORT).splitlines()
    assert text[line - 1].startswith("  - {because: Demo")
    assert "this mute of 'room' does not say what becomes of 'Missed', which is urgent" in problem
    assert "`urgent_too: false` if 'room' is to be told" in problem
    assert (
        "is to be told of it all the same, `urgent_too: true` if not, or name the rule" in problem
    )


@pytest.mark.parametrize("said", ["false", "true", "no", "yes", "'No'"])
def test_a_mute_that_says_it_one_way_or_the_other_is_fine(said: str) -> None:
    text = file(rule="urgent: true", more=SHORT.replace("then: nothing", f"urgent_too: {said}"))
    book = a_book(text)
    assert book.warnings == ()
    assert book.mutes[1].urgent_too is (said in {"true", "yes"})


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        ("urgent: false", SHORT),
        ("urgent: true, enabled: false", SHORT),
        ("urgent: true", SHORT.replace("{destination: room}", "{rule: Missed}")),
        ("urgent: true", SHORT.replace("{destination: room}", "{rule: Missed, destination: room}")),
        ("urgent: true", SHORT.replace("{destination: room}", "{when: {missed: true}}")),
    ],
)
def test_other_mutes_need_not_say_it(rule: str, more: str) -> None:
    assert a_book(file(rule=rule, more=more)).mutes


def test_a_rate_that_should_be_a_limit_is_said_to_be_one() -> None:
    (warning,) = a_book(file("rate: 5/h")).warnings
    assert "`limit: 5 per hour`" in warning.hint
    (problem,) = problems_of(file("rate: 5 per hour"))
    assert "`limit: 5 per hour`" in problem
    (problem,) = problems_of(file("limit: 5/h"))
    assert "write 5 per hour" in problem
