"""How many deliveries may go to a destination now: pace, gate, breaker."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.endpoint import FAILURES_TO_OPEN, Breaker, Endpoint
from relay.delivery.lane import BETWEEN_CLAIMS, Lane, LaneState, Lesson
from relay.destination import Destination, Rate, TransportSpec
from relay.notification import Notification
from relay.outbox import Gate
from relay.outbox.pace import Pacer
from relay.transports import Ending, Identity, Outcome
from tests.builders import NOON, a_delivery, later

DOWN = Outcome(Ending.LATER, "refused")
WORKS = Outcome(Ending.DELIVERED, "ok")


class Nowhere:
    """A transport that is never asked: lanes do no I/O."""

    objection = ""

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:
        raise AssertionError

    async def connect(self) -> Outcome:
        raise AssertionError


def a_lane(
    rates: tuple[Rate, ...] = (),
    most: int = 8,
    endpoint: Endpoint | None = None,
    name: str = "room",
) -> Lane:
    return Lane(
        Destination(name=name, transport="post", options={}, rates=rates),
        TransportSpec(name="post", doc="", options={}, option_sets=(), max_concurrency=most),
        Nowhere(),
        endpoint or Endpoint("room"),
    )


def learns(lane: Lane, outcome: Outcome, now: datetime, delivery: int = 1) -> Lesson:
    """From an attempt at a delivery, which began just now unless it is under way."""
    return lane.learn(a_delivery(id=delivery), outcome, now)


def under_way(lane: Lane, count: int, now: datetime) -> None:
    """Deliveries 1, 2, ... are."""
    lane.claimed([a_delivery(id=number) for number in range(1, count + 1)], now)


def test_an_unlimited_destination_takes_as_many_as_its_transport_can() -> None:
    lane = a_lane(most=4)
    assert lane.slots(NOON) == 4
    under_way(lane, 3, NOON)
    assert lane.slots(NOON) == 1


def test_a_paced_destination_takes_one_each_second() -> None:
    lane = a_lane((Rate(1),))
    lane.claimed([a_delivery()], NOON)
    assert lane.slots(later(seconds=0.9)) == 0
    assert lane.slots(later(seconds=1)) == 1


def test_a_rate_of_the_rules_file_replaces_the_transports_own() -> None:
    destination = Destination(name="room", transport="post", options={}, rates=())
    spec = TransportSpec(name="post", doc="", options={}, option_sets=(), rates=(Rate(1),))
    lane = Lane(destination, spec, Nowhere(), Endpoint("room"))
    lane.claimed([a_delivery()], NOON)
    assert lane.slots(NOON) > 0


def test_a_pace_that_other_relays_have_used_up_is_waited_for() -> None:
    lane = a_lane((Rate(1),))
    lane.pacer.wait_until(later(seconds=5))
    assert lane.slots(later(seconds=4)) == 0
    assert lane.slots(later(seconds=5)) == 1


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=60),
    st.integers(1, 5),
    st.integers(1, 20),
)
def test_no_window_ever_holds_more_than_the_rate(
    gaps: list[int], count: int, burst_seconds: int
) -> None:
    rates = (Rate(count), Rate(count * 3, timedelta(seconds=burst_seconds)))
    pacer = Pacer(rates)
    now, started = NOON, []
    for gap in gaps:
        now = pacer.free_at(now + timedelta(milliseconds=gap))
        pacer.started(now)
        started.append(now)
    for rate in rates:
        for first in started:
            assert sum(first <= one < first + rate.per for one in started) <= rate.count


def test_a_far_end_that_fails_thrice_is_asked_by_one_probe_at_a_time() -> None:
    lane = a_lane()
    for _ in range(FAILURES_TO_OPEN):
        learns(lane, DOWN, NOON)
    assert lane.slots(NOON) == 0
    assert lane.slots(later(seconds=2)) == 1
    lane.claimed([a_delivery()], later(seconds=2))
    assert lane.slots(later(seconds=2)) == 0


def test_probes_come_more_seldom_but_at_least_once_a_minute() -> None:
    breaker = Breaker()
    waits = []
    for _ in range(30):
        breaker.failed(a_delivery(), NOON)
        waits.append((breaker.probe_at - NOON).total_seconds() if breaker.probe_at else None)
    assert waits[:8] == [None, None, 2, 4, 8, 16, 32, 60]
    assert waits[-1] == 60


def test_one_success_after_an_outage_says_that_it_is_over() -> None:
    lane = a_lane()
    for _ in range(FAILURES_TO_OPEN):
        learns(lane, DOWN, NOON)
    assert learns(lane, WORKS, later(seconds=9)) is Lesson.WORKS_AGAIN
    assert learns(lane, WORKS, later(seconds=9)) is Lesson.NONE
    assert lane.slots(later(seconds=9)) > 1


def test_a_failure_or_two_before_a_success_were_a_blip() -> None:
    lane = a_lane()
    learns(lane, DOWN, NOON)
    assert learns(lane, WORKS, later(seconds=1)) is Lesson.BLIP_OVER
    assert learns(lane, WORKS, later(seconds=2)) is Lesson.NONE


def test_a_single_full_mailbox_is_no_outage() -> None:
    lane = a_lane()
    for _ in range(10):
        learns(lane, Outcome(Ending.LATER, "452 mailbox full", only_this=True), NOON)
    assert lane.slots(NOON) > 1


def test_a_rate_limit_closes_the_destination_for_the_time_it_names() -> None:
    lane = a_lane()
    learns(lane, Outcome(Ending.RATE_LIMITED, "429", after=timedelta(seconds=30)), NOON)
    assert lane.slots(later(seconds=29)) == 0
    assert lane.slots(later(seconds=30)) > 1
    assert not lane.is_broken


def test_a_broken_destination_is_looked_at_ever_more_seldom_by_one_delivery() -> None:
    lane = a_lane()
    now = NOON
    for minutes in (5, 10, 20, 40, 60, 60):
        learns(lane, Outcome(Ending.DESTINATION_BROKEN, "535 wrong password"), now)
        assert lane.is_broken
        assert lane.slots(now + timedelta(minutes=minutes, seconds=-1)) == 0
        now += timedelta(minutes=minutes)
        assert lane.slots(now) == 1
    assert lane.gate is not None
    assert lane.gate.broken_since == NOON


def test_of_many_under_way_when_it_broke_only_the_first_closes_it() -> None:
    lane = a_lane()
    under_way(lane, 8, NOON)
    for number in range(1, 9):
        broken = Outcome(Ending.DESTINATION_BROKEN, "535")
        assert learns(lane, broken, later(seconds=number), number) is (
            Lesson.BROKE if number == 1 else Lesson.NONE
        )
    assert lane.gate == Gate(later(minutes=5, seconds=1), later(seconds=1), "535")


def test_what_was_under_way_when_it_broke_does_not_keep_the_next_look_waiting() -> None:
    lane = a_lane()
    under_way(lane, 3, NOON)
    learns(lane, Outcome(Ending.DESTINATION_BROKEN, "535"), NOON, 1)
    lane.ended(a_delivery(id=1))
    assert lane.slots(later(minutes=5)) == 1
    lane.claimed([a_delivery(id=4)], later(minutes=5))
    assert lane.slots(later(minutes=5)) == 0
    learns(lane, Outcome(Ending.DESTINATION_BROKEN, "535"), later(minutes=5), 4)
    assert lane.opens_at(NOON) == later(minutes=15)


def test_looks_come_ever_more_seldom_over_a_restart_too() -> None:
    lane = a_lane()
    lane.endpoint.close(Gate(later(minutes=15), NOON, "535"))
    learns(lane, Outcome(Ending.DESTINATION_BROKEN, "535"), later(minutes=15))
    assert lane.opens_at(NOON) == later(minutes=35)


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    lane = a_lane()
    under_way(lane, 2, NOON)
    learns(lane, Outcome(Ending.RATE_LIMITED, "429", after=timedelta(minutes=10)), NOON, 1)
    learns(lane, Outcome(Ending.RATE_LIMITED, "429", after=timedelta(seconds=5)), NOON, 2)
    assert lane.opens_at(NOON) == later(minutes=10)


def test_of_many_that_fail_together_none_puts_the_first_probe_off() -> None:
    lane = a_lane()
    under_way(lane, 8, NOON)
    for number in range(1, 9):
        learns(lane, DOWN, later(milliseconds=number), number)
        lane.ended(a_delivery(id=number))
    assert lane.opens_at(NOON) == later(seconds=2, milliseconds=FAILURES_TO_OPEN)


def test_a_probe_does_not_wait_for_those_that_hang_since_before() -> None:
    lane = a_lane()
    under_way(lane, 8, NOON)
    for number in range(1, 4):
        learns(lane, DOWN, NOON, number)
        lane.ended(a_delivery(id=number))
    assert lane.in_flight == 5
    assert lane.slots(later(seconds=2)) == 1
    lane.claimed([a_delivery(id=9)], later(seconds=2))
    assert lane.slots(later(seconds=2)) == 0


def test_a_broken_destination_that_takes_one_again_is_mended() -> None:
    lane = a_lane()
    learns(lane, Outcome(Ending.DESTINATION_BROKEN, "535"), NOON)
    assert learns(lane, WORKS, later(minutes=5)) is Lesson.WORKS_AGAIN
    assert lane.gate is None


def test_a_broken_destination_that_asks_for_a_pause_is_still_broken() -> None:
    lane = a_lane()
    learns(lane, Outcome(Ending.DESTINATION_BROKEN, "404 no_service"), NOON)
    learns(lane, Outcome(Ending.RATE_LIMITED, "429", after=timedelta(seconds=30)), later(minutes=5))
    assert lane.gate == Gate(later(minutes=5, seconds=30), NOON, "429")
    assert learns(lane, WORKS, later(minutes=6)) is Lesson.WORKS_AGAIN


def test_a_clock_that_is_set_back_holds_nothing_up_for_longer() -> None:
    lane, earlier = a_lane((Rate(1),)), later(hours=-2)
    lane.note_time(NOON)
    lane.claimed([a_delivery()], NOON)
    lane.ended(a_delivery())
    for _ in range(FAILURES_TO_OPEN):
        learns(lane, DOWN, NOON)
    lane.falls_due(later(minutes=5))
    assert lane.slots(earlier) == 0
    assert lane.is_before(earlier)
    lane.note_time(earlier)
    assert lane.slots(earlier) == 1
    assert lane.wakes_at(earlier) == earlier
    assert not lane.is_before(earlier)


def test_a_wait_that_was_asked_for_is_as_long_by_a_clock_that_is_set_back() -> None:
    lane, earlier = a_lane(), later(hours=-2)
    lane.note_time(NOON)
    learns(lane, Outcome(Ending.RATE_LIMITED, "429", after=timedelta(minutes=10)), NOON)
    lane.note_time(earlier)
    assert lane.opens_at(earlier) == earlier + timedelta(minutes=10)


def test_a_clock_that_goes_back_by_a_hair_is_not_heeded() -> None:
    lane = a_lane((Rate(1),))
    lane.note_time(NOON)
    lane.claimed([a_delivery()], NOON)
    assert not lane.is_before(later(seconds=-0.5))
    lane.note_time(later(seconds=-0.5))
    assert lane.slots(later(seconds=0.5)) == 0


def test_places_that_come_free_are_gathered_for_one_claim_unless_half_are_free() -> None:
    """A claim of one costs as much as a claim of four."""
    lane = a_lane(most=8)
    lane.falls_due(NOON)
    lane.claim_begins(NOON)
    lane.claimed([a_delivery(id=number) for number in range(5)], NOON)
    lane.claim_ended(NOON)
    soon = NOON + BETWEEN_CLAIMS
    just_before = soon - timedelta(microseconds=1)
    assert (lane.slots(just_before), lane.wakes_at(just_before)) == (0, soon)
    assert (lane.slots(soon), lane.wakes_at(soon)) == (3, soon)
    lane.ended(a_delivery(id=1))
    assert (lane.slots(NOON), lane.wakes_at(NOON)) == (4, NOON)


def test_a_clock_that_is_set_back_after_a_claim_gathers_nothing() -> None:
    lane = a_lane(most=2)
    lane.falls_due(NOON)
    lane.claim_begins(NOON)
    lane.claimed([a_delivery(id=number) for number in range(2)], NOON)
    lane.claim_ended(NOON)
    lane.ended(a_delivery(id=1))
    assert lane.slots(later(seconds=-0.5)) == 1


def test_places_are_reserved_as_long_as_there_are_any_and_given_back() -> None:
    lane = a_lane(most=3)
    lane.claimed([a_delivery(id=1)], NOON)
    assert [lane.reserve(NOON) for _ in range(3)] == [True, True, False]
    assert lane.slots(NOON) == 0
    lane.release()
    lane.claimed([a_delivery(id=2)], NOON)
    lane.release()
    assert lane.slots(NOON) == 1
    assert (lane.in_flight, lane.reserved) == (2, 0)


def test_nothing_is_reserved_before_what_is_due_and_waits() -> None:
    lane = a_lane()
    lane.falls_due(later(seconds=5))  # the next try of one that failed
    assert lane.reserve(NOON)
    assert not lane.reserve(later(seconds=5))
    lane.claim_begins(later(seconds=5))
    assert not lane.reserve(later(seconds=5)), "the claim tells what waits"
    lane.claim_ended(None)
    assert lane.reserve(later(seconds=5))


def test_nothing_is_reserved_where_nothing_may_go() -> None:
    lane = a_lane()
    learns(lane, Outcome(Ending.RATE_LIMITED, "429", after=timedelta(seconds=30)), NOON)
    assert not lane.reserve(later(seconds=29))
    assert lane.reserve(later(seconds=30))
    for _ in range(FAILURES_TO_OPEN):
        learns(lane, DOWN, later(seconds=30))
    assert not lane.reserve(later(seconds=31))
    lane.release()
    assert [lane.reserve(later(seconds=32)), lane.reserve(later(seconds=32))] == [True, False]


def test_nothing_is_reserved_by_a_clock_that_was_set_back() -> None:
    """Then what waits is due sooner than is known."""
    lane = a_lane()
    lane.note_time(NOON)
    assert not lane.reserve(later(hours=-2))


def test_of_a_paced_destination_one_place_is_reserved_at_a_time_and_its_pace_holds() -> None:
    lane = a_lane((Rate(1),))
    assert [lane.reserve(NOON), lane.reserve(NOON)] == [True, False]
    assert lane.slots(NOON) == 0
    lane.release()
    lane.claimed([a_delivery()], NOON)
    assert not lane.reserve(later(seconds=0.9))
    assert lane.reserve(later(seconds=1))
    lane.release()  # the hook was known: nothing is sent, and nothing need wait for it
    assert lane.slots(later(seconds=1)) == 1


def test_it_wakes_when_something_is_due_and_may_go() -> None:
    lane = a_lane((Rate(1),))
    assert lane.wakes_at(NOON) is None
    lane.falls_due(later(seconds=5))
    assert lane.wakes_at(NOON) == later(seconds=5)
    lane.falls_due(later(seconds=9))
    assert lane.wakes_at(NOON) == later(seconds=5)
    lane.claimed([a_delivery()], later(seconds=5))
    assert lane.wakes_at(later(seconds=5)) == later(seconds=6)


def test_a_gate_that_another_relay_met_holds_here_too_unless_ours_holds_longer() -> None:
    lane = a_lane()
    lane.adopt(Gate(later(minutes=5), None, "429"))
    assert lane.slots(later(minutes=4)) == 0
    lane.adopt(Gate(later(minutes=2), None, "429"))
    assert lane.slots(later(minutes=4)) == 0
    assert lane.slots(later(minutes=5)) > 0


def test_a_destination_that_works_again_for_another_relay_is_open_here_too() -> None:
    lane = a_lane()
    learns(lane, Outcome(Ending.DESTINATION_BROKEN, "535"), NOON)
    lane.adopt(None)
    assert not lane.is_broken
    assert lane.slots(NOON) > 0


def test_what_the_disk_still_says_of_a_gate_that_was_opened_here_is_no_news() -> None:
    lane = a_lane()
    learns(lane, Outcome(Ending.DESTINATION_BROKEN, "535"), NOON)
    gate, stored_for = lane.gate, lane.endpoint.stored_for
    stored_for.add(lane.name)
    assert learns(lane, WORKS, later(minutes=5)) is Lesson.WORKS_AGAIN
    lane.adopt(gate)
    assert not lane.is_broken
    stored_for.clear()  # it is written down
    lane.adopt(gate)
    assert lane.is_broken


# -- what leads to the same place ------------------------------------------------------------------------------


def side_by_side(endpoint: Endpoint, *rates: Rate) -> tuple[Lane, Lane]:
    """Two destinations of one webhook, each with something due."""
    lanes = a_lane(rates, endpoint=endpoint), a_lane(rates, endpoint=endpoint, name="twin")
    for lane in lanes:
        lane.siblings = lanes
    return lanes


def test_what_leads_to_the_same_place_keeps_one_pace_together() -> None:
    one, other = side_by_side(Endpoint("room"), Rate(1))
    one.claimed([a_delivery(id=1)], NOON)
    assert other.slots(later(seconds=0.9)) == 0
    assert other.slots(later(seconds=1)) == 1


def test_while_one_claims_the_other_waits() -> None:
    one, other = side_by_side(Endpoint("room"), Rate(1))
    one.falls_due(NOON)
    one.claim_begins(NOON)
    assert other.slots(NOON) == 0
    assert not other.reserve(NOON)
    one.claim_ended(None)
    assert other.slots(NOON) == 1
    assert other.reserve(NOON)
    assert one.slots(NOON) == 0
    other.release()
    assert one.slots(NOON) == 1


def test_of_two_that_wait_for_the_same_pace_the_older_goes_first() -> None:
    one, other = side_by_side(Endpoint("room"), Rate(1))
    one.falls_due(NOON)
    other.falls_due(later(seconds=-1))
    assert (one.slots(NOON), other.slots(NOON)) == (0, 1)
    assert not one.reserve(NOON)
    under_way(other, 8, later(seconds=-100))  # it can take no more
    assert one.slots(NOON) == 1


def test_what_waits_for_the_end_of_a_probe_holds_up_no_other_at_its_pace() -> None:
    one, other = side_by_side(Endpoint("room"), Rate(1))
    for _ in range(FAILURES_TO_OPEN):
        learns(one, DOWN, NOON)
    one.falls_due(NOON)
    other.falls_due(later(seconds=1))
    under_way(one, 1, later(seconds=10))
    assert (one.slots(later(minutes=5)), other.slots(later(minutes=5))) == (0, 1)


def test_where_nothing_could_be_claimed_no_other_is_held_up_at_its_pace() -> None:
    one, other = side_by_side(Endpoint("room"), Rate(1))
    for lane, due in ((one, NOON), (other, later(seconds=1))):
        lane.falls_due(due)
    one.claim_begins(later(seconds=2))
    one.claim_ended(NOON, took_nothing=True)
    assert other.slots(later(seconds=2)) == 1
    one.claim_begins(later(seconds=3))
    one.claim_ended(later(seconds=4), took_nothing=True)
    other.next_due = later(seconds=5)
    assert other.slots(later(seconds=6)) == 0


def test_without_a_rate_nobody_waits_for_anybody() -> None:
    one, other = side_by_side(Endpoint("room"))
    other.falls_due(later(seconds=-1))
    one.falls_due(NOON)
    one.claim_begins(NOON)
    assert (one.slots(NOON), other.slots(NOON)) == (8, 8)


def test_a_gate_is_closed_for_all_that_lead_there_and_one_looks_for_all() -> None:
    one, other = side_by_side(Endpoint("server"))
    learns(one, Outcome(Ending.DESTINATION_BROKEN, "535"), NOON)
    assert other.is_broken
    assert other.slots(later(minutes=4)) == 0
    assert other.slots(later(minutes=5)) == 1
    one.claimed([a_delivery(id=1)], later(minutes=5))
    assert other.slots(later(minutes=5)) == 0
    assert learns(one, WORKS, later(minutes=5), 1) is Lesson.WORKS_AGAIN
    assert not other.is_broken


def test_only_one_of_all_that_lead_there_looks_whether_it_works_again() -> None:
    one, other = side_by_side(Endpoint("server"))
    learns(one, Outcome(Ending.DESTINATION_BROKEN, "535"), NOON)
    for lane in (one, other):
        lane.falls_due(NOON)
    one.claim_begins(later(minutes=5))
    assert other.slots(later(minutes=5)) == 0
    assert one.waiting_siblings() == [other]
    one.claim_ended(None)
    assert other.slots(later(minutes=5)) == 1


def test_where_one_does_not_get_through_the_other_may() -> None:
    one, other = side_by_side(Endpoint("server"))
    for _ in range(FAILURES_TO_OPEN):
        learns(one, DOWN, NOON)
    assert (one.slots(NOON), other.slots(NOON)) == (0, 8)


@pytest.mark.parametrize("rates", [(Rate(1),), (Rate(2, timedelta(seconds=2)),)])
def test_a_destination_that_was_edited_goes_on_where_it_was(rates: tuple[Rate, ...]) -> None:
    endpoint = Endpoint("room")
    a_lane((Rate(1),), endpoint=endpoint).claimed([a_delivery(id=1)], NOON)
    a_lane((Rate(1),), endpoint=endpoint).claimed([a_delivery(id=2)], NOON)
    edited = a_lane(rates, endpoint=endpoint)
    assert edited.in_flight == 2
    assert edited.slots(later(seconds=0.9)) == 0
    learns(edited, Outcome(Ending.RATE_LIMITED, "429", after=timedelta(minutes=1)), NOON, 1)
    assert a_lane(rates, endpoint=endpoint).opens_at(NOON) == later(minutes=1)


def test_with_another_login_only_the_pace_goes_on() -> None:
    endpoint = Endpoint("server")
    lane = a_lane((Rate(1),), endpoint=endpoint)
    lane.claimed([a_delivery(id=1)], NOON)
    learns(lane, Outcome(Ending.DESTINATION_BROKEN, "535"), NOON, 1)
    renewed = a_lane((Rate(1),), endpoint=endpoint.renewed())
    assert not renewed.is_broken
    assert renewed.slots(NOON) == 0
    assert renewed.slots(later(seconds=1)) == 1


# -- so many an hour -------------------------------------------------------------------------------------------


def test_a_destination_that_has_had_its_most_waits_and_holds_up_no_other_at_its_pace() -> None:
    place = Endpoint("room")
    full, other = lanes = [a_lane((Rate(1),), endpoint=place, name=name) for name in "ab"]
    full.next_due, full.full_until, other.next_due = NOON, later(hours=1), later(seconds=1)
    for lane in lanes:
        lane.siblings = lanes
    now = later(seconds=2)
    assert (full.slots(now), other.slots(now)) == (0, 1)
    assert full.state(now) is LaneState.FULL
    assert full.wakes_at(now) == later(hours=1)
    assert full.slots(later(hours=1)) == 1
