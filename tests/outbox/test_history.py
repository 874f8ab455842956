"""History and upkeep over both stores: what commands read, queue again and forget."""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from relay.outbox import Outbox, StorageRefused
from relay.outbox.chat_list import Named, chat_page
from relay.outbox.database_session import CommandSessions
from relay.outbox.delivery_types import Gate, NewHook, State
from relay.outbox.history import Wanted, attempts_at, find, held, hooks_set_aside, stored_hooks
from relay.outbox.past_chats import WantedChats, past_chats
from relay.outbox.requeue import queue_again, queue_missing, store_set_aside
from relay.outbox.retention import Retention
from relay.outbox.schema import hook_bodies
from relay.services.find_chats import plain
from relay.transports import Ending
from tests.builders import NOON, a_chat, a_hook, later
from tests.outbox.conftest import Place
from tests.outbox.hooks import DELIVERED, LEASE, a_new_hook, claim_one, ended
from tests.servers import DEADLINE

REFUSED = ended(Ending.REFUSED, State.FAILED)
UNLUCKY = ended(Ending.MAYBE_DELIVERED, State.QUEUED, counts=True, short=True)


async def no_matter() -> None:
    """Nobody has to be woken."""


@contextlib.asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Outbox]:
    outbox = await Outbox.open(place.database, now=NOON)
    try:
        yield outbox
    finally:
        await outbox.close()


async def send(outbox: Outbox, *destinations: str, settlement: object = DELIVERED) -> None:
    for destination in destinations:
        claim = await outbox.claim(destination, now=NOON, lease=LEASE, limit=10)
        for delivery in claim.deliveries:
            await outbox.settle(delivery, settlement)  # type: ignore[arg-type]


async def two_chats(place: Place) -> None:
    """Chat 1 to desk (failed) and room (delivered), chat 2 to desk (queued)."""
    async with opened(place) as outbox:
        await outbox.accept(a_new_hook(1, destinations=("desk", "room")))
        await send(outbox, "desk", settlement=REFUSED)
        await send(outbox, "room")
        await outbox.accept(a_new_hook(2))
        await outbox.close_gate("desk", Gate(later(minutes=5), NOON, "revoked"))
        await outbox.keep_aside(b"no chat", "not JSON", NOON)


async def test_history_is_found_newest_first_and_by_every_filter(place: Place) -> None:
    await two_chats(place)
    with CommandSessions(place.database).reading() as session:

        def ids(limit: int = 10, **wanted: object) -> list[int]:
            return [each.id for each in find(session, Wanted(**wanted), limit=limit)]  # type: ignore[arg-type]

        assert ids() == [3, 2, 1]
        assert ids(limit=2) == [3, 2]
        assert ids(states=[State.FAILED, State.QUEUED]) == [3, 1]
        assert ids(destination="desk") == [3, 1]
        assert ids(rule="Missed chats", chats=[("208", "1")]) == [2, 1]
        assert ids(ids=[1, 3, 99]) == [3, 1]
        assert ids(since=NOON) == [3, 2, 1]
        assert ids(since=later(seconds=1)) == []
        (first,) = find(session, Wanted(ids=[1]), limit=1)
        assert (first.state, first.visitor, first.generation) == (State.FAILED, "Marta Nowak", 1)
        assert (first.created_at, first.settled_at, first.detail) == (NOON, NOON, "said so")
        (attempt,) = attempts_at(session, 1)
        assert (attempt.number, attempt.started_at, attempt.ending) == (1, NOON, "refused")
        assert attempts_at(session, 3) == []
        assert [each.body for each in hooks_set_aside(session, limit=5)] == [b"no chat"]
        assert [each.body for each in stored_hooks(session, names=[("208", "2")])] == [a_hook(2)]
        assert [each.id for each in stored_hooks(session, ids=[2, 1])] == [1, 2]


async def test_a_failed_one_is_queued_anew_with_all_its_tries(place: Place) -> None:
    await two_chats(place)
    with CommandSessions(place.database).writing() as session:
        (record,) = find(session, Wanted(ids=[1]), limit=1)
        assert queue_again(session, record, "again@example.org", later(days=5))
        # It is no longer as it was.
        assert not queue_again(session, record, "third@example.org", later(days=5))
    async with opened(place) as outbox:
        claim = await outbox.claim("desk", now=later(days=5), lease=LEASE, limit=10)
        again = next(each for each in claim.deliveries if each.id == 1)
        assert (again.message_id, again.attempt, again.failures) == ("again@example.org", 2, 0)
        assert again.created_at == later(days=5)
        assert await outbox.settle(again, DELIVERED) == []
    assert place.ask(
        "SELECT state, generation, settled_at IS NULL FROM deliveries WHERE id = 1"
    ) == [("delivered", 2, False)]


async def test_a_resent_one_begins_its_schedule_anew_and_is_a_message_of_its_own(
    place: Place,
) -> None:
    async with opened(place) as outbox:
        await outbox.accept(a_new_hook(1))
        await send(outbox, "desk", settlement=replace(UNLUCKY, due_at=NOON))
        await send(outbox, "desk", settlement=replace(REFUSED, receipt="posted as 1.2"))
    with CommandSessions(place.database).writing() as session:
        (record,) = find(session, Wanted(ids=[1]), limit=1)
        assert queue_again(session, record, "again@example.org", NOON)
    async with opened(place) as outbox:
        again = await claim_one(outbox)
    assert (again.attempt, again.failures, again.unsure) == (3, 0, 0)
    assert (again.short, again.receipt) == (False, "")


async def test_one_that_somebody_else_sent_again_meanwhile_is_left_alone(place: Place) -> None:
    await two_chats(place)
    with CommandSessions(place.database).reading() as session:
        (seen,) = find(session, Wanted(ids=[1]), limit=1)
    with CommandSessions(place.database).writing() as session:
        assert queue_again(session, seen, "somebody@example.org", NOON)
    async with opened(place) as outbox:
        await send(outbox, "desk", settlement=REFUSED)
    with CommandSessions(place.database).writing() as session:
        assert not queue_again(session, seen, "again@example.org", NOON)


async def test_a_destination_that_waits_is_listed_with_what_is_queued_for_it(place: Place) -> None:
    await two_chats(place)
    async with opened(place) as outbox:
        await outbox.accept(a_new_hook(3, destinations=("room",)))
    with CommandSessions(place.database).reading() as session:
        (desk,) = held(session)
    assert (desk.destination, desk.queued) == ("desk", 1)
    assert desk.gate == Gate(later(minutes=5), NOON, "revoked")


async def test_what_fails_in_the_middle_leaves_all_as_it_was(place: Place) -> None:
    await two_chats(place)
    with contextlib.suppress(RuntimeError), CommandSessions(place.database).writing() as session:
        (record,) = find(session, Wanted(ids=[1]), limit=1)
        assert queue_again(session, record, "again@example.org", NOON)
        raise RuntimeError
    assert place.ask("SELECT state FROM deliveries WHERE id = 1") == [("failed",)]


async def test_a_record_is_read_as_it_was_kept_short_long_or_packed_by_an_earlier_version(
    place: Place,
) -> None:
    said = [b"", b'{"rules":[]}', b'{"rules":[%s]}' % b",".join([b'{"rule":"a"}'] * 200)]
    async with opened(place) as outbox:
        for number, record in enumerate(said, start=1):
            await outbox.accept(replace(a_new_hook(number), verdicts=record))
    with CommandSessions(place.database).reading() as session:
        assert [one.verdicts for one in stored_hooks(session, ids=[1, 2, 3])] == said
    with CommandSessions(place.database).writing() as session:
        earlier = sa.update(hook_bodies).where(hook_bodies.c.hook_id == 2)
        session.ask(earlier.values(verdicts=zlib.compress(said[1], 1)))
    with CommandSessions(place.database).reading() as session:
        assert [one.verdicts for one in stored_hooks(session, ids=[2])] == [said[1]]


async def test_a_replay_queues_what_was_not_queued_before(place: Place) -> None:
    await two_chats(place)
    again = replace(
        a_new_hook(1, destinations=("desk", "sales")),
        received_at=later(days=1),
        rules_hash="new",
        verdicts=b"said anew",
    )
    with CommandSessions(place.database).writing() as session:
        assert [each.destination for each in queue_missing(session, 1, again)] == ["sales"]
        assert queue_missing(session, 1, again) == []
        (stored,) = stored_hooks(session, ids=[1])
    assert stored.verdicts == b"said anew"
    assert place.ask("SELECT rules_hash FROM hooks ORDER BY id") == [("new",), ("abc",)]


async def test_a_hook_set_aside_is_taken_in_with_what_it_queues(place: Place) -> None:
    await two_chats(place)
    hook = NewHook(
        body=b"no chat",
        chat=a_chat(1),  # as a later relay may read it: of a chat that is known
        received_at=later(days=1),
        rules_hash="new",
        deliveries=a_new_hook(1, destinations=("desk", "sales")).deliveries,
    )
    with CommandSessions(place.database).writing() as session:
        (aside,) = hooks_set_aside(session, ids=[1], limit=1)
        assert [each.destination for each in store_set_aside(session, aside, hook)] == ["sales"]
        assert hooks_set_aside(session, limit=1) == []
    assert place.ask("SELECT count(*) FROM hooks") == [(3,)]


async def forgotten(outbox: Outbox, keep_for: timedelta, now: datetime) -> int:
    """How many chats the first round of upkeep erases."""
    erased: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def tell(chats: int) -> None:
        if not erased.done():
            erased.set_result(chats)

    upkeep = Retention(
        outbox,
        keep_for=keep_for,
        clock=lambda: now,
        look_again=no_matter,
        erased=tell,
    )
    upkeep.start()
    try:
        return await asyncio.wait_for(erased, DEADLINE)
    finally:
        await upkeep.stop()


async def test_old_chats_are_forgotten_with_all_that_is_theirs(place: Place) -> None:
    await two_chats(place)
    async with opened(place) as outbox:
        assert await forgotten(outbox, timedelta(days=5), later(days=5)) == 0
        assert await forgotten(outbox, timedelta(days=5), later(days=6)) == 1
        await send(outbox, "desk", settlement=REFUSED)
        assert await forgotten(outbox, timedelta(days=5), later(days=6)) == 1
    for table in ("chats", "hooks", "hook_bodies", "deliveries", "attempts", "set_aside"):
        assert place.ask(f"SELECT count(*) FROM {table}") == [(0,)], table  # noqa: S608 - our own


async def test_a_database_without_the_tables_is_refused(place: Place) -> None:
    try:
        with CommandSessions(place.database).reading():
            raise AssertionError
    except StorageRefused as refused:
        assert "there is no " in str(refused) or "(schema unknown; " in str(refused)


NAMES = [
    "Žofie Malá",
    "Zofie  Mala-Nová",
    "ŽOFIE",
    "José Straße",
    "Jose\u0301 Nowak",
    "ﬁona x",
    "",
    "Малый",
]
ASKED = [
    "zofie mala",
    "ZOFIE",
    "jose",
    "José N",
    "strasse",
    "fio",
    "o m",
    "e",
    "малыи",
    "208/7",
    "9",
    "208/99",
]


@pytest.mark.parametrize("look_at", [1, 7, 1000])
async def test_a_name_is_found_in_whichever_block_it_stands(place: Place, look_at: int) -> None:
    people = [NAMES[number % len(NAMES)] for number in range(24)]
    async with opened(place) as outbox:
        for number, name in enumerate(people, 1):
            await outbox.accept(a_new_hook(of=a_hook(number, visitor={"name": name})))
    with CommandSessions(place.database).reading() as session:
        shown = [each.about for each in past_chats(session, WantedChats())]
        for asked in ASKED:
            named, found = Named(asked, plain), list[int]()
            before: int | None = 1000
            while before:
                page = chat_page(
                    session, WantedChats(), named, before=before, limit=2, look_at=look_at
                )
                found += [each.about.id for each in page.chats]
                before = page.before
            wanted = [row.id for row in shown if named.matches(*row.name, row.visitor)]
            assert found == wanted, asked
