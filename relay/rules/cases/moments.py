"""Another time for a chat: what would the rules say of it on a Saturday night?

Rules know no clock. A schedule is held against the chat's own times, so that a chat gets the same answer
today, tomorrow and in a year. To ask about another time, the chat is moved there, whole.
"""

import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from relay.chat import Chat
from relay.rules import schedules
from relay.rules.reading.phrases import shown
from relay.rules.reading.values import BadValue

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
    """The same chat, as if it had begun then; all its times move along."""
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
