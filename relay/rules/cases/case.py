"""Another time for a chat: what would the rules say of it on a Saturday night?

Rules know no clock. A schedule is held against the chat's own times, so that a chat gets the same answer
today, tomorrow and in a year. To ask about another time, the chat is moved there, whole.


What a rules file should say of certain chats, as its authors wrote it down; and whether it does. Pure.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from relay.chat import Chat
from relay.rules import schedules
from relay.rules.book import RuleBook, Standing, Verdict
from relay.rules.chat_view import ChatView, ready
from relay.rules.conditions import Finding
from relay.rules.field_type import Field, Kind, Raw
from relay.rules.fields import FIELDS
from relay.rules.reading.problem import Place
from relay.rules.reading.values import BadValue, shown

PLAIN_DAY = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""A Monday: the week of `sat 23:30` for a chat that has no time of its own."""

_CLOCK = re.compile(r"(?:(?P<day>[A-Za-z]+)\s+)?(?P<hour>\d{1,2}):(?P<minute>\d\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.{0,20}")
_HINT = "write 2026-11-21 23:30, sat 23:30 or 23:30"


def moment(text: str, zone: ZoneInfo, near: datetime | None) -> datetime:
    """`2026-11-21 23:30` in `zone`, or with an offset of its own; `sat 23:30` in the week of `near`; `23:30` on its day.

    Returns an aware time in UTC; raises BadValue.
    """
    try:
        return _moment(text.strip(), zone, near or PLAIN_DAY).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadValue(f"{shown(text)} is not a time", _HINT) from None


def _moment(text: str, zone: ZoneInfo, near: datetime) -> datetime:
    if _DATE.fullmatch(text):
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=zone)
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        raise ValueError
    day = near.astimezone(zone).date()
    if clock["day"]:
        (weekday,) = _weekday(clock["day"])
        day += timedelta(days=weekday - day.weekday())
    at = time(int(clock["hour"]), int(clock["minute"]), tzinfo=zone)
    return datetime.combine(day, at)


def _weekday(name: str) -> frozenset[int]:
    try:
        return schedules.days([name])
    except BadValue:
        raise ValueError from None


def moved(chat: Chat, began: datetime) -> Chat:
    """A chat as if it had begun then; all its times move along."""
    if chat.began is None:
        return replace(chat, began=began, ended=_shifted(began, chat.duration or timedelta(0)))
    by = began - chat.began
    return replace(
        chat,
        began=began,
        ended=_shifted(chat.ended, by),
        messages=tuple(replace(each, sent_at=_shifted(each.sent_at, by)) for each in chat.messages),
    )


def _shifted(instant: datetime | None, by: timedelta) -> datetime | None:
    try:
        return instant and instant + by
    except OverflowError:  # past the last day of the calendar
        return None


Told = Mapping[str, tuple[str, ...]]
"""Destinations, each with its recipients."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A rule that should hold."""

    rule: str
    told: Told | None = None
    """All the destinations that it should tell, no recipients meaning whoever they are; None: not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One entry under `cases:`."""

    name: str
    place: Place
    chat: Chat
    stated: Mapping[Field, Raw] | None = None
    """What an inline chat states; None for a chat out of a file."""
    at: datetime | None = None
    """Aware: when the chat began, instead of its own time."""
    expected: tuple[Expected, ...]
    """All the rules that should hold; none of them: silence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One rule that did otherwise than expected."""

    rule: str
    missing: tuple[str, ...] = ()
    """What was expected and did not happen: `Bad ratings -> managers`."""
    surplus: tuple[str, ...] = ()
    """What happened and was not expected."""
    reason: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """How a case ended."""

    case: Case
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        return not self.differences


def made_up_chat(stated: Mapping[Field, Raw]) -> Chat:
    """A chat that has what is stated, and nothing else."""
    chat = Chat(account="1", id="1")
    for each, value in stated.items():
        if each.put:
            chat = each.put(chat, value)
    return chat


def run_case(book: RuleBook, case: Case) -> Result:
    """What the rules say of the case's chat, held against what they should."""
    wanted = {each.rule: each for each in case.expected}
    verdicts = book.explain_view(_view(case))
    found = (_difference(verdict, wanted.get(verdict.rule)) for verdict in verdicts)
    return Result(case, tuple(each for each in found if each))


def untested(book: RuleBook, cases: Iterable[Case]) -> tuple[str, ...]:
    """Rules that no case expects to hold: nobody would notice if they stopped working."""
    expected = {each.rule for case in cases for each in case.expected}
    return tuple(rule.name for rule in book.rules if rule.enabled and rule.name not in expected)


def _view(case: Case) -> ChatView:
    view = ChatView(moved(case.chat, case.at) if case.at else case.chat)
    for each, raw in (case.stated or {}).items():
        if each.put is None:
            # It follows from the messages; here it is said outright.
            view[each] = ready(raw, each.kind)
    for each in FIELDS.values() if case.stated is not None else ():
        if each.kind is Kind.YES_NO and view[each] is None:
            view[each] = False  # what nobody mentions is not so
    return view


def _difference(verdict: Verdict, wanted: Expected | None) -> Difference | None:
    expected, got = _wanted(verdict, wanted), _got(verdict, wanted)
    if expected == got:
        return None
    # Which rule holds is right, only whom it tells is not.
    explained = not (verdict.holds and wanted)
    return Difference(
        rule=verdict.rule,
        missing=tuple(line for line in expected if line not in got),
        surplus=tuple(line for line in got if line not in expected),
        reason=_reason(verdict, wanted),
        findings=verdict.findings if explained else (),
    )


def _wanted(verdict: Verdict, wanted: Expected | None) -> list[str]:
    if wanted is None:
        return []
    if wanted.told is None:
        return [verdict.rule]
    lines = sorted(_line(verdict.rule, name, whom) for name, whom in wanted.told.items())
    return lines or [f"{verdict.rule} -> nobody"]


def _got(verdict: Verdict, wanted: Expected | None) -> list[str]:
    """What happened, in words, in as much detail as was expected."""
    if not verdict.holds:
        return []
    if wanted and wanted.told is None:
        return [verdict.rule]
    told = wanted.told or {} if wanted else {}
    lines = [
        _line(
            verdict.rule, match.destination, match.recipients if told.get(match.destination) else ()
        )
        for match in verdict.matches
    ]
    return sorted(lines) or [f"{verdict.rule} -> nobody"]


def _line(rule: str, destination: str, recipients: Iterable[str]) -> str:
    whom = ", ".join(sorted(address.casefold() for address in recipients))
    return f"{rule} -> {destination}{': ' if whom else ''}{whom}"


def _reason(verdict: Verdict, wanted: Expected | None) -> str:
    match verdict.standing:
        case Standing.OFF:
            return "it is turned off"
        case Standing.NOT_ASKED:
            return f"it was not checked, because “{verdict.stopped_by}” stops"
        case Standing.FAILS:
            return "it does not match"
        case Standing.HOLDS:
            left_out = (f"left out, {words}" for words in verdict.left_out)
            said = "it matches, but sends to others than expected" if wanted else "it matches"
            return "; ".join([said, *left_out])
