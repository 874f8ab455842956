"""When a destination is told: `plan` for a chat that comes in, `replan` after the rules have changed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.timing.plan import (
    AT_ONCE,
    DIGEST,
    NOW,
    SKIP,
    At,
    Every,
    Limit,
    Mute,
    Plan,
    Timing,
    plan,
    replan,
)
from tests.timing.zones import ODD_ZONES, OFFICE, PRAGUE, WEEKDAYS, at, moments, schedules

DAILY = frozenset(range(7))
HALF_HOUR = Every(timedelta(minutes=30))
MORNINGS = At(WEEKDAYS, 8 * 60)
FIVE = Limit(5, timedelta(hours=1))


def planned(timing: Timing, arrived: str | datetime, *mutes: Mute, urgent: bool = False) -> Plan:
    moment = at(arrived) if isinstance(arrived, str) else arrived
    return plan(
        rule="Missed", urgent=urgent, destination="room", timing=timing, mutes=mutes, arrived=moment
    )


def sends(*send: Every | At, zone: ZoneInfo = PRAGUE) -> Timing:
    return Timing(send=send, zone=zone)


def test_without_timing_everything_is_sent_at_once() -> None:
    assert planned(AT_ONCE, "2026-11-28 03:00") is NOW
    assert not AT_ONCE.waits


def test_outside_its_hours_a_destination_waits() -> None:
    timing = Timing(hours=OFFICE)
    assert planned(timing, "2026-11-27 16:59:59") is NOW
    waits = Plan(state="scheduled", due=at("2026-11-30 08:00"), why="hours")
    assert planned(timing, "2026-11-27 17:00") == waits


def test_what_waits_may_come_in_one_digest_be_left_out_or_told_elsewhere() -> None:
    opening = at("2026-11-30 08:00")
    friday = "2026-11-27 17:05"
    digest = Plan(state="scheduled", due=opening, why="hours", in_digest=True)
    assert planned(Timing(hours=OFFICE, outside_hours=DIGEST), friday) == digest
    left_out = Plan(state="left out", why="skip")
    assert planned(Timing(hours=OFFICE, outside_hours=SKIP), friday) == left_out
    assert planned(Timing(hours=OFFICE, instead="duty"), friday) == Plan(instead="duty")
    for timing in (Timing(hours=OFFICE, outside_hours=SKIP), Timing(hours=OFFICE, instead="duty")):
        assert planned(timing, "2026-11-27 16:00") is NOW


@pytest.mark.parametrize(
    ("timing", "arrived", "due"),
    [
        (sends(MORNINGS), "2027-03-26 09:00", "2027-03-29T06:00Z"),
        (sends(MORNINGS), "2027-03-28 03:10", "2027-03-29T06:00Z"),
        (sends(At(DAILY, 480)), "2026-10-24 09:00", "2026-10-25T07:00Z"),
        (sends(At(DAILY, 150)), "2027-03-27 12:00", "2027-03-28T01:00Z"),
        (sends(At(DAILY, 150)), "2026-10-24 12:00", "2026-10-25T00:30Z"),
        (sends(At(DAILY, 150)), "2026-10-25T00:30Z", "2026-10-26T01:30Z"),
        (sends(At(DAILY, 150)), "2026-10-25T01:10Z", "2026-10-26T01:30Z"),
        (sends(HALF_HOUR), "2027-03-28 01:40", "2027-03-28T01:10Z"),
        (sends(HALF_HOUR), "2026-11-27 10:00", "2026-11-27T09:30Z"),
        (sends(MORNINGS, At(WEEKDAYS, 840)), "2026-11-27 09:00", "2026-11-27T13:00Z"),
        (sends(MORNINGS, At(WEEKDAYS, 840)), "2026-11-27 14:00", "2026-11-30T07:00Z"),
        (sends(At(frozenset({0}), 450)), "2026-11-30 07:30", "2026-12-07T06:30Z"),
        (sends(At(DAILY, 0), zone=ZoneInfo("Africa/Cairo")), "2027-04-29T18:00Z", "2027-04-29T22:00Z"),
    ],
)  # fmt: skip
def test_a_digest_is_due_at_its_next_time(timing: Timing, arrived: str, due: str) -> None:
    found = planned(timing, arrived)
    joins = HALF_HOUR in timing.send
    assert found == Plan(
        state="scheduled", due=at(due), why="send", in_digest=True, joins=joins
    )  # fmt: skip


def test_a_digest_that_is_due_outside_the_hours_waits_for_the_opening() -> None:
    timing = Timing(hours=OFFICE, send=(HALF_HOUR, At(DAILY, 22 * 60)), zone=PRAGUE)
    assert planned(timing, "2026-11-27 16:40").due == at("2026-11-30 08:00")
    assert planned(timing, "2026-11-27 16:20").due == at("2026-11-27 16:50")
    late = planned(timing, "2026-11-28 12:00")
    assert (late.due, late.why, late.in_digest) == (at("2026-11-30 08:00"), "hours", True)


def test_a_limited_destination_has_its_limits_asked_when_it_may_be_told() -> None:
    timing = Timing(hours=OFFICE, limits=(FIVE,))
    now = at("2026-11-27 10:00")
    assert planned(timing, now) == Plan(state="scheduled", due=now, limited=True)
    late = Plan(state="scheduled", due=at("2026-11-30 08:00"), why="hours", limited=True)
    assert planned(timing, "2026-11-28 10:00") == late
    assert not planned(Timing(limits=(FIVE,), send=(HALF_HOUR,)), now).limited


def mute(number: int = 1, **fields: object) -> Mute:
    given = {
        "begins": at("2026-11-27 18:00"),
        "until": at("2026-11-30 08:00"),
        "because": "Warehouse move",
        "by": "Anna",
        **fields,
    }
    return Mute(id=number, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arrived", "is_muted"),
    [
        ("2026-11-27 17:59:59", False),
        ("2026-11-27 18:00:00", True),
        ("2026-11-30 07:59:59", True),
        ("2026-11-30 08:00:00", False),
    ],
)
def test_a_mute_holds_from_its_begin_to_its_end(arrived: str, is_muted: bool) -> None:
    kept = Plan(state="scheduled", due=at("2026-11-30 08:00"), why="muted:1", in_digest=True)
    assert planned(AT_ONCE, arrived, mute(rule="Missed")) == (kept if is_muted else NOW)


def test_a_mute_names_a_rule_a_destination_or_nothing() -> None:
    saturday = "2026-11-28 10:00"
    for holds in (mute(rule="Missed"), mute(destination="room"), mute(), mute(when="spam")):
        assert planned(AT_ONCE, saturday, holds).why == "muted:1"
    for other in (mute(rule="Bad ratings"), mute(destination="sales")):
        assert planned(AT_ONCE, saturday, other) is NOW
    assert planned(AT_ONCE, saturday, mute(rule="Missed", destination="sales")) is NOW


def test_an_urgent_rule_is_muted_only_by_name() -> None:
    saturday = "2026-11-28 10:00"
    closed = Timing(hours=OFFICE, send=(HALF_HOUR,), limits=(FIVE,))
    assert planned(closed, saturday, urgent=True) is NOW
    assert planned(closed, saturday, mute(destination="room"), urgent=True) is NOW
    for holds in (mute(rule="Missed"), mute(destination="room", urgent_too=True)):
        assert planned(closed, saturday, holds, urgent=True).why == "muted:1"


def test_the_mute_that_ends_last_decides() -> None:
    drops = mute(2, until=at("2026-12-04 08:00"), then="nothing")
    saturday = "2026-11-28 10:00"
    assert planned(AT_ONCE, saturday, mute(), drops) == Plan(state="left out", why="muted:2")
    assert planned(AT_ONCE, "2026-11-27 19:00", drops, mute(3, until=at("2027-01-01 08:00"))).why == "muted:3"  # fmt: skip


def test_what_a_mute_kept_waits_for_hours_and_times_too() -> None:
    ends_on_saturday = mute(until=at("2026-11-28 12:00"))
    friday = "2026-11-27 19:00"
    assert planned(Timing(hours=OFFICE), friday, ends_on_saturday).due == at("2026-11-30 08:00")
    assert planned(sends(MORNINGS), friday, ends_on_saturday).due == at("2026-11-30 08:00")
    assert planned(sends(MORNINGS), friday, mute()).due == at("2026-11-30 08:00")
    assert planned(sends(HALF_HOUR), friday, ends_on_saturday).due == at("2026-11-28 12:00")


def test_a_schedule_that_never_opens_keeps_nothing_back() -> None:
    never = OFFICE.__class__(name="never", zone=PRAGUE, days=frozenset())
    assert planned(Timing(hours=never), "2026-11-28 10:00") is NOW


# -- after a reload ----------------------------------------------------------------------------------------

FRIDAY, SATURDAY = at("2026-11-27 17:05"), at("2026-11-28 10:00")
SATURDAYS = OFFICE.__class__(name="s", zone=PRAGUE, days=frozenset({5}), hours=((540, 720),))
FROM_TEN = OFFICE.__class__(name="t", zone=PRAGUE, days=WEEKDAYS, hours=((600, 1020),))
LONGER = OFFICE.__class__(name="l", zone=PRAGUE, days=WEEKDAYS, hours=((480, 1080),))


def replanned(timing: Timing, why: str, now: str | datetime = SATURDAY, *, in_digest: bool = False) -> Plan:  # fmt: skip
    moment = at(now) if isinstance(now, str) else now
    return replan(timing=timing, created=FRIDAY, why=why, in_digest=in_digest, now=moment)


def test_what_waits_goes_by_the_hours_that_are_new() -> None:
    assert replanned(Timing(hours=SATURDAYS), "hours") is NOW
    assert replanned(Timing(hours=FROM_TEN), "hours").due == at("2026-11-30 10:00")
    assert replanned(AT_ONCE, "hours") is NOW
    # It would have been told on Friday, but nobody is there now.
    later = Plan(state="scheduled", due=at("2026-11-30 08:00"), why="hours")
    assert replanned(Timing(hours=LONGER), "hours") == later


def test_what_waits_is_never_left_out_by_a_reload() -> None:
    for timing in (Timing(hours=OFFICE, outside_hours=SKIP), Timing(hours=OFFICE, instead="duty")):
        found = replanned(timing, "hours")
        assert (found.state, found.due) == ("scheduled", at("2026-11-30 08:00"))


def test_a_digest_moves_to_the_new_time_or_goes_now_as_one() -> None:
    before_eight = "2026-11-30 07:59"
    moved = replanned(sends(At(WEEKDAYS, 540)), "send", before_eight, in_digest=True)
    assert (moved.due, moved.in_digest) == (at("2026-11-30 09:00"), True)
    gone = replanned(AT_ONCE, "send", before_eight, in_digest=True)
    assert (gone.state, gone.due, gone.in_digest) == ("scheduled", at(before_eight), True)
    # The new time has passed already.
    late = replanned(sends(At(WEEKDAYS, 480)), "send", "2026-11-30 08:30", in_digest=True)
    assert late.due == at("2026-11-30 08:30")


def test_what_a_limit_kept_back_asks_the_new_limits() -> None:
    assert replanned(AT_ONCE, "limit", in_digest=True) is NOW
    again = Plan(state="scheduled", due=SATURDAY, limited=True)
    assert replanned(Timing(limits=(FIVE,)), "limit", in_digest=True) == again
    night = replanned(Timing(hours=OFFICE, limits=(FIVE,)), "limit", in_digest=True)
    assert night.due == at("2026-11-30 08:00")


def test_what_mutes_keep_back_is_theirs() -> None:
    stays = Plan(state="scheduled", why="muted:3", in_digest=True)
    assert replanned(AT_ONCE, "muted:3", in_digest=True) == stays
    assert replanned(Timing(hours=OFFICE), "once per visitor").due is None


# -- for all ------------------------------------------------------------------------------------------------


def timings() -> st.SearchStrategy[Timing]:
    minutes = st.integers(0, 95).map(lambda quarter: quarter * 15)
    days = st.frozensets(st.integers(0, 6), min_size=1)
    every = st.integers(1, 3000).map(lambda count: Every(timedelta(minutes=count)))
    return st.builds(
        Timing,
        hours=st.none() | schedules(),
        outside_hours=st.sampled_from(["wait", DIGEST]),
        send=st.lists(every | st.builds(At, days, minutes), max_size=3).map(tuple),
        limits=st.lists(st.just(FIVE), max_size=1).map(tuple),
        zone=st.sampled_from(ODD_ZONES),
    )


@given(timings(), moments())
def test_what_waits_is_due_later_and_within_the_hours(timing: Timing, arrived: datetime) -> None:
    found = planned(timing, arrived)
    due = found.due or arrived
    assert due >= arrived
    assert due.tzinfo is UTC
    if timing.hours and timing.hours.next_opening(due) is not None:
        assert timing.hours.holds(due)
    assert (found.state == "queued") == (found is NOW)


@given(timings(), moments(), st.timedeltas(timedelta(), timedelta(days=9)))
def test_who_comes_later_is_told_no_earlier(
    timing: Timing, arrived: datetime, later: timedelta
) -> None:
    first = planned(timing, arrived).due or arrived
    assert first <= (planned(timing, arrived + later).due or arrived + later)


@given(timings(), timings(), moments(), st.timedeltas(timedelta(), timedelta(days=9)))
def test_a_reload_keeps_what_waits(
    before: Timing, after: Timing, arrived: datetime, passed: timedelta
) -> None:
    old, now = planned(before, arrived), arrived + passed
    if old is NOW:
        return
    found = replan(timing=after, created=arrived, why=old.why, in_digest=old.in_digest, now=now)
    assert found.state != "left out"
    assert found.due is None or found.due >= now
    if after == before and old.due and old.due >= now:
        assert found == old or found.limited


@given(st.sampled_from(ODD_ZONES), st.integers(0, 1439), st.integers(0, 6), moments())
def test_a_time_of_the_week_comes_once_a_week(
    zone: ZoneInfo, minute: int, day: int, moment: datetime
) -> None:
    slot = At(frozenset({day}), minute)
    first = slot.next(moment, zone)
    second = slot.next(first, zone)
    assert timedelta(days=5) < second - first < timedelta(days=9)
    assert first - timedelta(days=9) < moment < first
