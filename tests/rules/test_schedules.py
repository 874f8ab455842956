"""Office hours by the clock on the wall, over midnight and over the change to summer time."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.chat import Chat
from tests.rules.books import a_book

_PRAGUE = ZoneInfo("Europe/Prague")


def within(schedule: str, began: datetime, zone: str = "Europe/Prague") -> bool:
    """Whether a chat that began then is told by a rule for this schedule; the rule for outside must disagree."""
    book = a_book(
        f"timezone: {zone}\n"
        f"schedules: {{open: {schedule}}}\n"
        "destinations: {desk: {email: {to: desk@example.com}}}\n"
        "rules:\n"
        "  - {name: in, when: {began: {within: open}}, send_to: desk}\n"
        "  - {name: out, when: {began: {outside: open}}, send_to: desk}\n"
    )
    (told,) = book.matches(Chat(account="1", id="1", began=began))
    return told.rule == "in"


def prague(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=_PRAGUE).astimezone(UTC)


OFFICE = "{days: mon-fri, hours: 08:00-17:00, except: [2026-12-24, 2026-12-28 to 2027-01-01]}"


@pytest.mark.parametrize(
    ("schedule", "local", "open_"),
    [
        (OFFICE, "2026-11-23T08:00:00", True),  # a Monday
        (OFFICE, "2026-11-23T07:59:59", False),
        (OFFICE, "2026-11-23T16:59:59", True),
        (OFFICE, "2026-11-23T17:00:00", False),
        (OFFICE, "2026-11-27T12:00:00", True),
        (OFFICE, "2026-11-28T12:00:00", False),
        (OFFICE, "2026-12-23T12:00:00", True),
        (OFFICE, "2026-12-24T12:00:00", False),
        (OFFICE, "2026-12-25T12:00:00", True),
        (OFFICE, "2026-12-28T12:00:00", False),
        (OFFICE, "2027-01-01T12:00:00", False),
        (OFFICE, "2027-01-04T12:00:00", True),
        ("{days: [mon, wed-thu]}", "2026-11-24T12:00:00", False),
        ("{days: [mon, wed-thu]}", "2026-11-25T00:00:00", True),
        ("{days: [mon, wed-thu]}", "2026-11-26T23:59:59", True),
        ("{days: Saturday - Monday}", "2026-11-29T12:00:00", True),
        ("{days: Saturday - Monday}", "2026-11-27T12:00:00", False),
        ("{hours: [8-12, 13:00-17:30]}", "2026-11-29T12:30:00", False),
        ("{hours: [8-12, 13:00-17:30]}", "2026-11-29T17:29:00", True),
        ("{hours: 00:00-24:00}", "2026-11-29T00:00:00", True),
        ("{hours: 00:00-24:00}", "2026-11-29T23:59:59", True),
        ("{days: fri, hours: 22:00-06:00}", "2026-11-27T22:00:00", True),
        ("{days: fri, hours: 22:00-06:00}", "2026-11-28T05:59:00", True),
        ("{days: fri, hours: 22:00-06:00}", "2026-11-28T06:00:00", False),
        ("{days: fri, hours: 22:00-06:00}", "2026-11-27T05:00:00", False),
        ("{days: fri, hours: 22:00-06:00, except: 2026-11-27}", "2026-11-28T05:00:00", False),
        ("{days: fri, hours: 22:00-06:00, except: 2026-11-28}", "2026-11-28T05:00:00", True),
        # The clock on the wall decides on both sides of a change to or from summer time.
        (OFFICE, "2026-03-27T08:00:00", True),
        (OFFICE, "2026-03-30T08:00:00", True),
        (OFFICE, "2026-10-23T16:59:00", True),
        (OFFICE, "2026-10-26T16:59:00", True),
        (OFFICE, "2026-10-26T17:00:00", False),
    ],
)
def test_a_schedule_holds_by_the_clock_on_the_wall(
    schedule: str, local: str, *, open_: bool
) -> None:
    assert within(schedule, prague(local)) is open_


def test_the_same_instant_is_another_time_elsewhere() -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert within("{hours: 13-14}", noon, "Europe/Prague")
    assert not within("{hours: 13-14}", noon, "UTC")
    assert within("{hours: 7-8}", noon, "America/New_York")


def test_the_hour_that_comes_twice_is_within_both_times() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    second = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert within("{hours: 02:00-03:00}", first)
    assert within("{hours: 02:00-03:00}", second)
    assert not within("{hours: 02:00-03:00}", datetime(2026, 10, 25, 2, 0, tzinfo=UTC))


def test_the_hour_that_is_left_out_is_never_seen() -> None:
    before = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
    after = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert not within("{hours: 02:00-03:00}", before)
    assert not within("{hours: 02:00-03:00}", after)


@given(st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)))
def test_a_night_is_what_a_day_leaves(instant: datetime) -> None:
    assert within("{hours: 06:00-22:00}", instant) is not within("{hours: 22:00-06:00}", instant)
