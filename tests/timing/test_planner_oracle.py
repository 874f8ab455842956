"""The planner beside one that is too simple to be wrong: it walks from minute to minute and looks at the clock on the wall."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.timing.plan import DIGEST, SKIP, WAIT, At, Every, Limit, Timing
from relay.timing.schedule import Schedule, Span, first_existing
from tests.timing.test_plan import planned
from tests.timing.zones import ODD_ZONES, moments

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ZONES = (*ODD_ZONES, *map(ZoneInfo, ("America/Santiago", "Asia/Tehran", "Antarctica/Troll")))
LONGEST_WALK = 12 * DAY


def holds(schedule: Schedule, moment: datetime) -> bool:
    """By its hours of today, and by those of yesterday that go over midnight."""
    wall = moment.astimezone(schedule.zone)
    minute = wall.hour * 60 + wall.minute
    today, yesterday = (hours_of(schedule, wall.date() - days * DAY) for days in (0, 1))
    return (
        any(begin <= minute < end for begin, end in today if begin < end)
        or any(minute >= begin for begin, end in today if end < begin)
        or any(minute < end for begin, end in yesterday if end < begin)
        or any(holds(each, moment) for each in schedule.also)
    )


def hours_of(schedule: Schedule, day: date) -> tuple[Span, ...]:
    for first, last, hours in schedule.special:
        if first == day == last or (first <= day <= last and day.weekday() in schedule.days):
            return hours
    is_closed = any(first <= day <= last for first, last in schedule.closed)
    return schedule.hours if day.weekday() in schedule.days and not is_closed else ()


def walk(begin: datetime) -> Iterator[datetime]:
    """`begin`, and each full minute after it."""
    yield begin
    minute = begin.replace(second=0, microsecond=0)
    while (minute := minute + MINUTE) < begin + LONGEST_WALK:
        yield minute


def opening(timing: Timing, moment: datetime) -> datetime | None:
    """None: not within so many days."""
    if timing.hours is None:
        return moment
    return next((each for each in walk(moment) if holds(timing.hours, each)), None)


def slot(at: At, arrived: datetime, zone: ZoneInfo) -> datetime:
    """The first moment at which the wall shows the time, or one that is later, for the first time."""
    shown = datetime.min  # noqa: DTZ901 - on the wall
    for moment in walk((arrived - 2 * DAY).replace(second=0, microsecond=0)):
        wall = moment.astimezone(zone).replace(tzinfo=None)
        if moment > arrived:
            for days in (-1, 0, 1):
                day = wall.date() + days * DAY
                time = datetime(day.year, day.month, day.day) + at.minute * MINUTE  # noqa: DTZ001
                if day.weekday() in at.days and shown < time <= wall:
                    return moment
        shown = max(shown, wall)
    raise AssertionError("no such time in all these days")


def spans() -> st.SearchStrategy[Span]:
    marks = st.integers(0, 1439)
    return st.tuples(marks, marks | st.just(1440)).filter(lambda span: span[0] != span[1])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Timing, datetime]:
    """A timing, and a moment that is often close to its exceptions or to a clock change."""
    moment = draw(moments())
    days = st.integers(-3, 9).map(lambda ahead: moment.date() + ahead * DAY)
    ranges = st.tuples(days, days).map(lambda pair: (min(pair), max(pair)))
    hours = st.lists(spans(), min_size=1, max_size=3).map(tuple)
    schedules = st.builds(
        Schedule,
        name=st.just("s"),
        zone=st.sampled_from(ZONES),
        days=st.frozensets(st.integers(0, 6), min_size=1),
        hours=hours,
        closed=st.lists(ranges, max_size=2).map(tuple),
        special=st.lists(st.builds(lambda pair, own: (*pair, own), ranges, hours), max_size=2).map(tuple),
    )  # fmt: skip
    joined = st.builds(
        lambda first, second: Schedule(
            **{name: getattr(first, name) for name in ("name", "zone", "days", "hours", "closed", "special")},
            also=(second,),
        ),
        schedules,
        schedules,
    )  # fmt: skip
    at_times = st.builds(At, st.frozensets(st.integers(0, 6), min_size=1), st.integers(0, 1439))
    every = st.integers(1, 3000).map(lambda count: Every(count * MINUTE))
    timing = st.builds(
        Timing,
        hours=st.none() | schedules | joined,
        outside_hours=st.sampled_from([WAIT, DIGEST, SKIP]),
        send=st.lists(at_times | every, max_size=2).map(tuple),
        limits=st.lists(st.just(Limit(5, timedelta(hours=1))), max_size=1).map(tuple),
        zone=st.sampled_from(ZONES),
    )
    return draw(timing), moment


@settings(max_examples=30)  # the walks take long; 10,000 were made once
@given(cases())
def test_what_is_planned_is_what_somebody_finds_who_watches_the_clock(
    case: tuple[Timing, datetime],
) -> None:
    timing, arrived = case
    found = planned(timing, arrived)
    first = opening(timing, arrived)
    is_open = first == arrived
    if timing.hours and first is None:
        return  # further away than the walk goes
    if not is_open and timing.outside_hours == SKIP:
        assert (found.state, found.due) == ("left out", None)
        return
    due = first
    if timing.send:
        times = [
            arrived + each.period if isinstance(each, Every) else slot(each, arrived, timing.zone)
            for each in timing.send
        ]
        due = opening(timing, min(times))
        if due is None:
            return
    assert (found.due or arrived) == due
    waits = not is_open or timing.send or timing.limits
    assert found.state == ("scheduled" if waits else "queued")
    assert found.in_digest == bool(timing.send or (not is_open and timing.outside_hours == DIGEST))
    assert found.limited == bool(timing.limits and not found.in_digest)


@settings(max_examples=30)
@given(st.sampled_from(ZONES), st.integers(0, 1440), moments())
def test_a_time_on_the_wall_is_found_where_the_wall_first_shows_it(
    zone: ZoneInfo, minute: int, moment: datetime
) -> None:
    day = moment.astimezone(zone).date()
    time = datetime(day.year, day.month, day.day) + minute * MINUTE  # noqa: DTZ001
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC) - 2 * DAY
    shows = (each for each in walk(begin) if each.astimezone(zone).replace(tzinfo=None) >= time)
    assert first_existing(day, minute, zone) == next(shows)
