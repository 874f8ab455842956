"""What follows an attempt: the schedule of docs/delivery.md, and who is given up when."""

from datetime import datetime, timedelta

import pytest

from relay.delivery.retry import WAITS, held_back, settlement_after, wait_after
from relay.destination import TransportSpec, WhenUnsure
from relay.outbox import Settlement, State
from relay.transports import Ending, Outcome
from tests.builders import NOON, a_delivery, later

MAIL = TransportSpec(
    name="mail",
    doc="",
    options={},
    option_sets=(),
    gives_up_after=timedelta(days=3),
    when_unsure=WhenUnsure.REPEAT,
)
POST = TransportSpec(name="post", doc="", options={}, option_sets=())


def follows(
    outcome: Outcome,
    spec: TransportSpec = POST,
    *,
    now: datetime = NOON,
    when_unsure: WhenUnsure | None = None,
    probe_at: datetime | None = None,
    **delivery: object,
) -> Settlement:
    return settlement_after(
        outcome,
        a_delivery(**delivery),
        spec,
        when_unsure=when_unsure,
        probe_at=probe_at,
        now=now,
        random=lambda: 0.0,
    )


@pytest.mark.parametrize("ending", [Ending.DELIVERED, Ending.ACCEPTED])
def test_what_arrived_is_settled(ending: Ending) -> None:
    settlement = follows(Outcome(ending, "ok"))
    assert (settlement.state, settlement.due_at) == (State(ending.value), None)


@pytest.mark.parametrize(
    ("failures", "seconds"), list(enumerate((30, 120, 300, 900, 1800, 3600), 1))
)
def test_the_waits_grow_by_the_schedule_half_of_each_by_chance(failures: int, seconds: int) -> None:
    assert wait_after(failures, lambda: 0.0) == timedelta(seconds=seconds / 2)
    assert wait_after(failures, lambda: 0.5) == timedelta(seconds=seconds * 0.75)


def test_one_that_is_sent_in_short_stays_short_at_each_later_attempt() -> None:
    assert follows(Outcome(Ending.LATER, "451"), short=True).short
    assert follows(Outcome(Ending.RATE_LIMITED, "429"), short=True).short
    assert not follows(Outcome(Ending.LATER, "451")).short


def test_the_longest_wait_repeats() -> None:
    assert wait_after(50, lambda: 0.0) == WAITS[-1] / 2


def test_a_passing_failure_is_tried_again_and_counted() -> None:
    settlement = follows(Outcome(Ending.LATER, "451 busy"), failures=2)
    assert (settlement.state, settlement.counts) == (State.QUEUED, True)
    assert settlement.due_at == NOON + wait_after(3, lambda: 0.0)


def test_a_longer_wait_that_the_far_end_asked_for_is_kept() -> None:
    asked = Outcome(Ending.LATER, "greylisted", after=timedelta(minutes=7))
    assert follows(asked).due_at == later(minutes=7)


def test_a_rate_limit_is_waited_for_and_not_counted() -> None:
    settlement = follows(Outcome(Ending.RATE_LIMITED, "slow", after=timedelta(seconds=17)))
    assert (settlement.due_at, settlement.counts) == (later(seconds=17), False)


def test_a_broken_destination_keeps_its_deliveries_without_blame() -> None:
    settlement = follows(Outcome(Ending.DESTINATION_BROKEN, "535"), now=later(days=90), failures=9)
    assert (settlement.state, settlement.counts) == (State.QUEUED, False)


@pytest.mark.parametrize(("spec", "hours"), [(POST, 24), (MAIL, 72)])
def test_it_is_given_up_when_the_next_try_would_be_too_old(spec: TransportSpec, hours: int) -> None:
    failed = Outcome(Ending.LATER, "no answer")
    in_time = follows(failed, spec, now=later(hours=hours - 9), failures=8)
    too_late = follows(failed, spec, now=later(hours=hours - 1), failures=8)
    assert in_time.state is State.QUEUED
    assert too_late.state is State.FAILED
    assert too_late.detail == f"given up after {hours - 1} hours: no answer"


def test_a_relay_that_was_off_for_a_week_still_tries_more_than_once() -> None:
    settlement = follows(Outcome(Ending.LATER, "no answer"), now=later(days=7))
    assert settlement.state is State.QUEUED


def test_a_refused_message_fails_at_once() -> None:
    assert follows(Outcome(Ending.REFUSED, "550 no such user")).state is State.FAILED


def test_one_refused_for_its_size_goes_once_more_in_the_short_form() -> None:
    too_long = Outcome(Ending.REFUSED, "msg_too_long", shorten=True)
    again = follows(too_long)
    assert (again.state, again.short, again.due_at) == (State.QUEUED, True, NOON)
    assert follows(too_long, short=True).state is State.FAILED


def test_a_lost_answer_repeats_on_the_schedule_where_copies_are_dropped() -> None:
    settlement = follows(Outcome(Ending.MAYBE_DELIVERED, "no answer"), MAIL, unsure=3)
    assert (settlement.state, settlement.counts) == (State.QUEUED, True)


def test_a_lost_answer_repeats_once_after_a_minute_elsewhere() -> None:
    unsure = Outcome(Ending.MAYBE_DELIVERED, "no answer")
    once_more = follows(unsure)
    assert (once_more.state, once_more.due_at) == (State.QUEUED, later(minutes=1))
    assert follows(unsure, unsure=1).state is State.MAYBE_DELIVERED


def test_an_odd_yes_is_held_for_a_person() -> None:
    odd = Outcome(Ending.MAYBE_DELIVERED, "200 with a strange body", hold=True)
    assert follows(odd).state is State.MAYBE_DELIVERED


def test_what_follows_a_lost_answer_is_the_rules_files_choice() -> None:
    unsure = Outcome(Ending.MAYBE_DELIVERED, "no answer")
    held = follows(unsure, MAIL, when_unsure=WhenUnsure.HOLD)
    assert (held.state, held.due_at) == (State.MAYBE_DELIVERED, None)
    once = follows(unsure, MAIL, when_unsure=WhenUnsure.ONCE)
    assert (once.state, once.due_at) == (State.QUEUED, later(minutes=1))
    assert follows(unsure, MAIL, when_unsure=WhenUnsure.ONCE, unsure=1).state is (
        State.MAYBE_DELIVERED
    )
    repeated = follows(unsure, POST, when_unsure=WhenUnsure.REPEAT, unsure=3)
    assert (repeated.state, repeated.counts) == (State.QUEUED, True)


@pytest.mark.parametrize("when_unsure", WhenUnsure)
def test_an_odd_yes_is_held_whatever_the_rules_file_says(when_unsure: WhenUnsure) -> None:
    odd = Outcome(Ending.MAYBE_DELIVERED, "200 with a strange body", hold=True)
    assert follows(odd, when_unsure=when_unsure).state is State.MAYBE_DELIVERED


def test_a_repeat_waits_for_as_long_as_the_far_end_asked() -> None:
    busy = Outcome(Ending.MAYBE_DELIVERED, "503 busy", after=timedelta(minutes=10))
    assert follows(busy).due_at == later(minutes=10)
    assert follows(busy, when_unsure=WhenUnsure.REPEAT).due_at == later(minutes=10)


def test_what_may_have_gone_out_before_the_relay_died_is_held_only_where_the_rules_say_so() -> None:
    suspect = a_delivery(suspect=True)
    held = held_back(suspect, WhenUnsure.HOLD)
    assert held is not None
    assert (held.ending, held.hold, held.only_this) == (Ending.MAYBE_DELIVERED, True, True)
    assert held_back(suspect, WhenUnsure.ONCE) is None
    assert held_back(suspect, WhenUnsure.REPEAT) is None
    assert held_back(a_delivery(), WhenUnsure.HOLD) is None


def test_the_first_failure_of_one_is_tried_again_when_its_destination_is_asked_next() -> None:
    down = Outcome(Ending.LATER, "502")
    probe = later(seconds=2)
    assert follows(down, probe_at=probe).due_at == probe
    assert follows(down, probe_at=later(minutes=1)).due_at == later(seconds=15)
    assert follows(down, probe_at=probe, failures=1).due_at == later(minutes=1)
    asked = Outcome(Ending.LATER, "503", after=timedelta(seconds=40))
    assert follows(asked, probe_at=probe).due_at == later(seconds=40)
    full = Outcome(Ending.LATER, "452", only_this=True)
    assert follows(full, probe_at=probe).due_at == later(seconds=15)
    lost = Outcome(Ending.MAYBE_DELIVERED, "dropped")
    assert follows(lost, probe_at=probe).due_at == later(seconds=60)
    assert follows(lost, MAIL, probe_at=probe).due_at == probe
