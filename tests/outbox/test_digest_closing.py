"""Digests: what is due becomes one delivery, in one commit, and is read when it is sent."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from relay.chat import Chat
from relay.intake import new_deliveries
from relay.outbox import Delivery, NewDelivery, NewHook, Outbox
from relay.outbox.database_session import CommandSessions
from relay.outbox.delivery_types import from_ms
from relay.outbox.digests import Digests
from relay.outbox.erase_on_request import erase_chats
from relay.outbox.scheduling import Done
from relay.rules import Match
from relay.smartsupp import read_chat
from relay.timing.digest_contents import Digest, Mute
from relay.timing.plan import Plan, Timing
from tests.builders import NOON, a_hook, later
from tests.outbox.conftest import Ask, Place
from tests.outbox.hooks import a_new_hook
from tests.outbox.test_scheduling import hours, planned

HOUR = timedelta(hours=1)
DUE = Plan(state="scheduled", due=NOON + HOUR, why="send", in_digest=True)
STATES = "SELECT state, count(*) FROM deliveries GROUP BY state ORDER BY state"


def a_digest(chat: Chat, destination: str, recipient: str) -> NewDelivery:
    match = Match(rule="digest", template="", destination=destination, recipients=(recipient,))
    return new_deliveries(chat, [match], "example.org")[0]


def digests(outbox: Outbox, *names: str) -> Digests:
    outbox.operations.waits.timings = dict.fromkeys(names or ("desk", "room"), Timing())
    return Digests(outbox.operations, a_digest, is_shared=outbox.is_shared)


async def close(outbox: Outbox, now: datetime) -> Done:
    acts = digests(outbox)
    return await outbox.run(lambda cursor: acts.close(cursor, now))


async def wait_for_digest(outbox: Outbox, *chats: int, plan: Plan = DUE, rule: str = "a") -> None:
    for chat in chats:
        await outbox.accept(planned(a_new_hook(chat, rule=rule, at=later(seconds=chat)), plan))


async def claimed(outbox: Outbox, now: datetime) -> list[Delivery]:
    claim = await outbox.claim("desk", now=now, lease=HOUR, limit=9)
    return list(claim.deliveries)


async def read(outbox: Outbox, delivery: Delivery, *order: str) -> Digest | None:
    acts = digests(outbox)
    return await outbox.run(partial(acts.read, body=delivery.body, order=order))


async def test_what_is_due_becomes_one_delivery_and_its_chats_are_settled(
    outbox: Outbox, ask: Ask
) -> None:
    await wait_for_digest(outbox, 1, 2, 3)
    assert await close(outbox, later(minutes=59)) == Done()
    assert await close(outbox, later(hours=1)) == Done(("desk",))
    assert await close(outbox, later(hours=1)) == Done()
    assert ask(STATES) == [("in digest", 3), ("queued", 1)]
    assert ask("SELECT destination, recipient, counts FROM digests") == [
        ("desk", "desk@example.com", '{"send":3}')
    ]
    (delivery,) = await claimed(outbox, later(hours=1))
    assert (delivery.is_digest, delivery.is_alert) == (True, False)
    assert ask("SELECT delivery_id FROM digests") == [(delivery.id,)]
    assert b"Marta" not in delivery.body
    made = await read(outbox, delivery)
    assert made
    assert (made.count, made.due_since, made.erased) == (3, None, 0)


async def test_a_digest_of_one_is_that_chats_own_notification(outbox: Outbox, ask: Ask) -> None:
    await wait_for_digest(outbox, 1)
    assert await close(outbox, later(hours=1)) == Done(("desk",))
    assert ask("SELECT count(*) FROM digests") == [(0,)]
    (delivery,) = await claimed(outbox, later(hours=1))
    assert (delivery.chat, delivery.template, delivery.is_digest) == ("1", "missed", False)
    assert delivery.queued_at == later(hours=1)


async def test_one_chat_that_two_rules_ask_for_is_a_digest_with_one_line(outbox: Outbox) -> None:
    hook = a_new_hook(1)
    both = tuple(replace(hook.deliveries[0], rule=rule, plan=DUE) for rule in ("b", "a"))
    await outbox.accept(replace(hook, deliveries=both))
    rated = a_new_hook(1, rating=1, at=later(minutes=30))
    await outbox.accept(replace(rated, deliveries=()))
    await close(outbox, later(hours=1))
    (delivery,) = await claimed(outbox, later(hours=1))
    made = await read(outbox, delivery, "a", "b")
    assert made
    (group,) = made.groups
    (member,) = group.members
    assert (made.count, member.rules, member.updated) == (1, ("a", "b"), later(minutes=30))
    assert read_chat(zlib.decompress(member.body)).rating == 1


async def test_what_falls_due_within_the_same_second_is_not_split(outbox: Outbox, ask: Ask) -> None:
    for chat, more in ((1, 0), (2, 0.9), (3, 1.1)):
        plan = replace(DUE, due=later(hours=1, seconds=more))
        await wait_for_digest(outbox, chat, plan=plan)
    assert await close(outbox, later(hours=1)) == Done(("desk",))
    assert ask(STATES) == [("in digest", 2), ("queued", 1), ("scheduled", 1)]


async def test_each_destination_and_recipient_has_a_digest_of_its_own(
    outbox: Outbox, ask: Ask
) -> None:
    for chat in (1, 2):
        await outbox.accept(planned(a_new_hook(chat, destinations=("desk", "room")), DUE))
    assert await close(outbox, later(hours=1)) == Done(("desk",), more=True)
    assert await close(outbox, later(hours=1)) == Done(("room",))
    assert ask("SELECT destination FROM digests ORDER BY id") == [("desk",), ("room",)]


async def test_what_waits_for_a_destination_that_is_gone_stays(outbox: Outbox, ask: Ask) -> None:
    await outbox.accept(planned(a_new_hook(1, destinations=("gone",)), DUE))
    await outbox.accept(planned(a_new_hook(2, destinations=("gone",)), DUE))
    assert await close(outbox, later(hours=2)) == Done()
    assert ask(STATES) == [("scheduled", 2)]


async def test_a_digest_that_fell_due_while_the_relay_slept_waits_for_the_hours(
    outbox: Outbox, place: Place
) -> None:
    """With all that was to be in it, and with what was erased of it."""
    await wait_for_digest(outbox, 1, 2, 3)
    office = hours((12 * 60, 14 * 60))
    acts = digests(outbox)
    outbox.operations.waits.timings = {"desk": Timing(hours=office)}
    named = [(account(place.ask), "2")]
    await asyncio.to_thread(list, erase_chats(CommandSessions(place.database), named))
    assert await outbox.run(lambda cursor: acts.close(cursor, later(hours=3))) == Done()
    monday = later(hours=24)
    assert {from_ms(due) for (due,) in place.ask("SELECT due_at FROM deliveries")} == {monday}
    assert await outbox.run(lambda cursor: acts.close(cursor, monday)) == Done(("desk",))
    (delivery,) = await claimed(outbox, monday)
    made = await read(outbox, delivery)
    assert made
    assert (made.count, made.erased, made.due_since) == (2, 1, None)


async def test_a_digest_that_could_not_be_closed_in_time_says_since_when_it_was_due(
    outbox: Outbox,
) -> None:
    await wait_for_digest(outbox, 1)
    await wait_for_digest(outbox, 2, plan=replace(DUE, due=later(hours=25)))
    await close(outbox, later(hours=97))
    (delivery,) = await claimed(outbox, later(hours=97))
    made = await read(outbox, delivery)
    assert made
    assert (made.count, made.due_since, made.closed_at) == (2, later(hours=1), later(hours=97))


async def test_a_mute_says_who_wanted_it_and_why(outbox: Outbox, place: Place) -> None:
    await outbox.run(
        lambda cursor: cursor.execute(
            'INSERT INTO mutes (id, origin, key, what, from_at, until_at, because, by, via, "then", urgent_too,'
            " alerts_too, created_at, ended_by, matched) VALUES (3, 'file', '', '{}', 0, 3600000, 'Move', 'Anna', '',"
            " 'digest', false, false, 0, '', 0)"
        )
    )
    await wait_for_digest(outbox, 1, 2, plan=replace(DUE, why="muted:3"))
    await close(outbox, later(hours=1))
    (delivery,) = await claimed(outbox, later(hours=1))
    made = await read(outbox, delivery)
    assert made
    until = datetime.fromisoformat("1970-01-01T01:00:00+00:00")
    assert made.mutes == {"muted:3": Mute(by="Anna", because="Move", until=until)}


# -- erased chats ------------------------------------------------------------------------------------------


def account(ask: Ask) -> str:
    return str(ask("SELECT account FROM chats WHERE account <> '' LIMIT 1")[0][0])


@pytest.mark.parametrize("closed", [False, True])
async def test_a_chat_that_was_erased_is_counted_and_not_told(
    outbox: Outbox, place: Place, *, closed: bool
) -> None:
    await wait_for_digest(outbox, 1, 2, 3)
    if closed:
        await close(outbox, later(hours=1))
    await asyncio.to_thread(
        list, erase_chats(CommandSessions(place.database), [(account(place.ask), "2")])
    )
    await close(outbox, later(hours=1))
    (delivery,) = await claimed(outbox, later(hours=1))
    made = await read(outbox, delivery)
    assert made
    assert (made.count, made.erased) == (2, 1)
    assert {one.chat for group in made.groups for one in group.members} == {"1", "3"}
    assert place.ask("SELECT count(*) FROM limits") == [(0,)]


@pytest.mark.parametrize("closed", [False, True])
async def test_where_all_were_erased_nothing_is_sent(
    outbox: Outbox, place: Place, *, closed: bool
) -> None:
    await wait_for_digest(outbox, 1, 2)
    if closed:
        await close(outbox, later(hours=1))
    names = [(account(place.ask), number) for number in ("1", "2")]
    await asyncio.to_thread(list, erase_chats(CommandSessions(place.database), names))
    assert await close(outbox, later(hours=1)) == Done()
    assert await claimed(outbox, later(hours=1)) == []
    await wait_for_digest(outbox, 4, 5, plan=replace(DUE, due=later(hours=2)))
    await close(outbox, later(hours=2))
    (delivery,) = await claimed(outbox, later(hours=2))
    made = await read(outbox, delivery)
    assert made
    assert (made.count, made.erased) == (2, 0), "those were of the digest before"


# -- several relays ----------------------------------------------------------------------------------------


@pytest.fixture
async def three(place: Place) -> AsyncIterator[list[Outbox]]:
    async with AsyncExitStack() as undo:
        opened = []
        for _ in range(3):
            one = await Outbox.open(place.database, now=NOON)
            undo.push_async_callback(one.close)
            opened.append(one)
        yield opened


@pytest.mark.long
@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_of_three_relays_that_close_at_once_one_makes_the_digest(
    three: list[Outbox], ask: Ask
) -> None:
    """By FOR UPDATE SKIP LOCKED on the members each of them would take some."""

    async def closing(outbox: Outbox, now: datetime) -> None:
        acts = digests(outbox)
        while (await outbox.run(lambda cursor: acts.close(cursor, now))).more:
            pass

    for slot in range(1, 6):
        due = later(hours=slot)
        hooks: list[NewHook] = [
            planned(a_new_hook(chat, of=a_hook(chat)), replace(DUE, due=due))
            for chat in range(slot * 100, slot * 100 + 60)
        ]
        await asyncio.gather(*(three[n % 3].accept(hook) for n, hook in enumerate(hooks)))
        await asyncio.gather(*(closing(outbox, due) for outbox in three))
        assert ask("SELECT count(*) FROM digests") == [(slot,)]
        assert ask(STATES) == [("in digest", 60 * slot), ("queued", slot)]
