"""A hook comes in while the rules have a bug of ours."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from relay.intake import Taken, take
from relay.outbox import Outbox
from relay.rules.book import RuleBook
from relay.rules.conditions import Condition, Finding
from relay.rules.view import ChatView
from tests.builders import NOON, a_hook
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


async def taken(path: Path, rules: RuleBook, hook: bytes = a_hook(7, missed=True)) -> Taken:
    outbox = await Outbox.open(path, now=NOON)
    try:
        return await take(
            hook,
            rules=rules,
            outbox=outbox,
            accept=outbox.accept,
            now=NOON,
            mail_domain="example.org",
        )
    finally:
        await outbox.close()


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
    chat = (await taken(tmp_path / "relay.db", a_book(AT_NOON), hook)).chat
    assert [verdict.rule for verdict in a_book(AT_NOON).explain(chat) if verdict.holds] == [told]
    assert rows(tmp_path / "relay.db", "SELECT rule FROM deliveries") == [(told,)]
    assert len(chat.oddities) >= 1
