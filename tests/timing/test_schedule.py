"""When a schedule next holds, on days of a clock change too."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.timing.schedule import LOOKED_AHEAD, Schedule, first_existing
from tests.timing.zones import ODD_ZONES, OFFICE, PRAGUE, WEEKDAYS, at, moments, schedules

CAIRO, APIA, LORD_HOWE = ZoneInfo("Africa/Cairo"), ZoneInfo("Pacific/Apia"), ZoneInfo("Australia/Lord_Howe")  # fmt: skip
SUNDAYS = Schedule(name="s", zone=PRAGUE, days=frozenset({6}), hours=((150, 240),))
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("day", "minute", "zone", "expected"),
    [
        ("2027-03-28", 150, PRAGUE, "2027-03-28T01:00Z"),
        ("2026-10-25", 150, PRAGUE, "2026-10-25T00:30Z"),
        ("2026-11-30", 480, PRAGUE, "2026-11-30T07:00Z"),
        ("2026-11-30", 24 * 60, PRAGUE, "2026-11-30T23:00Z"),
        ("2027-04-30", 0, CAIRO, "2027-04-29T22:00Z"),
        ("2027-04-30", 59, CAIRO, "2027-04-29T22:00Z"),
        ("2026-10-04", 2 * 60 + 10, LORD_HOWE, "2026-10-03T15:30Z"),
        ("2027-04-04", 105, LORD_HOWE, "2027-04-03T14:45Z"),
        ("2011-12-30", 480, APIA, "2011-12-30T10:00Z"),
    ],
)
def test_a_time_on_the_wall_is_the_first_that_exists(
    day: str, minute: int, zone: ZoneInfo, expected: str
) -> None:
    assert first_existing(date.fromisoformat(day), minute, zone) == at(expected)


@given(
    st.dates(date(2011, 12, 20), date(2031, 1, 1)),
    st.integers(0, 24 * 60 - 1),
    st.sampled_from(ODD_ZONES),
)
def test_no_earlier_minute_shows_the_time(day: date, minute: int, zone: ZoneInfo) -> None:
    moment = first_existing(day, minute, zone)
    wall = datetime(day.year, day.month, day.day) + minute * MINUTE  # noqa: DTZ001
    assert moment.astimezone(zone).replace(tzinfo=None) >= wall
    before = (moment - number * MINUTE for number in range(1, 26 * 60, 7))
    assert all(each.astimezone(zone).replace(tzinfo=None) < wall for each in before)


@pytest.mark.parametrize(
    ("schedule", "moment", "expected"),
    [
        (OFFICE, "2026-11-27 16:59:59", "2026-11-27T15:59:59Z"),
        (OFFICE, "2026-11-27 17:00:00", "2026-11-30T07:00Z"),
        (OFFICE, "2027-03-26 17:00:00", "2027-03-29T06:00Z"),
        (OFFICE, "2026-10-23 17:00:00", "2026-10-26T07:00Z"),
        (SUNDAYS, "2027-03-27 12:00", "2027-03-28T01:00Z"),
        (SUNDAYS, "2026-10-24 12:00", "2026-10-25T00:30Z"),
        (Schedule(name="n", zone=CAIRO, hours=((0, 480),)), "2027-04-29T18:00Z", "2027-04-29T22:00Z"),
        (
            Schedule(
                name="office",
                zone=PRAGUE,
                days=WEEKDAYS,
                hours=((480, 1020),),
                closed=((date(2026, 12, 24), date(2026, 12, 26)), (date(2027, 1, 1),) * 2),
            ),
            "2026-12-23 18:00",
            "2026-12-28T07:00Z",
        ),
        (
            Schedule(
                name="madrid", zone=ZoneInfo("Europe/Madrid"), days=WEEKDAYS, hours=((540, 840), (960, 1080))
            ),
            "2026-11-30 14:05",
            "2026-11-30T15:00Z",
        ),
        # Never shown on the wall on that day, so not before the next one.
        (Schedule(name="s", zone=PRAGUE, hours=((130, 170),)), "2027-03-28 00:00", "2027-03-29T00:10Z"),
    ],
)  # fmt: skip
def test_the_next_opening(schedule: Schedule, moment: str, expected: str) -> None:
    assert schedule.next_opening(at(moment)) == at(expected)


def test_an_exception_may_have_hours_of_its_own() -> None:
    special = (
        (date(2026, 12, 26), date(2026, 12, 26), ((600, 720),)),
        (date(2026, 12, 28), date(2027, 1, 3), ((540, 660), (780, 840))),
    )
    closed = ((date(2026, 12, 21), date(2027, 1, 10)),)
    office = Schedule(
        name="office", zone=PRAGUE, days=WEEKDAYS, hours=((480, 1020),), closed=closed, special=special
    )  # fmt: skip
    found = []
    moment = at("2026-12-20 12:00")
    for _ in range(4):
        opening = office.next_opening(moment)
        assert opening
        found.append(opening)
        moment = opening
        while office.holds(moment):
            moment = office.next_change(moment)
    assert found == [
        at("2026-12-26 10:00"),  # a Saturday, and said so
        at("2026-12-28 09:00"),
        at("2026-12-28 13:00"),
        at("2026-12-29 09:00"),
    ]
    assert not office.holds(at("2027-01-02 09:30"))  # a Saturday of several days


def test_hours_over_midnight_of_an_exception_end_on_the_next_day() -> None:
    new_year = ((date(2026, 12, 31),) * 2 + (((1320, 180),),),)
    schedule = Schedule(
        name="n", zone=PRAGUE, hours=((480, 960),), closed=((date(2027, 1, 1),) * 2,), special=new_year
    )  # fmt: skip
    assert not schedule.holds(at("2026-12-31 10:00"))
    assert schedule.holds(at("2027-01-01 02:59"))
    assert schedule.next_opening(at("2027-01-01 03:00")) == at("2027-01-02 08:00")


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(name="never", zone=PRAGUE, days=frozenset()),
        Schedule(name="away", zone=PRAGUE, closed=((date(2026, 1, 1), date(2028, 1, 1)),)),
    ],
)
def test_what_never_opens_says_so(schedule: Schedule) -> None:
    assert schedule.next_opening(at("2026-11-27 17:00")) is None


def test_the_calendar_ends() -> None:
    assert OFFICE.next_opening(at("9999-12-31T17:00Z")) is None


@given(schedules(), moments())
def test_the_next_opening_is_the_first_moment_that_holds(
    schedule: Schedule, moment: datetime
) -> None:
    opening = schedule.next_opening(moment)
    if opening is None:
        assert not any(
            schedule.holds(moment + day) for day in _steps(moment, moment + LOOKED_AHEAD)
        )
        return
    assert schedule.holds(opening)
    assert not any(schedule.holds(moment + step) for step in _steps(moment, opening))
    assert opening == moment or not schedule.holds(opening - timedelta.resolution)


def _steps(begin: datetime, end: datetime) -> list[timedelta]:
    """Quarters of an hour, as the hours of these schedules begin and end; a few where they are many."""
    quarter = timedelta(minutes=15)
    count = int((end - begin) / quarter)
    return [number * quarter for number in range(0, count, max(1, count // 2000))]
