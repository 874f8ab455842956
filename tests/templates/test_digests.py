"""Several chats in one notification: in order, counted, within every service's limits, in every language."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.chat import Chat, Visitor
from relay.files import shipped
from relay.languages import LANGUAGES
from relay.notification import Notification
from relay.rendering.digest_wording import built_in_digest, digest_notification
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.template_checks import check_digest
from relay.rendering.templates import BrokenTemplate, Templates
from relay.timing.digest_contents import MOST_SHOWN, Digest, Member, Mute, arranged
from relay.transports.slack.pack import pack as slack_post
from relay.transports.slack.pack import pack_thread
from relay.transports.teams.card import MAX_BYTES
from relay.transports.teams.pack import pack as teams_post
from tests.rules.commands import check, relay
from tests.templates.reading import PRAGUE, SHIPPED, digest, shown

MONDAY = datetime(2026, 11, 30, 7, tzinfo=UTC)
RULES = ("Missed chats", "Bad ratings", "All chats")


def a_member(
    chat: str = "missed",
    *,
    name: str = "",
    rule: str = "Missed chats",
    why: str = "send",
    hours_ago: float = 1,
    updated: float | None = None,
) -> Member:
    """`chat`: one of the made-up ones; `name`: what it is called, where it comes more than once."""
    made = made_up_chats()[chat]
    return Member(
        account="208",
        chat=f"{chat}/{name}",
        rules=(rule,),
        why=why,
        arrived=MONDAY - timedelta(hours=hours_ago),
        updated=MONDAY - timedelta(hours=hours_ago if updated is None else updated),
        missed=bool(made.missed),
        offline=bool(made.offline),
    )


def of(*members: Member, **more: object) -> Digest:
    return arranged(
        members, order=RULES, destination="support-room", closed_at=MONDAY, **more  # type: ignore[arg-type]
    )  # fmt: skip


def read(member: Member) -> Chat:
    return made_up_chats()[member.chat.partition("/")[0]]


def told(
    made: Digest,
    *,
    language: str = "en",
    zone: ZoneInfo = PRAGUE,
    templates: Templates = SHIPPED,
    chats: Mapping[str, Chat] | None = None,
) -> Notification:
    return digest_notification(
        templates,
        made,
        language=language,
        zone=zone,
        read=(lambda member: chats[member.chat]) if chats else read,
    )


def rows(notification: Notification) -> Iterator[tuple[str, str, str]]:
    """Heading, rule and visitor of each line."""
    assert notification.digest
    for section in notification.digest.sections:
        for group in section.groups:
            yield from ((section.heading, group.rule, line.who) for line in group.lines)


def test_chats_stand_below_their_rule_in_the_order_of_the_rules_file_and_then_by_time() -> None:
    made = of(
        a_member("finished", rule="All chats", hours_ago=9),
        a_member("badly_rated", rule="Bad ratings", hours_ago=8),
        a_member("missed", name="late", rule="Missed chats", hours_ago=1),
        a_member("offline", rule="A rule that is gone", hours_ago=10),
        a_member("missed", name="early", rule="Missed chats", hours_ago=2),
    )
    assert [(group.rule, [one.chat for one in group.members]) for group in made.groups] == [
        ("Missed chats", ["missed/early", "missed/late"]),
        ("Bad ratings", ["badly_rated/"]),
        ("All chats", ["finished/"]),
        ("A rule that is gone", ["offline/"]),
    ]


def test_the_same_chat_by_two_rules_is_one_line_with_both_names_and_the_newest_facts() -> None:
    made = of(
        a_member("badly_rated", rule="Bad ratings", hours_ago=5, updated=1),
        a_member("badly_rated", rule="Missed chats", hours_ago=6, updated=6),
    )
    contents = told(made).digest
    assert contents
    (line,) = contents.lines
    assert (made.count, line.rules) == (1, ("Missed chats", "Bad ratings"))
    assert line.also == "Bad ratings"
    assert line.arrived == MONDAY - timedelta(hours=6)
    assert made.groups[0].members[0].updated == MONDAY - timedelta(hours=1)
    assert "Also: Bad ratings" in told(made).text
    assert "Also: Bad ratings" in shown(told(made).html).text


def test_each_reason_has_a_heading_and_the_usual_one_has_none_where_it_is_the_only_one() -> None:
    mute = Mute(by="Anna", because="Warehouse move", until=MONDAY)
    many = of(
        a_member(name="1", why="hours"),
        a_member(name="2", why="send"),
        a_member(name="3", why="limit"),
        a_member(name="4", why="limit"),
        a_member(name="5", why="once per visitor"),
        a_member(name="6", why="muted:3"),
        mutes={"muted:3": mute},
    )
    assert list(dict.fromkeys(heading for heading, _, _ in rows(told(many)))) == [
        "Outside the hours of support-room",
        "Collected",
        "2 more, beyond the limit",
        "More from the same visitors",
        "Muted by Anna until Mon 08:00: Warehouse move",
    ]
    assert "Was muted until Mon 08:00 by Anna; 1 chat in the digest above." in told(many).text
    assert {heading for heading, _, _ in rows(told(of(a_member(name="1"), a_member())))} == {""}


def test_of_400_chats_fifty_are_shown_and_the_others_counted() -> None:
    made = told(of(*(a_member(name=str(number), hours_ago=number) for number in range(400))))
    assert made.digest
    assert len(made.digest.lines) == MOST_SHOWN == 50
    assert "400" in made.subject
    assert "and 350 more" in made.text
    assert "and 350 more" in shown(made.html).text
    assert len(made.html.encode()) < 100_000
    for post in (slack_post(made), pack_thread(made).lead):
        assert len(post["blocks"]) <= 50
        assert "400" in json.dumps(post["blocks"][0])
        assert " more" in json.dumps(post["blocks"])
    card = teams_post(made)
    assert len(card) <= MAX_BYTES
    lines = card.count(b"Marta Nowak")
    assert f"and {400 - lines} more".encode() in card


def test_a_digest_that_is_late_says_since_when() -> None:
    late = told(of(a_member(), a_member(name="2"), due_since=MONDAY - timedelta(days=4)))
    assert late.subject == "2 missed chats, due since Thu 08:00"
    assert "since" not in told(of(a_member(), a_member(name="2"))).subject


@pytest.mark.parametrize(("erased", "said"), [(1, "1 chat was erased since."), (3, "3 chats were")])
def test_chats_that_were_erased_meanwhile_are_counted_below(erased: int, said: str) -> None:
    made = told(of(a_member(), a_member(name="2"), erased=erased))
    assert said in made.text
    assert said in shown(made.html).text
    assert said in json.dumps(slack_post(made))
    assert said in teams_post(made).decode()


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_written_in_every_language(language: str) -> None:
    for late in (False, True):
        made, english = digest(language, late=late), digest(late=late)
        assert made.language == language
        assert shown(made.html)
        assert (made.subject == english.subject) == (language == "en")
        assert (made.summary == english.summary) == (language == "en")
        assert "{" not in made.text.replace("{{ 7*7 }}{% for a in ra", "")


@pytest.mark.parametrize("name", ["נועה כהן", "عمر الخطيب"])
def test_a_name_from_the_right_turns_nothing_around_it(name: str) -> None:
    chat = replace(made_up_chats()["missed"], visitor=Visitor(name=name, email="a@example.com"))
    made = told(of(a_member()), chats={"missed/": chat})
    apart = f"\u2068{name}\u2069"
    assert f"{apart}: Missed chat" in made.text
    assert f"<bdi>{name}</bdi>" in made.html
    assert apart in json.dumps(slack_post(made), ensure_ascii=False)
    assert apart in teams_post(made).decode()


def test_a_reader_can_answer_each_visitor() -> None:
    made = told(of(a_member(), a_member("missed_after_an_answer", hours_ago=0)))
    assert shown(made.html).links == ["mailto:marta.nowak@example.com"]
    assert "Reply: marta.nowak@example.com" in made.text
    assert json.dumps(slack_post(made)).count('"url": "mailto:marta.nowak@example.com"') == 1
    assert teams_post(made).count(b"Action.OpenUrl") == 1


@given(st.lists(st.sampled_from(sorted(made_up_chats())), min_size=1, max_size=120))
def test_whatever_is_in_it_every_service_takes_it(names: list[str]) -> None:
    members = [
        a_member(name, name=str(number), rule=f"Rule {number % 60}", why=("hours", "limit")[number % 2])
        for number, name in enumerate(names)
    ]  # fmt: skip
    made = told(of(*members))
    assert made.digest
    assert made.digest.count == len(names) == len(made.digest.lines) + made.digest.more
    post = slack_post(made)
    assert len(post["blocks"]) <= 50
    assert len(json.dumps(post["blocks"][0]["text"]["text"])) <= 160
    assert len(teams_post(made)) <= MAX_BYTES
    assert shown(made.html)


def own(tmp_path: Path, file: str, content: str) -> Templates:
    (tmp_path / "digest").mkdir()
    (tmp_path / "digest" / file).write_text(content, encoding="utf-8")
    return Templates(tmp_path, shipped("templates"))


def test_a_file_of_ones_own_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    templates = own(tmp_path, "line.txt", "{{ chat.kind }} for {{ visitor.variables.plan }}")
    assert "Marta Nowak: missed for basic" in told(of(a_member()), templates=templates).text
    assert check_digest(templates) == []
    assert "digest" not in templates.names


@pytest.mark.parametrize("file", ["line.txt", "subject.txt", "body.html", "body.txt"])
def test_a_broken_file_is_named_and_the_chats_are_told_in_built_in_words(
    tmp_path: Path, file: str
) -> None:
    templates = own(tmp_path, file, "{{ nothing }}")
    (problem,) = check_digest(templates)
    assert problem.startswith(f"{tmp_path}/digest/{file}:1: ")
    with pytest.raises(BrokenTemplate):
        told(of(a_member()), templates=templates)
    made = built_in_digest(made_up := of(a_member()), zone=PRAGUE, reason=problem, read=read)
    assert "Missed chat: Marta Nowak" in made.text
    assert problem in made.text
    assert "Missed chat: Marta Nowak" in shown(made.html).text
    assert made.built_in
    assert made_up.count == 1


def test_relay_check_tries_out_the_digest_that_somebody_has_changed(tmp_path: Path) -> None:
    own(tmp_path, "line.txt", "{{ nothing }}")
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "destinations: {s: {email: {to: s@example.com}}}\nrules: [{name: All, when: always, send_to: s}]\n",
        encoding="utf-8",
    )
    checked = check(rules, RELAY_TEMPLATES=str(tmp_path))
    assert checked.exit_code == 1
    assert f"{tmp_path}/digest/line.txt:1: there is nothing called 'nothing' here" in checked.output


def test_no_rule_can_name_the_template_of_digests(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "destinations: {s: {email: {to: s@example.com}}}\n"
        "rules: [{name: All, when: always, send_to: s, template: digest}]\n",
        encoding="utf-8",
    )
    assert "template" in check(rules).output


def test_its_files_can_be_taken_over_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "digest/line.txt" in relay("template").output.splitlines()
    assert relay("template", "digest/line.txt").exit_code == 0
    assert (tmp_path / "mytemplates" / "digest" / "line.txt").read_text("utf-8")


def test_the_stars_follow_the_rating_and_a_visitor_without_a_name_is_written_as_a_heading_is() -> (
    None
):
    made = of(a_member("badly_rated"), a_member("automatic_only", rule="All chats"))
    mail = told(made)
    assert "Finished chat · with Jana · Rated 1 of 5 stars ★☆☆☆☆" in mail.text
    assert "Rated 1 of 5 stars ★☆☆☆☆" in shown(mail.html).text
    assert "Rated 1 of 5 stars ★☆☆☆☆" in teams_post(mail).decode()
    assert [who for _, _, who in rows(mail)] == ["José Álvarez", "Visitor"]


@pytest.mark.parametrize(
    ("chats", "tone"),
    [
        (("missed", "badly_rated"), "bad"),
        (("finished",), "good"),
        (("missed", "finished"), "neutral"),
    ],
)
def test_a_mail_has_the_colour_that_the_post_to_a_room_has(
    chats: tuple[str, ...], tone: str
) -> None:
    mail = told(of(*map(a_member, chats)))
    assert mail.tone.value == tone
    assert f'class="t-{tone}"' in mail.html
