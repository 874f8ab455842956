"""What would be sent when, of several chats: digests, limits and once per visitor together."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from relay.timing.plan import At, Every, Limit, Mute, OncePer, Timing, plan
from relay.timing.simulation import PlannedDelivery, Sent, Simulation
from tests.timing.zones import OFFICE, PRAGUE, WEEKDAYS, at

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
FIVE = Timing(limits=(Limit(5, HOUR),))


def sent(
    timing: Timing,
    *arrivals: str | datetime,
    visitors: str = "",
    once_per: OncePer | None = None,
    urgent: tuple[int, ...] = (),
    mutes: tuple[Mute, ...] = (),
) -> list[Sent]:
    """Of chats that arrive then; `visitors`: a letter for each."""
    simulation = Simulation()
    for number, arrival in enumerate(arrivals):
        arrived = at(arrival) if isinstance(arrival, str) else arrival
        simulation.add(
            PlannedDelivery(
                chat=str(number),
                visitor=visitors[number] if visitors else "",
                rule="Missed",
                destination="room",
                recipient="room",
                arrived=arrived,
                plan=plan(rule="Missed", urgent=number in urgent, destination="room", timing=timing, mutes=mutes, arrived=arrived),
                timing=timing,
                once_per=once_per,
            )
        )  # fmt: skip
    return simulation.run()


def times(found: list[Sent]) -> list[tuple[str, int]]:
    return [(f"{one.at.astimezone(PRAGUE):%a %H:%M:%S}", one.chats) for one in found]


def minutes(begin: str, count: int) -> list[datetime]:
    return [at(begin) + number * MINUTE for number in range(count)]


def test_a_digest_begins_with_its_first_chat() -> None:
    timing = Timing(send=(Every(30 * MINUTE),))
    day = "2026-11-27 "
    arrivals = [day + time for time in ("10:00", "10:10", "10:29:59", "10:30")]
    assert times(sent(timing, *arrivals)) == [("Fri 10:30:00", 3), ("Fri 11:00:00", 1)]


def test_one_digest_at_each_time_that_has_chats() -> None:
    timing = Timing(send=(At(WEEKDAYS, 480),), zone=PRAGUE)
    arrivals = ["2027-03-26 09:00", "2027-03-28 03:10", "2027-03-29 08:00"]
    assert times(sent(timing, *arrivals)) == [("Mon 08:00:00", 2), ("Tue 08:00:00", 1)]


def test_above_the_limit_there_is_one_digest_at_the_end_of_the_hour() -> None:
    found = sent(FIVE, *minutes("2026-11-27 10:00", 22), "2026-11-27 11:00:01")
    assert times(found)[:5] == [(f"Fri 10:0{number}:00", 1) for number in range(5)]
    assert times(found)[5:] == [("Fri 11:00:00", 17), ("Fri 11:00:01", 1)]
    assert found[5].longest_wait == 55 * MINUTE


def test_a_digest_of_one_is_the_chat_itself_and_none_of_none() -> None:
    assert times(sent(FIVE, *minutes("2026-11-27 10:00", 6)))[5:] == [("Fri 11:00:00", 1)]
    assert len(sent(FIVE, *minutes("2026-11-27 10:00", 5))) == 5


def test_urgent_ones_pass_the_limit_and_do_not_count() -> None:
    found = sent(FIVE, *minutes("2026-11-27 10:00", 8), urgent=(0, 1, 2))
    assert [count for _, count in times(found)] == [1] * 8


def test_a_digest_of_a_limit_waits_for_the_opening() -> None:
    timing = Timing(hours=OFFICE, limits=(Limit(1, HOUR),))
    found = sent(timing, "2026-11-27 16:20", "2026-11-27 16:30")
    assert times(found) == [("Fri 16:20:00", 1), ("Mon 08:00:00", 1)]


def test_a_window_is_a_real_hour_on_the_day_of_a_clock_change() -> None:
    found = sent(Timing(limits=(Limit(1, HOUR),)), "2026-10-25T00:40Z", "2026-10-25T00:50Z")
    assert found[1].at == at("2026-10-25T01:40Z")


def test_a_limit_per_visitor_counts_each_visitor() -> None:
    timing = Timing(limits=(Limit(1, HOUR, per_visitor=True),))
    found = sent(timing, *minutes("2026-11-27 10:00", 4), visitors="AABA")
    assert times(found) == [("Fri 10:00:00", 1), ("Fri 10:02:00", 1), ("Fri 11:00:00", 2)]


def test_what_is_due_within_a_second_is_in_one_digest_as_the_relay_makes_it() -> None:
    hour = Timing(limits=(Limit(1, HOUR, per_visitor=True),))
    ten = at("2026-11-27 10:00")
    arrivals = [ten + timedelta(seconds=each) for each in (0, 1, 1.1, 600, 660, 720)]
    found = sent(hour, *arrivals, visitors="ABCABC")
    assert times(found)[3:] == [("Fri 11:00:00", 2), ("Fri 11:00:01", 1)]


def test_what_waited_for_the_opening_is_counted_then() -> None:
    timing = Timing(hours=OFFICE, limits=(Limit(2, HOUR),))
    found = sent(timing, *minutes("2026-11-28 10:00", 5))
    assert times(found) == [("Mon 08:00:00", 1), ("Mon 08:00:00", 1), ("Mon 09:00:00", 3)]


def test_once_per_visitor_collects_or_leaves_out_the_rest() -> None:
    arrivals = ["2026-11-27 10:00", "2026-11-27 11:00", "2026-11-27 12:00", "2026-11-28 10:00"]
    day = timedelta(days=1)
    collected = sent(Timing(), *arrivals, visitors="AAAA", once_per=OncePer(day))
    assert times(collected) == [("Fri 10:00:00", 1), ("Sat 10:00:00", 2), ("Sat 10:00:00", 1)]
    left_out = sent(Timing(), *arrivals, visitors="AABA", once_per=OncePer(day, "nothing"))
    assert times(left_out) == [("Fri 10:00:00", 1), ("Fri 12:00:00", 1), ("Sat 10:00:00", 1)]


def test_what_a_mute_holds_back_does_not_count_as_told_of_the_visitor() -> None:
    """As `plan_once` has it: the first after the mute is sent at once, and all of the mute at its end."""
    mute = Mute(
        id=1, begins=at("2026-11-27 10:00"), until=at("2026-11-27 12:00"), because="x", by="y"
    )
    arrivals = ["2026-11-27 10:00", "2026-11-27 11:00", "2026-11-27 12:30", "2026-11-27 13:00"]
    once = OncePer(timedelta(days=1), "nothing")
    found = sent(Timing(), *arrivals, visitors="AAAA", once_per=once, mutes=(mute,))
    assert times(found) == [("Fri 12:00:00", 2), ("Fri 12:30:00", 1)]


def timings() -> st.SearchStrategy[Timing]:
    return st.builds(
        Timing,
        hours=st.none() | st.just(OFFICE),
        outside_hours=st.sampled_from(["wait", "digest"]),
        send=st.lists(st.sampled_from([Every(30 * MINUTE), At(WEEKDAYS, 480)]), max_size=2).map(tuple),
        limits=st.lists(st.sampled_from([Limit(2, HOUR), Limit(1, 9 * MINUTE, per_visitor=True)]), max_size=2).map(tuple),
        zone=st.just(PRAGUE),
    )  # fmt: skip


@given(timings(), st.lists(st.integers(0, 5000), min_size=1, max_size=30))
def test_each_chat_is_sent_once_in_hours_and_no_limit_is_broken(
    timing: Timing, gaps: list[int]
) -> None:
    begin = at("2026-11-26 10:00")
    arrivals = [begin + sum(gaps[:number]) * timedelta(seconds=1) for number in range(len(gaps))]
    visitors = ("AB" * len(gaps))[: len(gaps)]
    found = sent(timing, *arrivals, visitors=visitors)
    told = [member.chat for one in found for member in one.members]
    assert sorted(told, key=int) == [str(number) for number in range(len(gaps))]
    assert all(one.at >= member.arrived for one in found for member in one.members)
    assert timing.hours is None or all(timing.hours.holds(one.at) for one in found)
    assert [one.at for one in found] == sorted(one.at for one in found)
    if timing.limits == (Limit(2, HOUR),) and not timing.send and timing.outside_hours == "wait":
        singles = [one.at for one in found if one.members[0].plan.limited]
        assert not singles or _anchored(singles)


def _anchored(singles: list[datetime]) -> bool:
    """Two in each window of an hour, which begins with the first after the last has ended."""
    begin, used = singles[0], 0
    for one in singles:
        begin, used = (one, 1) if one >= begin + HOUR else (begin, used + 1)
        if used > 2:
            return False
    return True


def test_what_waits_for_once_per_comes_at_the_times_of_the_digests() -> None:
    """Not on a Saturday, and not before the chat that was told first."""
    timing = Timing(send=(At(WEEKDAYS, 480),), zone=PRAGUE)
    arrivals = ["2026-11-27 10:00", "2026-11-27 11:00", "2026-11-30 09:00"]
    found = sent(timing, *arrivals, visitors="aaa", once_per=OncePer(24 * HOUR))
    assert times(found) == [("Mon 08:00:00", 2), ("Tue 08:00:00", 1)]
