"""Moments and schedules by the clock on the wall, as tests write them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from relay.timing.schedule import Schedule, Span

PRAGUE = ZoneInfo("Europe/Prague")
WEEKDAYS = frozenset(range(5))
OFFICE = Schedule(name="office", zone=PRAGUE, days=WEEKDAYS, hours=((8 * 60, 17 * 60),))
ODD_ZONES = tuple(
    ZoneInfo(name)
    for name in (
        *("UTC", "Europe/Prague", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"),
        *("America/Havana", "America/New_York", "Africa/Casablanca", "Pacific/Chatham", "America/Sao_Paulo"),
    )
)  # fmt: skip
"""Changes at midnight, of half an hour, of a whole day, in the other half of the year, and none."""


CHANGES = tuple(
    datetime.fromisoformat(text)
    for text in (
        *("2026-10-25T01:00Z", "2027-03-28T01:00Z", "2027-04-29T22:00Z", "2026-10-29T21:00Z", "2011-12-30T10:00Z"),
        *("2026-10-03T15:30Z", "2027-04-03T15:00Z", "2026-11-01T05:00Z", "2027-03-14T05:00Z", "2027-03-14T07:00Z"),
    )
)  # fmt: skip
"""Moments at which clocks are changed, in one of these zones or another."""
DAYS = timedelta(days=2)


def at(text: str, zone: ZoneInfo = PRAGUE) -> datetime:
    """`2026-11-27 17:05` on the wall; `...Z`: UTC."""
    if text.endswith("Z"):
        return datetime.fromisoformat(text)
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def moments() -> st.SearchStrategy[datetime]:
    """From before Apia left out a day; often close to a clock change."""
    anywhere = st.datetimes(datetime(2011, 12, 20), datetime(2031, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
    near = st.sampled_from(CHANGES).flatmap(
        lambda change: st.timedeltas(-DAYS, DAYS).map(lambda ahead: change + ahead)
    )
    return anywhere | near


def spans() -> st.SearchStrategy[Span]:
    marks = st.integers(0, 95).map(lambda quarter: quarter * 15)
    return st.tuples(marks, marks | st.just(24 * 60)).filter(lambda span: span[0] != span[1])


def schedules() -> st.SearchStrategy[Schedule]:
    dates = st.dates(date(2011, 12, 20), date(2031, 1, 1))
    ranges = st.tuples(dates, dates).map(lambda pair: (min(pair), max(pair)))
    return st.builds(
        Schedule,
        name=st.just("s"),
        zone=st.sampled_from(ODD_ZONES),
        days=st.frozensets(st.integers(0, 6), min_size=1),
        hours=st.lists(spans(), min_size=1, max_size=3).map(tuple),
        closed=st.lists(ranges, max_size=1).map(tuple),
        special=st.lists(
            st.tuples(dates, st.lists(spans(), min_size=1, max_size=2).map(tuple)).map(
                lambda found: (found[0], found[0], found[1])
            ),
            max_size=1,
        ).map(tuple),
    )
