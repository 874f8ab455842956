"""When it has been silent for too long: only time within the schedule counts, whatever the clocks do."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.timing.schedule import Schedule, Silence
from tests.rules.books import a_book, problems_of

PRAGUE = ZoneInfo("Europe/Prague")
MINUTE = timedelta(minutes=1)
OFFICE = Schedule(
    name="office",
    zone=PRAGUE,
    days=frozenset(range(5)),
    hours=((8 * 60, 17 * 60),),
    closed=((date(2026, 12, 24), date(2026, 12, 24)),),
)
FOUR_HOURS = Silence(longer_than=timedelta(hours=4), within=(OFFICE,))


def prague(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PRAGUE)


@pytest.mark.parametrize(
    ("last", "begins"),
    [
        ("2026-11-23 09:30", "2026-11-23 13:30"),  # a Monday
        ("2026-11-23 15:00", "2026-11-24 10:00"),  # over the night
        ("2026-11-20 16:30", "2026-11-23 11:30"),  # over the weekend
        ("2026-11-21 12:00", "2026-11-23 12:00"),  # from within it
        ("2026-12-23 16:00", "2026-12-25 11:00"),  # over a day that is closed
        ("2026-11-23 13:00", "2026-11-23 17:00"),  # to the last minute
    ],
)
def test_only_office_hours_count(last: str, begins: str) -> None:
    at = prague(begins)
    assert FOUR_HOURS.begins(prague(last), at) == at
    assert FOUR_HOURS.begins(prague(last), at - timedelta(seconds=1)) is None
    assert FOUR_HOURS.begins(prague(last), at + timedelta(days=300)) == at


def test_the_hour_that_is_left_out_in_spring_does_not_count() -> None:
    nights = Schedule(name="nights", zone=PRAGUE, hours=((0, 4 * 60),))
    silence = Silence(longer_than=timedelta(hours=3), within=(nights,))
    last, at = prague("2026-03-29 00:00"), prague("2026-03-29 04:00")
    assert silence.begins(last, at + timedelta(days=1)) == at


def test_a_schedule_that_never_holds_is_never_silent_for_too_long() -> None:
    never = Schedule(name="never", zone=PRAGUE, days=frozenset())
    silence = Silence(longer_than=MINUTE, within=(never,))
    assert silence.begins(prague("2024-01-01 00:00"), prague("2026-01-01 00:00")) is None


minutes = st.integers(0, 24 * 60 - 1)
schedules = st.builds(
    Schedule,
    name=st.just("s"),
    zone=st.sampled_from(
        ["UTC", "Europe/Prague", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
    ).map(ZoneInfo),
    days=st.frozensets(st.integers(0, 6)),
    hours=st.lists(
        st.tuples(minutes, minutes).filter(lambda pair: pair[0] != pair[1]), min_size=1, max_size=2
    ).map(tuple),
    closed=st.lists(
        st.dates(date(2026, 3, 1), date(2026, 4, 30)).map(lambda day: (day, day)), max_size=2
    ).map(tuple),
)


def by_counting(silence: Silence, last: datetime, now: datetime) -> datetime | None:
    """The same, minute by minute."""
    left, at = silence.longer_than, last
    while at < now:
        if any(each.holds(at) for each in silence.within):
            left -= MINUTE
            if left <= timedelta(0):
                return at + MINUTE
        at += MINUTE
    return None


@given(
    st.lists(schedules, min_size=1, max_size=3).map(tuple),
    st.integers(1, 2000),
    st.integers(0, 60 * 24 * 40),
    st.integers(0, 4000),
)
@example((Schedule(name="s", zone=PRAGUE, hours=((2 * 60, 3 * 60),)),), 60, 60 * 24 * 27, 3000)
def test_it_is_the_same_as_counting_the_minutes(
    within: tuple[Schedule, ...], longer: int, begin: int, length: int
) -> None:
    """Over the weeks in which most clocks are changed."""
    silence = Silence(longer_than=longer * MINUTE, within=within)
    last = datetime(2026, 3, 1, tzinfo=UTC) + begin * MINUTE
    now = last + length * MINUTE
    assert silence.begins(last, now) == by_counting(silence, last, now)


def test_a_silence_is_read_with_its_schedule_and_counts_always_without_one() -> None:
    text = """\
timezone: Europe/Prague
schedules:
  office: {days: mon-fri, hours: 08:00-17:00}
destinations:
  desk: {email: {to: desk@example.com}}
alerts_to: desk
silence: {longer_than: 4h, within: office}
rules:
  - {name: All, when: always, send_to: desk}
"""
    book = a_book(text)
    assert (book.alerts_to, book.warnings) == (("desk",), ())
    assert book.silence is not None
    assert book.silence.within == (book.schedules["office"],)
    always = a_book(text.replace(", within: office", "")).silence
    assert always is not None
    assert always.begins(prague("2026-11-21 00:00"), prague("2026-11-21 04:00"))


def test_time_within_any_schedule_of_a_list_counts() -> None:
    book = a_book("""\
timezone: Europe/Prague
schedules:
  morning: {days: mon-fri, hours: 08:00-10:00}
  weekend: {days: [sat, sun]}
destinations:
  desk: {email: {to: desk@example.com}}
alerts_to: desk
silence: {longer_than: 3h, within: [morning, weekend, morning]}
rules:
  - {name: All, when: always, send_to: desk}
""")
    assert book.silence is not None
    assert book.silence.schedules == ("morning", "weekend")
    assert book.warnings == ()
    # Friday: 08:00 to 10:00, and the third hour is the first of Saturday.
    last, later = prague("2026-11-20 07:00"), prague("2026-11-22 00:00")
    assert book.silence.begins(last, later) == prague("2026-11-21 01:00")


def test_a_destination_for_alerts_alone_is_used() -> None:
    text = """\
destinations:
  desk: {email: {to: desk@example.com}}
  admin: {email: {to: admin@example.com}}
alerts_to: [admin, admin]
rules:
  - {name: All, when: always, send_to: desk}
"""
    book = a_book(text)
    assert (book.alerts_to, book.warnings, problems_of(text)) == (("admin",), (), [])
