"""Deliveries that wait for their time: how a hook's plan is kept, and how what is due is released."""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from relay.outbox import NewHook, Outbox
from relay.outbox.database_session import CommandSessions
from relay.outbox.delivery_types import from_ms, to_ms
from relay.outbox.requeue import reassign_all
from relay.outbox.scheduling import AT_ONCE as IN_ONE_TRANSACTION
from relay.outbox.scheduling import Done, Scheduling
from relay.services.resend import resend
from relay.timing.plan import AT_ONCE, Every, Limit, Plan, Timing
from relay.timing.schedule import Schedule
from tests.builders import NOON, a_hook, later
from tests.outbox.conftest import Ask, Place
from tests.outbox.hooks import TRY_LATER, a_new_hook, claim_one
from tests.postgres import PostgresCluster, server

HOUR = timedelta(hours=1)
OPENING = Plan(state="scheduled", due=NOON + HOUR, why="hours")
IN_A_DIGEST = Plan(state="scheduled", due=NOON + HOUR, why="send", in_digest=True, joins=True)


def planned(hook: NewHook, plan: Plan) -> NewHook:
    return replace(hook, deliveries=tuple(replace(one, plan=plan) for one in hook.deliveries))


async def test_what_is_scheduled_waits_and_says_why(outbox: Outbox, ask: Ask) -> None:
    accepted = await outbox.accept(planned(a_new_hook(), OPENING))
    assert (accepted.new, accepted.destinations, accepted.scheduled) == (True, (), 1)
    assert ask("SELECT state, why, in_digest, due_at - created_at FROM deliveries") == [
        ("scheduled", "hours", False, 3_600_000)
    ]
    claim = await outbox.claim("desk", now=later(hours=2), lease=HOUR, limit=1)
    assert (claim.deliveries, claim.next_due) == ((), None), "only its release makes it queued"


async def test_what_is_left_out_is_kept_as_settled(outbox: Outbox, ask: Ask) -> None:
    accepted = await outbox.accept(planned(a_new_hook(), Plan(state="left out", why="muted:3")))
    assert (accepted.destinations, accepted.scheduled) == ((), 0)
    assert ask("SELECT state, why, settled_at - created_at FROM deliveries") == [
        ("left out", "muted:3", 0)
    ]


async def test_a_chat_joins_the_digest_that_waits_already(outbox: Outbox, ask: Ask) -> None:
    """Of its destination and recipient, while it is still to come; not one that is due later than its own would be."""
    for chat, minutes, rule in ((1, 0, "a"), (2, 10, "a"), (3, 60, "a"), (4, 61, "b")):
        at = later(minutes=minutes)
        plan = replace(IN_A_DIGEST, due=at + HOUR)
        await outbox.accept(planned(a_new_hook(chat, at=at, rule=rule), plan))
    other = planned(a_new_hook(5, destinations=("room",), at=later(minutes=10)), IN_A_DIGEST)
    await outbox.accept(other)
    due = ask("SELECT (due_at - (SELECT min(created_at) FROM deliveries)) / 60000 FROM deliveries")
    assert sorted(minutes for (minutes,) in due) == [60, 60, 60, 120, 120]


async def test_a_later_hook_of_a_chat_is_what_its_scheduled_delivery_shows(
    outbox: Outbox, ask: Ask
) -> None:
    await outbox.accept(planned(a_new_hook(), OPENING))
    rated = planned(a_new_hook(rating=1, at=later(minutes=5)), OPENING)
    assert (await outbox.accept(rated)).scheduled == 0
    await outbox.accept(planned(a_new_hook(2), OPENING))
    assert ask(
        "SELECT count(*), max(deliveries.hook_id) = max(hooks.id) FROM deliveries"
        " JOIN hooks ON hooks.chat_id = deliveries.chat_id WHERE deliveries.chat_id = 1"
    ) == [(2, True)]


def scheduling(outbox: Outbox, **timings: Timing) -> Scheduling:
    waits = outbox.operations.waits
    waits.timings = timings or {"desk": AT_ONCE}
    return Scheduling(outbox.operations.sql, waits)


async def release(outbox: Outbox, now: datetime, **timings: Timing) -> Done:
    acts = scheduling(outbox, **timings)
    return await outbox.run(lambda cursor: acts.release(cursor, now))


async def test_what_is_due_is_queued_in_the_order_in_which_it_came(
    outbox: Outbox, ask: Ask
) -> None:
    for chat in range(1, 4):
        await outbox.accept(planned(a_new_hook(chat, at=later(seconds=chat)), OPENING))
    assert await release(outbox, later(minutes=59)) == Done()
    assert await release(outbox, later(hours=1)) == Done(("desk",) * 3)
    assert await release(outbox, later(hours=1)) == Done()
    assert (
        ask("SELECT state, why, released_at - due_at FROM deliveries")
        == [("queued", "hours", 0)] * 3
    )
    claim = await outbox.claim("desk", now=later(hours=1), lease=HOUR, limit=9)
    assert [one.chat for one in claim.deliveries] == ["1", "2", "3"]
    assert {one.queued_at for one in claim.deliveries} == {later(hours=1)}
    assert [one.quiet for one in claim.deliveries] == [False, True, True], "one mention is enough"


async def test_of_one_burst_one_mentions_in_however_many_transactions_it_is_released(
    outbox: Outbox, ask: Ask
) -> None:
    burst = [
        planned(a_new_hook(chat, at=later(seconds=chat)), OPENING)
        for chat in range(IN_ONE_TRANSACTION + 5)
    ]
    await asyncio.gather(*map(outbox.accept, burst))
    days = [replace(OPENING, due=NOON + HOUR + timedelta(days=days)) for days in (1, 2)]
    for chat, plan in zip((906, 907, 908), (*days, days[1]), strict=True):
        await outbox.accept(planned(a_new_hook(chat, at=later(seconds=chat)), plan))
    while (await release(outbox, later(hours=1))).more:
        pass
    quiet = "SELECT quiet FROM deliveries WHERE state = 'queued' ORDER BY id"
    assert ask(quiet) == [(False,), *[(True,)] * (IN_ONE_TRANSACTION + 4)]
    for day in (1, 2):  # by relays that know nothing of each other
        await release(outbox, later(hours=1 + 24 * day))
    assert ask(quiet)[IN_ONE_TRANSACTION + 5 :] == [(False,), (False,), (True,)]


async def test_what_a_reload_lets_go_before_its_opening_is_one_burst(
    outbox: Outbox, ask: Ask
) -> None:
    for chat in range(1, 5):
        await outbox.accept(planned(a_new_hook(chat, at=later(seconds=chat)), OPENING))
    acts = scheduling(outbox)
    for second, numbers in enumerate(([1, 2], [3, 4]), 10):
        act = partial(acts.replan, now=later(seconds=second), numbers=numbers, digests={})
        await outbox.run(act)
    assert ask("SELECT quiet FROM deliveries ORDER BY id") == [(False,), *[(True,)] * 3]


def hours(*spans: tuple[int, int]) -> Schedule:
    return Schedule(
        name="office", zone=ZoneInfo("UTC"), days=frozenset(range(7)), hours=spans, special=()
    )


@pytest.mark.parametrize(
    ("minutes", "put_off"), [(60, 0), (89, 0), (90.5, 25 * 60), (12 * 60, 25 * 60)]
)
async def test_what_fell_due_while_the_relay_slept_and_is_late_waits_for_the_next_opening(
    outbox: Outbox, ask: Ask, minutes: float, put_off: int
) -> None:
    await outbox.accept(planned(a_new_hook(1), OPENING))
    timing = Timing(hours=hours((13 * 60, 13 * 60 + 30)))
    done = await release(outbox, later(minutes=minutes), desk=timing)
    assert len(done.queued) == (not put_off)
    ((state, why, due),) = ask("SELECT state, why, due_at FROM deliveries")
    assert (state, why) == ("scheduled" if put_off else "queued", "hours")
    assert not put_off or from_ms(due) == later(minutes=put_off)


async def test_what_falls_due_in_the_last_moment_of_the_hours_is_sent(outbox: Outbox) -> None:
    await outbox.accept(planned(a_new_hook(1), OPENING))
    timing = Timing(hours=hours((12 * 60, 13 * 60 + 1)))
    assert (await release(outbox, later(hours=1, seconds=61), desk=timing)).queued == ()
    await outbox.accept(planned(a_new_hook(2), replace(OPENING, due=later(hours=25, seconds=30))))
    assert (await release(outbox, later(hours=25, seconds=65), desk=timing)).queued == ("desk",)


async def test_what_waits_for_a_destination_that_is_gone_stays_and_holds_up_nobody(
    outbox: Outbox, ask: Ask
) -> None:
    await outbox.accept(planned(a_new_hook(1, destinations=("gone", "desk")), OPENING))
    assert await release(outbox, later(hours=2)) == Done(("desk",))
    assert ask("SELECT destination, state FROM deliveries ORDER BY id") == [
        ("gone", "scheduled"),
        ("desk", "queued"),
    ]


FIVE = Timing(limits=(Limit(5, HOUR),))
LIMITED = Plan(state="scheduled", due=NOON, limited=True)


async def accept_limited(
    outbox: Outbox, *chats: int, minutes: float = 0, visitor: str = ""
) -> None:
    for chat in chats:
        at = later(minutes=minutes)
        body = a_hook(chat, visitor={"email": visitor})
        await outbox.accept(planned(a_new_hook(chat, at=at, of=body), replace(LIMITED, due=at)))


def waiting(ask: Ask) -> list[tuple[float, int]]:
    """In how many minutes after noon how many wait for a digest."""
    return [
        ((due - to_ms(NOON)) / 60_000, count)
        for due, count in ask(
            "SELECT due_at, count(*) FROM deliveries WHERE state = 'scheduled' AND in_digest"
            " AND why = 'limit' GROUP BY due_at ORDER BY due_at"
        )
    ]


async def test_what_is_over_a_limit_waits_for_the_end_of_its_window(
    outbox: Outbox, ask: Ask
) -> None:
    await accept_limited(outbox, *range(1, 4))
    assert len((await release(outbox, NOON, desk=FIVE)).queued) == 3
    await accept_limited(outbox, *range(4, 23), minutes=20)
    assert len((await release(outbox, later(minutes=20), desk=FIVE)).queued) == 2
    assert waiting(ask) == [(60, 17)]
    await accept_limited(outbox, 23, minutes=61)
    assert len((await release(outbox, later(minutes=61), desk=FIVE)).queued) == 1
    ((begun, used),) = ask("SELECT window_from, used FROM limits")
    assert (from_ms(begun), used) == (later(minutes=61), 1)


async def test_a_clock_that_is_set_back_begins_a_window_of_its_own(
    outbox: Outbox, ask: Ask
) -> None:
    await accept_limited(outbox, *range(1, 8), minutes=90)
    await release(outbox, later(minutes=90), desk=FIVE)
    assert waiting(ask) == [(150, 2)]
    acts, now = scheduling(outbox, desk=FIVE), later(minutes=30)
    numbers = await outbox.run(acts.scheduled)
    assert len(numbers) == 2
    await outbox.run(lambda cursor: acts.replan(cursor, now, numbers=numbers, digests={}))
    assert len((await release(outbox, now, desk=FIVE)).queued) == 2
    assert waiting(ask) == []


async def test_a_limit_per_visitor_counts_each_by_itself(outbox: Outbox, ask: Ask) -> None:
    timing = Timing(limits=(Limit(5, HOUR), Limit(1, HOUR / 2, per_visitor=True)))
    await accept_limited(outbox, 1, 2, 3, visitor="jana@example.com")
    await accept_limited(outbox, 4, visitor="Petr <PETR@example.com>")
    await accept_limited(outbox, 5, visitor="petr@example.com")
    await release(outbox, NOON, desk=timing)
    assert waiting(ask) == [(30, 3)]
    assert ask("SELECT count(*) FROM deliveries WHERE state = 'queued'") == [(2,)]


async def test_a_window_that_ends_outside_hours_moves_to_the_opening(
    outbox: Outbox, ask: Ask
) -> None:
    days = frozenset({NOON.weekday()})
    spans = ((10 * 60, 12 * 60 + 30), (14 * 60, 15 * 60))
    hours = Schedule(name="office", zone=ZoneInfo("UTC"), days=days, hours=spans)
    await accept_limited(outbox, *range(1, 8))
    await release(outbox, NOON, desk=replace(FIVE, hours=hours))
    assert waiting(ask) == [(120, 2)]


async def test_what_waits_for_its_time_can_be_moved_by_a_person(
    outbox: Outbox, place: Place, ask: Ask
) -> None:
    """And what is queued with it; where it leads to now it is planned anew."""
    await outbox.accept(planned(a_new_hook(1, destinations=("gone",)), OPENING))
    await outbox.accept(a_new_hook(2, destinations=("gone",)))
    await outbox.accept(planned(a_new_hook(3, destinations=("desk",)), OPENING))
    moved = reassign_all(
        CommandSessions(place.database),
        "gone",
        lambda one: [replace(a_new_hook(int(one.chat)).deliveries[0], rule="moved", plan=OPENING)],
        words="desk gets it instead",
        now=later(minutes=5),
        between=lambda _: None,
    )
    assert moved == 2
    assert sorted(ask("SELECT destination, rule, state FROM deliveries")) == [
        ("desk", "Missed chats", "scheduled"),
        ("desk", "moved", "scheduled"),
        ("desk", "moved", "scheduled"),
        ("gone", "Missed chats", "moved"),
        ("gone", "Missed chats", "moved"),
    ]


async def test_a_person_who_sends_it_again_does_not_wait_for_its_time(
    outbox: Outbox, place: Place, ask: Ask
) -> None:
    await outbox.accept(planned(a_new_hook(1), OPENING))
    await outbox.accept(planned(a_new_hook(2), Plan(state="left out", why="skip")))
    done = await resend(CommandSessions(place.database), [1, 2], by="test", now=later(minutes=5))
    assert len(done.queued) == 2
    assert ask("SELECT state, why, generation FROM deliveries ORDER BY id") == [
        ("queued", "hours", 1),
        ("queued", "skip", 2),
    ]
    claim = await outbox.claim("desk", now=later(minutes=5), lease=HOUR, limit=9)
    assert {one.queued_at for one in claim.deliveries} == {later(minutes=5)}


async def test_the_summary_counts_what_waits_for_its_time_apart(outbox: Outbox) -> None:
    await outbox.accept(planned(a_new_hook(1), OPENING))
    await outbox.accept(a_new_hook(2, destinations=("desk", "room")))
    summary = await outbox.summary()
    assert (summary.queued, summary.scheduled) == ({"desk": 1, "room": 1}, {"desk": 1})
    assert summary.next_scheduled == later(hours=1)
    assert summary.waiting == {"desk": 2, "room": 1}


@pytest.mark.long
async def test_two_relays_let_through_five_of_thirty_together(cluster: PostgresCluster) -> None:
    database = server(cluster.url(cluster.new_database()))
    relays = [await Outbox.open(database, now=NOON) for _ in range(2)]
    for number, outbox in enumerate(relays):
        await accept_limited(outbox, *range(15 * number, 15 * number + 15))
    counted: list[str] = []
    for _ in range(3):
        done = await asyncio.gather(*(release(outbox, NOON, desk=FIVE) for outbox in relays))
        counted += [name for one in done for name in one.queued]
    summary = await relays[0].summary()
    assert (len(counted), summary.queued, summary.scheduled) == (5, {"desk": 5}, {"desk": 25})
    for outbox in relays:
        await outbox.close()


async def test_what_is_released_ages_from_then_and_an_outage_that_ends_hastens_nothing_scheduled(
    outbox: Outbox, ask: Ask
) -> None:
    """Nor does a start, which takes what is due much later for the work of a wrong clock."""
    weekend = Plan(state="scheduled", due=later(hours=63), why="hours")
    await outbox.accept(planned(a_new_hook(1), weekend))
    await outbox.hasten("desk", later(hours=10))
    await outbox.recall("desk", later(hours=10), beyond=later(hours=18))
    assert await release(outbox, later(hours=62)) == Done()
    await release(outbox, later(hours=63))
    summary = await outbox.summary()
    assert (summary.oldest_queued, summary.oldest) == (later(hours=63), {"desk": later(hours=63)})
    failed = replace(TRY_LATER, due_at=later(hours=65))
    await outbox.settle(await claim_one(outbox, at=63 * 3600), failed)
    await outbox.hasten("desk", later(hours=64))
    assert ask("SELECT state, due_at = released_at FROM deliveries") == [("queued", True)]


async def test_a_clock_behind_the_newest_hook_is_known(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook(1))
    acts = scheduling(outbox)
    assert await outbox.run(lambda c: acts.is_behind(c, later(minutes=-2)))
    assert not await outbox.run(lambda c: acts.is_behind(c, later(seconds=-30)))


async def test_old_windows_are_forgotten(outbox: Outbox, ask: Ask) -> None:
    await accept_limited(outbox, 1)
    await release(outbox, NOON, desk=FIVE)
    acts = scheduling(outbox, desk=FIVE)
    for hours, left in ((23, 1), (25, 0)):
        await outbox.run(partial(acts.forget_windows, now=later(hours=hours)))
        assert ask("SELECT count(*) FROM limits") == [(left,)]


async def test_each_that_waits_is_planned_anew_by_the_timing_in_force(
    outbox: Outbox, ask: Ask
) -> None:
    """Those of one digest stay together; a mute's end is not in the rules, and stays."""
    for chat, minutes in ((1, 0), (2, 20), (3, 35)):
        at = later(minutes=minutes)
        plan = replace(IN_A_DIGEST, due=at + HOUR)
        await outbox.accept(planned(a_new_hook(chat, at=at), plan))
    muted = Plan(state="scheduled", due=later(hours=5), why="muted:1", in_digest=True)
    await outbox.accept(planned(a_new_hook(4), muted))
    acts = scheduling(outbox, desk=Timing(send=(Every(timedelta(minutes=40)),)))
    numbers = await outbox.run(acts.scheduled)
    digests: dict[tuple[str, str], datetime] = {}
    await outbox.run(lambda c: acts.replan(c, later(minutes=36), numbers=numbers, digests=digests))
    due = ask("SELECT due_at FROM deliveries ORDER BY id")
    assert [from_ms(at) - NOON for (at,) in due] == [
        *[timedelta(minutes=40)] * 3,
        timedelta(hours=5),
    ]
