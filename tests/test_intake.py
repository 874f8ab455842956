"""A hook comes in while a rule fails, by a bug of ours, or because it takes too long."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import pytest

from relay.alerts.stored_alert import RuleAlerts
from relay.intake import Taken, take
from relay.outbox import Outbox
from relay.rules.compared_values import ChatView
from relay.rules.conditions import Condition, Finding
from relay.rules.rule_book import RuleBook
from relay.rules.timed_evaluation import Judging
from relay.smartsupp import read_chat
from relay.timing.plan import Mute
from tests.builders import NOON, a_hook, later
from tests.rules.books import a_book
from tests.running import rows

THREE_RULES = """
    destinations:
      desk: {email: {to: desk@example.com}}
      boss: {email: {to: boss@example.com}}
    rules:
      - {name: First, when: always, send_to: desk}
      - {name: Second, when: always, send_to: desk}
      - {name: Third, when: {missed: true}, send_to: boss, stop: true}
      - {name: Fourth, when: always, send_to: desk}
"""

MISSED = a_hook(7, missed=True)


@dataclass(frozen=True)
class FailsToAnswer:
    """A condition with a bug."""

    def holds(self, view: ChatView) -> bool:
        raise ZeroDivisionError

    def find(self, view: ChatView, zone: ZoneInfo) -> Finding:
        raise ZeroDivisionError


class FailsToSayWhy(FailsToAnswer):
    """It knows the answer, but has no words for it."""

    def holds(self, view: ChatView) -> bool:
        return True


def with_a_bug(condition: Condition) -> RuleBook:
    book = a_book(THREE_RULES)
    first, second, *others = book.rules
    return replace(book, rules=(first, replace(second, conditions=(condition,)), *others))


async def taken(
    path: Path,
    rules: RuleBook,
    *,
    judging: Judging | None = None,
    body: bytes = MISSED,
    now: datetime = NOON,
    mutes: Sequence[Mute] = (),
) -> Taken:
    outbox, judging = await Outbox.open(path, now=NOON), judging or Judging()
    alerts = RuleAlerts(outbox.accept, lambda: mutes, mail_domain="example.org", clock=lambda: now)
    try:
        return await take(
            body,
            rules=rules,
            judging=judging,
            outbox=outbox,
            accept=outbox.accept,
            alert=alerts.queue_alerts,
            now=now,
            mail_domain="example.org",
        )
    finally:
        await outbox.close()
        judging.close()


@pytest.mark.parametrize(
    ("condition", "told", "trouble"),
    [
        (FailsToAnswer(), ["First", "Third"], "Second"),
        (FailsToSayWhy(), ["First", "Second", "Third"], "none by itself"),
    ],
)
async def test_a_rule_that_fails_costs_no_other_rule_its_delivery(
    tmp_path: Path,
    condition: Condition,
    told: list[str],
    trouble: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """CF-06."""
    with caplog.at_level(logging.ERROR):
        receipt = await taken(tmp_path / "relay.db", with_a_bug(condition))
    words = f"rules that could not be asked: {trouble}; the log says why"
    assert receipt.trouble == words
    assert rows(tmp_path / "relay.db", "SELECT rule FROM deliveries ORDER BY id") == [
        (rule,) for rule in told
    ]
    assert rows(tmp_path / "relay.db", "SELECT trouble FROM hooks") == [(words,)]
    assert "chat 208/7: a rule could not be asked" in caplog.text
    assert "ZeroDivisionError" in caplog.text


AT_NOON = """
    schedules:
      noon: {days: mon-sun, hours: 12:00-12:01}
    destinations:
      desk: {email: {to: desk@example.com}}
    rules:
      - {name: Within, when: {began: {within: noon}, ended: {within: noon}}, send_to: desk}
      - {name: Outside, when: {began: {outside: noon}}, send_to: desk}
"""


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (None, "Within"),
        (0, "Within"),
        ("yesterday", "Within"),
        ("2026-11-21T12:00:30Z", "Within"),
        (1795348830, "Within"),
        ("2026-11-21T13:00:00Z", "Outside"),
        (1795353000000000, "Outside"),
    ],
)
async def test_a_schedule_is_held_against_any_time_that_can_be_read_or_else_the_hooks_arrival(
    tmp_path: Path, written: object, told: str
) -> None:
    hook = a_hook(beginAt=written, endAt=written, messages=[])
    chat = (await taken(tmp_path / "relay.db", a_book(AT_NOON), body=hook)).chat
    assert [verdict.rule for verdict in a_book(AT_NOON).explain(chat) if verdict.holds] == [told]
    assert rows(tmp_path / "relay.db", "SELECT rule FROM deliveries") == [(told,)]
    assert bool(chat.oddities) is (written is not None)


# -- chats that take long ------------------------------------------------------------------------------------

DEAR = """
    destinations:
      desk: {email: {to: desk@example.com}}
      boss: {email: {to: boss@example.com}}
    rules:
      - {name: First, when: {missed: true}, send_to: desk}
      - {name: Dear, when: {said: {matches: '(.{0,12}x){0,12}!'}}, send_to: boss}
      - {name: Dear and last, when: {missed: true, said: {matches: ['(.{0,12}z){0,12}!', nobody]}}, send_to: boss}
      - {name: Last, when: {said: {contains: lawyer}}, send_to: boss}
"""
LONG = "ab x" * 5_000 + "lawyer"


@pytest.mark.parametrize(("seconds", "late"), [(0.0, []), (2.0, ["Dear", "Dear and last"])])
async def test_a_rule_that_runs_out_of_time_costs_no_other_rule_its_delivery(
    tmp_path: Path, seconds: float, late: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Each look at the clock finds that so many seconds have passed."""
    looks = count()
    judging = Judging(lambda: next(looks) * seconds)
    body = a_hook(7, missed=True, messages=[{"type": "visitor", "content": LONG}])
    with caplog.at_level(logging.WARNING):
        receipt = await taken(tmp_path / "relay.db", a_book(DEAR), judging=judging, body=body)
    assert rows(tmp_path / "relay.db", "SELECT rule FROM deliveries ORDER BY id") == [
        ("First",),
        ("Last",),
    ]
    assert receipt.trouble == (
        f"rules that could not be asked: {', '.join(late)}; the log says why" if late else ""
    )
    assert (
        "asking the rules takes longer than it may for one chat; each rule is asked by itself"
        in caplog.text
    ) is bool(late)
    assert "lawyer" not in caplog.text


@pytest.mark.parametrize(
    ("rules", "content", "thread"),
    [
        (DEAR, LONG, "rules_0"),
        (DEAR, "Hello", "MainThread"),
        (THREE_RULES, LONG, "MainThread"),
        (THREE_RULES, LONG * 10, "rules_0"),
    ],
)
async def test_only_what_may_take_long_leaves_the_event_loop(
    rules: str, content: str, thread: str
) -> None:
    asked: list[str] = []

    @dataclass(frozen=True)
    class Where(FailsToSayWhy):
        def holds(self, view: ChatView) -> bool:
            asked.append(threading.current_thread().name)
            return False

        def find(self, view: ChatView, zone: ZoneInfo) -> Finding:
            return Finding(words="where", holds=False)

    book = a_book(rules)
    book = replace(book, rules=(replace(book.rules[0], conditions=(Where(),)),))
    body = a_hook(7, messages=[{"type": "visitor", "content": content}])
    judging = Judging(lambda: 0.0)
    await judging.ask(book, read_chat(body), len(body))
    judging.close()
    assert asked == [thread]


# -- rules that reach nobody ---------------------------------------------------------------------------------

OWNERS = """
    alerts_to: admin
    recipient_domains: [example.com]
    destinations:
      owner: {email: {to: "{{ visitor.variables.owner }}"}%s}
      sales: {email: {to: sales@example.com}}
      desk: {email: {to: desk@example.com}}
      admin: {email: {to: admin@example.com}}
    rules:
      - {name: Owners, when: {missed: true}, send_to: owner, stop: true}
      - {name: The rest, when: always, send_to: desk}
      - {name: Never, when: {dropped: true}, send_to: sales}
"""
UNUSABLE = (
    "@example.com",
    "petr novak@example.com",
    "a@example.com,b@example.com",
    "a@example.com\nBcc: b@example.com",
    "",
    " ",
    "anybody",
    "petr@elsewhere.example",
    "petr@sub.example.com",
    "Petr <petr@elsewhere.example>",
)
QUEUED = """SELECT rule, destination, instead_of FROM deliveries JOIN chats ON chats.id = deliveries.chat_id
    WHERE account != '' ORDER BY deliveries.id"""
ALERTS = """SELECT chat, destination FROM deliveries JOIN chats ON chats.id = deliveries.chat_id
    WHERE account = '' ORDER BY deliveries.id"""


def owned_by(owner: str, chat: int = 7) -> bytes:
    variables = {"owner": {"label": "Owner", "value": owner}} if owner else {}
    return a_hook(chat, missed=True, visitor={"variables": variables})


@pytest.mark.parametrize("owner", UNUSABLE)
@pytest.mark.parametrize(
    ("fallback", "queued"),
    [
        (", fallback: sales", [("Owners", "sales", "owner")]),
        ("", [("The rest", "desk", "")]),
    ],
)
async def test_a_rule_that_reaches_nobody_uses_the_fallback_or_leaves_the_chat_to_the_next(
    tmp_path: Path,
    owner: str,
    fallback: str,
    queued: list[tuple[str, str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    book = a_book(OWNERS % fallback)
    await taken(tmp_path / "relay.db", book, body=owned_by(owner))
    assert rows(tmp_path / "relay.db", QUEUED) == queued
    instead = "'sales' gets it instead" if fallback else "and nobody gets it instead"
    assert (
        f"chat 208/7: rule 'Owners' reaches nobody at 'owner', {instead}; "
        "`relay explain --chat 208/7` says why"
    ) in caplog.text
    assert not owner.strip() or owner not in caplog.text
    assert rows(tmp_path / "relay.db", ALERTS) == [
        ("rule reaches nobody Owners, 2026-11-22", "admin")
    ]


async def test_of_a_rule_in_trouble_somebody_hears_once_a_day(tmp_path: Path) -> None:
    path, book = tmp_path / "relay.db", a_book(OWNERS % "")
    for chat, now in ((1, NOON), (2, later(hours=1)), (3, later(days=1)), (4, later(days=1))):
        await taken(path, book, body=owned_by("nobody", chat), now=now)
    assert rows(path, ALERTS) == [
        ("rule reaches nobody Owners, 2026-11-22", "admin"),
        ("rule reaches nobody Owners, 2026-11-23", "admin"),
    ]
    assert len(rows(path, QUEUED)) == 4


async def test_of_a_rule_that_could_not_be_asked_somebody_hears(tmp_path: Path) -> None:
    book = with_a_bug(FailsToAnswer())
    await taken(tmp_path / "relay.db", replace(book, alerts_to=("boss",)))
    assert rows(tmp_path / "relay.db", ALERTS) == [("rule not asked Second, 2026-11-22", "boss")]


@pytest.mark.parametrize(
    ("alerts_too", "then", "state"),
    [
        (True, "digest", "scheduled"),
        (True, "nothing", "left out"),
        (False, "digest", "queued"),
    ],
)
async def test_a_rules_alert_is_held_back_where_a_mute_of_its_destination_says_so(
    tmp_path: Path, *, alerts_too: bool, then: Literal["digest", "nothing"], state: str
) -> None:
    path, book = tmp_path / "relay.db", a_book(OWNERS % "")
    mute = Mute(
        id=0,
        destination="admin",
        begins=NOON,
        until=later(hours=1),
        because="",
        by="",
        alerts_too=alerts_too,
        then=then,
    )
    await taken(path, book, body=owned_by("nobody"), mutes=[mute])
    assert rows(path, "SELECT state FROM deliveries WHERE rule = 'alert'") == [(state,)]
