"""The store that relays share: what is peculiar to a server, and to having neighbours."""

import asyncio
import contextlib
import itertools
import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from relay.clock import Clock, utc_now
from relay.destination import Rate
from relay.outbox import Claim, Gate, Outbox, Places, StorageRefused, StorageUnavailable
from relay.outbox.delivery_types import to_ms
from relay.outbox.other_relays import Rhythm
from relay.outbox.postgres.postgres_opening import open_postgres
from relay.outbox.postgres.postgres_store import PATIENCE, PostgresStore
from relay.outbox.process_identity import Process
from relay.outbox.schema import SCHEMA_VERSION, metadata
from relay.outbox.table_access import REFUSED_FOR, Refusals
from tests.builders import NOON, later
from tests.outbox.hooks import DELIVERED, LEASE, TRY_LATER, a_new_hook, claim_one
from tests.pgbouncer import pgbouncer
from tests.postgres import PostgresCluster, postgres_cluster, server
from tests.running import DEADLINE, MovableClock
from tests.tcp import Proxy

pytestmark = pytest.mark.long

TABLES = len(metadata.tables)
SELDOM = Rhythm(beat=3600)
"""What is noticed in this rhythm was told."""
QUICK = Rhythm(lease=timedelta(seconds=5), beat=0.1)
"""With time enough for a busy computer to renew a lease."""
QUICK_MS = QUICK.lease // timedelta(milliseconds=1)


@pytest.fixture
def name(cluster: PostgresCluster) -> str:
    return cluster.new_database()


@pytest.fixture
def ended_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


@pytest.fixture(scope="module")
def fragile() -> Iterator[PostgresCluster]:
    """A server that tests may stop."""
    with postgres_cluster() as running:
        yield running


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Outbox]:
    outbox = await Outbox.open(server(url), now=utc_now())
    try:
        yield outbox
    finally:
        await outbox.close()


@dataclass(slots=True)
class Seen:
    """What a relay came to know of its neighbours."""

    queued: list[str] = field(default_factory=list)
    gates: dict[str, Gate | None] = field(default_factory=dict)
    looks: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self, destinations: Any) -> None:
        self.queued.extend(destinations)
        self.looks += 1
        self.changed.set()

    def see_gates(self, gates: Mapping[str, Gate | None]) -> None:
        self.gates.update(gates)
        self.changed.set()

    async def until(self, condition: Any) -> None:
        while not condition():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), DEADLINE)


@contextlib.asynccontextmanager
async def attending(
    outbox: Outbox, rhythm: Rhythm, *, clock: Clock = utc_now
) -> AsyncIterator[Seen]:
    """Ends like a relay that is killed: what it holds stays as it is."""
    seen = Seen()
    living = asyncio.create_task(
        outbox.share_database(clock=clock, wake=seen.wake, see_gates=seen.see_gates, rhythm=rhythm)
    )
    # One look at the start, one when it has begun to listen: from then on nothing is missed.
    await seen.until(lambda: seen.looks >= 2)
    try:
        yield seen
    finally:
        living.cancel()
        await asyncio.wait([living])


# -- neighbours -----------------------------------------------------------------------------------------


async def test_four_relays_claim_each_delivery_once(cluster: PostgresCluster, name: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(opened(cluster.url(name))) for _ in range(4)]
        await asyncio.gather(*(relays[n % 4].accept(a_new_hook(n)) for n in range(200)))
        claimed: list[int] = []

        async def empty(relay: Outbox) -> None:
            while got := (await relay.claim("desk", now=NOON, lease=LEASE, limit=7)).deliveries:
                claimed.extend(delivery.id for delivery in got)

        await asyncio.gather(*map(empty, relays))
    assert len(claimed) == len(set(claimed)) == 200


async def test_a_hook_posted_to_all_relays_at_once_is_one_chat(
    cluster: PostgresCluster, name: str
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(opened(cluster.url(name))) for _ in range(4)]
        accepted = await asyncio.gather(
            *(relays[n % 4].accept(a_new_hook(n // 20)) for n in range(100))
        )
    assert sum(one.new for one in accepted) == 5
    assert cluster.rows(name, "SELECT count(*) FROM deliveries") == [(5,)]


async def test_what_is_queued_is_told_to_the_others_at_once(
    cluster: PostgresCluster, name: str
) -> None:
    async with (
        opened(cluster.url(name)) as one,
        opened(cluster.url(name)) as other,
        attending(one, SELDOM) as of_one,
        attending(other, SELDOM) as of_other,
    ):
        await one.accept(a_new_hook(destinations=("desk", "room")))
        await of_other.until(lambda: sorted(of_other.queued) == ["desk", "room"])
        assert of_one.queued == []  # it knows what it took


async def test_more_destinations_than_a_note_holds_are_told_all_the_same(
    cluster: PostgresCluster, name: str
) -> None:
    many = tuple(f"destination-{number:04d}" for number in range(500))
    async with (
        opened(cluster.url(name)) as one,
        opened(cluster.url(name)) as other,
        attending(one, SELDOM),
        attending(other, SELDOM) as of_other,
    ):
        await one.accept(a_new_hook(destinations=many, at=utc_now()))
        await of_other.until(lambda: set(of_other.queued) == set(many))


async def test_a_lease_is_not_renewed_for_longer_than_an_attempt_may_take(
    cluster: PostgresCluster, name: str
) -> None:
    url = cluster.url(name)
    async with opened(url) as one, opened(url) as two, attending(one, QUICK), attending(two, QUICK):
        await one.accept(a_new_hook(at=utc_now()))
        stuck = await one.claim("desk", now=utc_now(), lease=timedelta(seconds=0.5), limit=1)
        assert stuck.deliveries
        while not (await two.claim("desk", now=utc_now(), lease=LEASE, limit=1)).deliveries:
            pass


async def test_a_gate_is_seen_by_the_others_when_it_closes_and_when_it_opens(
    cluster: PostgresCluster, name: str
) -> None:
    gate = Gate(later(minutes=5), NOON, "410 gone")
    async with (
        opened(cluster.url(name)) as one,
        opened(cluster.url(name)) as other,
        attending(one, SELDOM),
        attending(other, SELDOM) as of_other,
    ):
        await one.close_gate("room", gate)
        await of_other.until(lambda: of_other.gates == {"room": gate})
        await one.open_gate("room")
        await of_other.until(lambda: of_other.gates == {"room": None})


async def test_a_lease_is_renewed_as_long_as_its_relay_lives_and_then_taken_up(
    cluster: PostgresCluster, name: str
) -> None:
    async with opened(cluster.url(name)) as one, opened(cluster.url(name)) as other:
        async with attending(other, QUICK) as of_other:
            async with attending(one, QUICK):
                await one.accept(a_new_hook(at=utc_now()))
                claim = await one.claim("desk", now=utc_now(), lease=LEASE, limit=1)
                (delivery,) = claim.deliveries
                assert one.holds(delivery)
                first = lease_of(cluster, name)
                # Longer than a lease, as its end tells: and still nobody took it.
                await of_other.until(
                    lambda: (lease_of(cluster, name) or 0) > (first or 0) + QUICK_MS
                )
            await of_other.until(lambda: lease_of(cluster, name) is None)
        assert cluster.rows(name, "SELECT state, suspect FROM deliveries") == [("queued", True)]
        assert not one.holds(delivery)  # it must not begin to send it now
        # Its news that the message arrived counts all the same.
        await one.settle(delivery, DELIVERED)
        assert cluster.rows(name, "SELECT state FROM deliveries") == [("delivered",)]


def lease_of(cluster: PostgresCluster, name: str) -> int | None:
    return cluster.rows(name, "SELECT lease_until FROM deliveries")[0][0]  # type: ignore[no-any-return]


async def test_what_was_claimed_before_the_first_look_is_not_taken_for_a_dead_relays(
    cluster: PostgresCluster, name: str
) -> None:
    """A clock that is slow would give leases that have ended already; how slow it is, the first look tells."""
    slow = MovableClock(minutes=-5)
    async with opened(cluster.url(name)) as one, opened(cluster.url(name)) as other:
        await one.accept(a_new_hook(at=slow()))
        seen = Seen()
        living = asyncio.create_task(
            one.share_database(clock=slow, wake=seen.wake, see_gates=seen.see_gates, rhythm=SELDOM)
        )
        await asyncio.sleep(0)  # it has begun, and has seen nothing yet
        claim = await one.claim("desk", now=slow(), lease=LEASE, limit=1)
        assert len(claim.deliveries) == 1
        async with attending(other, QUICK):
            assert cluster.rows(name, "SELECT state FROM deliveries") == [("sending",)]
        living.cancel()
        await asyncio.wait([living])


TWO_AN_HOUR = (Rate(2, timedelta(hours=1)),)


async def test_what_a_relay_whose_clock_is_ahead_queued_and_left_is_due_for_one_whose_clock_is_behind(
    cluster: PostgresCluster, name: str
) -> None:
    """Ten minutes each; else the visitor's message would be told of twenty minutes late."""
    ahead, behind = MovableClock(minutes=10), MovableClock(minutes=-10)
    async with opened(cluster.url(name)) as one, attending(one, SELDOM, clock=ahead):
        await one.accept(a_new_hook(1, at=ahead()))
    async with (
        opened(cluster.url(name)) as other,
        attending(other, SELDOM, clock=behind) as seen,
    ):
        assert "desk" in seen.queued
        claim = await other.claim("desk", now=behind(), lease=LEASE, limit=1)
        assert len(claim.deliveries) == 1


async def test_a_ceiling_is_kept_together_by_relays_whose_clocks_differ(
    cluster: PostgresCluster, name: str
) -> None:
    ahead, behind = MovableClock(minutes=10), MovableClock(minutes=-10)
    async with (
        opened(cluster.url(name)) as one,
        opened(cluster.url(name)) as other,
        attending(one, SELDOM, clock=ahead),
        attending(other, SELDOM, clock=behind),
    ):
        for relay in (one, other):
            relay.operations.most_per_hour["desk"] = 4
        for chat in range(9):
            await one.accept(a_new_hook(chat, at=behind()))
        at_once = await other.accept(a_new_hook(9, at=behind()), Places({"desk": 1}, LEASE, {}))
        begun = len(at_once.claimed)
        for relay, clock in ((one, ahead), (other, behind)) * 3:
            claim = await relay.claim("desk", now=clock(), lease=LEASE, limit=1)
            begun += len(claim.deliveries)
        assert begun == 4
        assert claim.full_until is not None
        assert timedelta(minutes=39) < claim.full_until - ahead() <= timedelta(minutes=81)


async def test_a_pace_is_kept_by_all_relays_together(cluster: PostgresCluster, name: str) -> None:
    start = utc_now()
    async with contextlib.AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(opened(cluster.url(name))) for _ in range(3)]
        for relay in relays:
            await stack.enter_async_context(attending(relay, SELDOM))
        for chat in range(9):
            await relays[0].accept(a_new_hook(chat, at=start))

        async def claim(relay: Outbox, **later: float) -> Claim:
            at = utc_now() + timedelta(**later)
            return await relay.claim("desk", now=at, lease=LEASE, limit=1, rates=TWO_AN_HOUR)

        async def claimed(**later: float) -> int:
            claims = [await claim(relay, **later) for relay in relays]
            return sum(len(one.deliveries) for one in claims)

        assert await claimed() == 2
        assert await claimed(minutes=50) == 0
        told = (await claim(relays[2])).not_before
        assert told is not None
        assert timedelta(minutes=59) < told - start < timedelta(minutes=61)
        assert await claimed(minutes=61) == 2
        # Another destination has a pace of its own, and one that is not paced needs none.
        assert (
            len((await relays[0].claim("desk", now=utc_now(), lease=LEASE, limit=9)).deliveries)
            == 5
        )


def one_place(**rates: tuple[Rate, ...]) -> Places:
    return Places({"desk": 1}, LEASE, rates)


async def test_what_is_claimed_as_it_is_queued_is_held_as_any_other(
    cluster: PostgresCluster, name: str
) -> None:
    """For a short lease that is renewed; and no other relay is told that it waits."""
    async with (
        opened(cluster.url(name)) as one,
        opened(cluster.url(name)) as other,
        attending(one, QUICK),
        attending(other, QUICK) as of_other,
    ):
        (delivery,) = (await one.accept(a_new_hook(1, at=utc_now()), one_place())).claimed
        first = lease_of(cluster, name)
        assert first is not None
        assert first < to_ms(utc_now() + 2 * QUICK.lease)
        await of_other.until(lambda: (lease_of(cluster, name) or 0) > first + QUICK_MS)
        assert one.holds(delivery)
        assert of_other.queued == []
        await one.settle(delivery, DELIVERED)


async def test_nothing_goes_before_what_another_relay_queued_and_that_is_due(
    cluster: PostgresCluster, name: str
) -> None:
    async with (
        opened(cluster.url(name)) as one,
        opened(cluster.url(name)) as other,
        attending(one, SELDOM),
        attending(other, SELDOM),
    ):
        await other.accept(a_new_hook(1, at=utc_now()))
        await other.accept(a_new_hook(2, at=utc_now(), destinations=("room",)))
        accepted = await one.accept(a_new_hook(3, at=utc_now()), one_place())
        assert (accepted.claimed, list(accepted.waiting)) == ((), ["desk"])
        claim = await one.claim("desk", now=utc_now(), lease=LEASE, limit=9)
        assert [delivery.chat for delivery in claim.deliveries] == ["1", "3"]
        await one.settle(
            claim.deliveries[0], replace(TRY_LATER, due_at=utc_now() + timedelta(hours=1))
        )
        # What waits for its next try is not due: nothing waits behind it.
        assert (await one.accept(a_new_hook(4, at=utc_now()), one_place())).claimed


async def test_what_is_claimed_as_it_is_queued_keeps_the_pace_of_all_relays(
    cluster: PostgresCluster, name: str
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(opened(cluster.url(name))) for _ in range(3)]
        for relay in relays:
            await stack.enter_async_context(attending(relay, SELDOM))
        claimed = [
            (await relay.accept(a_new_hook(n, at=utc_now()), one_place(desk=TWO_AN_HOUR))).claimed
            for n, relay in enumerate(relays)
        ]
        assert [len(each) for each in claimed] == [1, 1, 0]
        claim = await relays[0].claim(
            "desk", now=utc_now(), lease=LEASE, limit=1, rates=TWO_AN_HOUR
        )
        assert (claim.deliveries, claim.not_before is not None) == ((), True)


async def test_a_server_whose_clock_was_set_back_holds_up_no_pace(
    cluster: PostgresCluster, name: str
) -> None:
    """The turns are noted by its clock."""
    async with opened(cluster.url(name)) as one, attending(one, SELDOM):
        for chat in range(4):
            await one.accept(a_new_hook(chat, at=utc_now()))
        for _ in range(2):
            await one.claim("desk", now=utc_now(), lease=LEASE, limit=1, rates=TWO_AN_HOUR)
        with cluster.admin(name) as admin:
            ahead = [to_ms(utc_now() + timedelta(days=1))] * 2
            admin.execute("UPDATE paces SET started = %s", [json.dumps(ahead)])
        claim = await one.claim("desk", now=utc_now(), lease=LEASE, limit=1, rates=TWO_AN_HOUR)
        assert len(claim.deliveries) == 1


async def test_a_turn_that_another_is_taking_is_not_waited_for(
    cluster: PostgresCluster, name: str
) -> None:
    async with opened(cluster.url(name)) as one, attending(one, SELDOM):
        await one.accept(a_new_hook(1, at=utc_now()))
        await one.accept(a_new_hook(2, at=utc_now()))
        await one.claim("desk", now=utc_now(), lease=LEASE, limit=1, rates=TWO_AN_HOUR)
        with cluster.admin(name) as admin, admin.transaction():
            admin.execute("SELECT * FROM paces FOR UPDATE")
            claim = await one.claim("desk", now=utc_now(), lease=LEASE, limit=1, rates=TWO_AN_HOUR)
            assert (claim.deliveries, claim.not_before is not None) == ((), True)
        claim = await one.claim("desk", now=utc_now(), lease=LEASE, limit=1, rates=TWO_AN_HOUR)
        assert len(claim.deliveries) == 1


OWN = Process.own("127.0.0.1:8000")
ELSEWHERE = replace(OWN, boot="another-machine")
OTHER_CONTAINER = replace(OWN, namespace="another-container")


def kill(cluster: PostgresCluster, outbox: Outbox) -> None:
    """Its connection ends, and it says nothing to the server."""
    connection = outbox._store._connection  # type: ignore[attr-defined]
    pid = connection.info.backend_pid
    connection.close()
    cluster.until_gone(f"pid = {pid}")


@contextlib.asynccontextmanager
async def that_sends(url: str, **chats: Process) -> AsyncIterator[dict[str, Outbox]]:
    """Relays, each with one delivery of the chat under way. Their names are their tokens, too."""
    async with contextlib.AsyncExitStack() as stack:
        outboxes = {}
        for name, process in chats.items():
            named = replace(process, token=name)
            outboxes[name] = await Outbox.open(server(url), now=NOON, process=named)
            stack.push_async_callback(outboxes[name].close)
        for number, outbox in enumerate(outboxes.values(), start=1):
            await outbox.accept(a_new_hook(number))
            await claim_one(outbox)
        yield outboxes


def queued_again(cluster: PostgresCluster, name: str) -> list[Any]:
    return cluster.rows(
        name, "SELECT chat FROM deliveries JOIN chats ON chats.id = chat_id WHERE state = 'queued'"
    )


async def start_and_end(url: str, process: Process = OWN) -> None:
    await (await Outbox.open(server(url), now=NOON, process=process)).close()


async def test_a_relay_that_was_killed_takes_up_its_own_work_when_it_starts_again(
    cluster: PostgresCluster, name: str, ended_pid: int
) -> None:
    """And nobody else's, however dead they look: another may only have lost its connection."""
    url = cluster.url(name)
    gone = {"pid": ended_pid}
    async with that_sends(
        url,
        living=OWN,
        elsewhere=replace(ELSEWHERE, **gone),
        unknown=Process(""),
        container=replace(OTHER_CONTAINER, host="another"),
        port=replace(OTHER_CONTAINER, listens="127.0.0.1:8001"),
        killed=replace(OWN, **gone, listens=""),
    ) as outboxes:
        for outbox in outboxes.values():
            kill(cluster, outbox)
        await start_and_end(url)
        assert queued_again(cluster, name) == [("6",)]
        ended = "SELECT ending FROM attempts WHERE ending IS NOT NULL"
        assert cluster.rows(name, ended) == [("lost",)]


async def test_a_container_that_was_killed_takes_up_its_work_when_it_has_no_connection_any_more(
    cluster: PostgresCluster, name: str
) -> None:
    url = cluster.url(name)
    async with that_sends(url, one=OTHER_CONTAINER) as outboxes:
        await start_and_end(url)
        assert queued_again(cluster, name) == []
        cluster.drop_connections(name)
        await outboxes["one"].accept(a_new_hook(2))  # by another, which tells its name as well
        await start_and_end(url)
        assert queued_again(cluster, name) == [("2",)]
        kill(cluster, outboxes["one"])
        await start_and_end(url)
        assert sorted(queued_again(cluster, name)) == [("1",), ("2",)]


async def test_behind_a_pool_nobody_knows_which_container_is_connected(
    cluster: PostgresCluster, name: str, ended_pid: int
) -> None:
    async with Proxy(cluster.port) as pool:
        pool.rewrite(rb"K\x00\x00\x00\x0c[\x00-\xff]{4}", b"K\x00\x00\x00\x0c\x00\x00\x00\x01")
        url = cluster.url(name, port=pool.port)
        async with that_sends(
            url, container=OTHER_CONTAINER, process=replace(OWN, pid=ended_pid)
        ) as outboxes:
            for outbox in outboxes.values():
                kill(cluster, outbox)
            await start_and_end(url)
            assert queued_again(cluster, name) == [("2",)]


async def test_what_a_relay_has_claimed_and_does_not_know_of_is_queued_again_at_its_next_look(
    cluster: PostgresCluster, name: str
) -> None:
    """The server vanished before it answered a commit, and nobody could tell whether it was made."""
    url = cluster.url(name)
    async with opened(url) as one, opened(url) as other:
        await one.accept(a_new_hook(1, at=utc_now()))
        await one.accept(a_new_hook(2, at=utc_now()))
        forgotten = await one.claim("desk", now=utc_now(), lease=LEASE, limit=1)
        known = await one.claim("desk", now=utc_now(), lease=LEASE, limit=1)
        for delivery in forgotten.deliveries:
            one._held.release(delivery)
        async with attending(other, QUICK), attending(one, QUICK) as seen:
            await seen.until(lambda: "desk" in seen.queued)
        assert queued_again(cluster, name) == [("1",)]
        assert cluster.rows(
            name, "SELECT suspect, lost FROM deliveries WHERE state = 'queued'"
        ) == [(False, 0)]
        assert known.deliveries[0].chat == "2"


async def test_a_start_does_not_take_what_a_living_relay_sends(
    cluster: PostgresCluster, name: str
) -> None:
    async with opened(cluster.url(name)) as one:
        await one.accept(a_new_hook())
        await claim_one(one)
        async with opened(cluster.url(name)):
            assert cluster.rows(name, "SELECT state FROM deliveries") == [("sending",)]


# -- a server that goes away ----------------------------------------------------------------------------


async def test_connections_that_are_dropped_are_made_again_unseen(
    cluster: PostgresCluster, name: str
) -> None:
    async with opened(cluster.url(name)) as outbox:
        for chat in range(3):
            assert cluster.drop_connections(name) >= 1
            assert (await outbox.accept(a_new_hook(chat))).new
    assert cluster.rows(name, "SELECT count(*) FROM deliveries") == [(3,)]


async def test_through_a_pool_that_shares_sessions_nothing_is_prepared_in_one(
    cluster: PostgresCluster, name: str
) -> None:
    """As pgbouncer does in transaction mode; it is known by another number of the session than the server's."""

    def prepared(cursor: Any) -> int:
        return int(cursor.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()[0])

    async with Proxy(cluster.port) as pool:
        pool.rewrite(rb"K\x00\x00\x00\x0c[\x00-\xff]{4}", b"K\x00\x00\x00\x0c\x00\x00\x00\x01")
        for port, some in ((cluster.port, True), (pool.port, False)):
            async with opened(cluster.url(name, port=port)) as outbox:
                for chat in range(10):
                    await outbox.accept(a_new_hook(chat, at=utc_now()))
                assert (await outbox.run(prepared) > 0) is some


async def test_a_listener_that_was_dropped_hears_again(cluster: PostgresCluster, name: str) -> None:
    async with (
        opened(cluster.url(name)) as one,
        opened(cluster.url(name)) as other,
        attending(one, SELDOM),
        attending(other, SELDOM) as of_other,
    ):
        looks = of_other.looks
        cluster.drop_connections(name)
        await of_other.until(lambda: of_other.looks > looks)
        await one.accept(a_new_hook())
        await of_other.until(lambda: "desk" in of_other.queued)


async def test_a_server_that_is_away_is_told_and_taken_up_again(fragile: PostgresCluster) -> None:
    name = fragile.new_database()
    async with opened(fragile.url(name)) as outbox:
        await outbox.accept(a_new_hook(1))
        fragile.stop()
        with pytest.raises(StorageUnavailable):
            await outbox.accept(a_new_hook(2))
        with pytest.raises(StorageUnavailable):
            await outbox.summary()
        fragile.start()
        accepted = None
        while accepted is None:
            with contextlib.suppress(StorageUnavailable):
                accepted = await outbox.accept(a_new_hook(2))
                await asyncio.sleep(0)
    assert fragile.rows(name, "SELECT count(*) FROM hooks") == [(2,)]


def a_role_of_two_connections(cluster: PostgresCluster, name: str) -> None:
    with cluster.admin(name) as admin:
        cluster.until_gone("usename = 'few'")
        if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = 'few'").fetchall():
            admin.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 2")
        admin.execute("GRANT ALL ON SCHEMA public TO few")


async def test_a_relay_that_finds_no_free_connection_waits_for_one(
    cluster: PostgresCluster, name: str
) -> None:
    a_role_of_two_connections(cluster, name)
    url = cluster.url(name, user="few")
    async with opened(url) as outbox:
        cluster.drop_connections(name)
        with psycopg.connect(url), psycopg.connect(url):
            accepting = asyncio.ensure_future(outbox.accept(a_new_hook()))
            await asyncio.wait([accepting], timeout=0.3)
            assert not accepting.done()
        assert (await accepting).new


async def test_where_no_notification_is_carried_others_work_is_looked_for(
    cluster: PostgresCluster, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Proxy(cluster.port) as proxy:
        proxy.rewrite(b"LISTEN relay_outbox", b"LISTEX relay_outbox")
        with caplog.at_level(logging.INFO):
            async with (
                opened(cluster.url(name, port=proxy.port)) as one,
                opened(cluster.url(name, port=proxy.port)) as other,
                attending(one, QUICK),
                attending(other, QUICK) as of_other,
            ):
                await one.accept(a_new_hook(at=utc_now()))
                await of_other.until(lambda: "desk" in of_other.queued)
                await one.close_gate("room", Gate(later(minutes=5), NOON, "410 gone"))
                await of_other.until(lambda: "room" in of_other.gates)
    assert "carries no notifications: others' work is looked for instead" in caplog.text


async def test_a_restart_in_between_is_waited_for(fragile: PostgresCluster) -> None:
    name = fragile.new_database()
    async with opened(fragile.url(name)) as outbox:
        for chat in itertools.count():
            fragile.stop()
            stopped = time.monotonic()
            accepting = asyncio.ensure_future(outbox.accept(a_new_hook(chat)))
            await asyncio.to_thread(fragile.start)
            if time.monotonic() - stopped < PATIENCE / 2:
                assert (await accepting).new
                break
            # The computer was so busy that nobody would have waited for it.
            await asyncio.wait([accepting])
            accepting.exception()


async def test_a_server_that_stands_still_is_cut_off(fragile: PostgresCluster) -> None:
    name = fragile.new_database()
    rhythm = Rhythm(beat=0.1, longest_look=0.5)
    async with opened(fragile.url(name)) as outbox, attending(outbox, rhythm):
        fragile.freeze()
        try:
            with pytest.raises(StorageUnavailable):
                await outbox.accept(a_new_hook())
        finally:
            fragile.thaw()


async def test_two_that_wait_for_each_other_both_succeed(
    cluster: PostgresCluster, name: str
) -> None:
    async with opened(cluster.url(name)) as one, opened(cluster.url(name)) as other:
        for chat in (1, 2):
            await one.accept(a_new_hook(chat))
        both_hold = threading.Barrier(2)

        def lock(first: str, second: str) -> Any:
            met = False

            def work(cursor: Any) -> str:
                nonlocal met
                cursor.execute("UPDATE chats SET visitor = visitor WHERE chat = %s", [first])
                if not met:
                    met = True
                    both_hold.wait(DEADLINE)
                cursor.execute("UPDATE chats SET visitor = visitor WHERE chat = %s", [second])
                return first

            return work

        done = await asyncio.gather(one.run(lock("1", "2")), other.run(lock("2", "1")))
    assert list(done) == ["1", "2"]


async def test_somebodys_long_lock_ends_in_unavailable_and_not_in_a_queue(
    cluster: PostgresCluster, name: str
) -> None:
    async with opened(cluster.url(name)) as outbox:
        with cluster.admin(name) as admin, admin.transaction():
            admin.execute("LOCK TABLE hooks")
            waiting = [outbox.accept(a_new_hook(chat)) for chat in range(50)]
            results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} == {StorageUnavailable}
        assert (await outbox.accept(a_new_hook())).new


# -- a server as it is found ----------------------------------------------------------------------------


def test_relays_that_start_at_once_make_the_tables_once(
    cluster: PostgresCluster, name: str
) -> None:
    opening = (
        "import asyncio, datetime; from relay.outbox import Outbox; from tests.postgres import server;"
        f"asyncio.run(Outbox.open(server({cluster.url(name)!r}), now=datetime.datetime.now(datetime.UTC)))"
    )
    starting = [
        subprocess.Popen([sys.executable, "-c", opening], stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    said = [process.communicate(timeout=DEADLINE)[1] for process in starting]
    assert [process.returncode for process in starting] == [0] * 6, said
    assert cluster.rows(name, "SELECT version_num FROM alembic_version") == [(SCHEMA_VERSION,)]


@pytest.fixture
def guest(cluster: PostgresCluster, name: str) -> Iterator[str]:
    """The URL of a role that owns nothing, and may do everything with the tables of another."""
    open_postgres(server(cluster.url(name))).close()
    with cluster.admin(name) as admin:
        admin.execute("CREATE ROLE guest LOGIN")
        for what in ("TABLES", "SEQUENCES"):
            admin.execute(f"GRANT ALL ON ALL {what} IN SCHEMA public TO guest".encode())
        yield cluster.url(name, user="guest")
        admin.execute("DROP OWNED BY guest")
        admin.execute("DROP ROLE guest")


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("REVOKE SELECT ON hooks FROM guest", "the relay may not read the table hooks"),
        ("REVOKE INSERT ON attempts FROM guest", "the relay may not add to the table attempts"),
        ("REVOKE UPDATE ON chats FROM guest", "the relay may not change the table chats"),
        ("REVOKE DELETE ON gates FROM guest", "the relay may not delete from the table gates"),
        ("ALTER TABLE marks DROP COLUMN at", "a column of the table marks is missing"),
        (
            "REVOKE ALL ON SEQUENCE hooks_id_seq FROM guest",
            "the relay may not use the sequence that numbers the table hooks",
        ),
        (
            "DROP SEQUENCE deliveries_id_seq CASCADE",
            "the sequence that numbers the table deliveries is missing",
        ),
    ],
)
async def test_what_a_role_has_lost_is_named_while_it_runs_and_refused_at_a_start(
    cluster: PostgresCluster, name: str, guest: str, loss: str, words: str
) -> None:
    async with opened(guest) as outbox:
        assert await outbox.lacks() == ""
        with cluster.admin(name) as admin:
            admin.execute(loss.encode())
        assert await outbox.lacks() == words
    with pytest.raises(StorageRefused, match=f"can't be used: {words}"):
        await Outbox.open(server(guest), now=NOON)


async def test_claims_that_fail_for_long_are_said_though_nothing_is_missing(
    cluster: PostgresCluster, name: str
) -> None:
    async with opened(cluster.url(name)) as outbox:
        now = 0.0
        outbox._refusals = Refusals(lambda: now)
        await outbox.accept(a_new_hook(1))
        with cluster.admin(name) as admin:
            admin.execute(
                "CREATE FUNCTION no() RETURNS trigger AS 'BEGIN RAISE ''no''; END' LANGUAGE plpgsql"
            )
            admin.execute(
                "CREATE TRIGGER no BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION no()"
            )
            with pytest.raises(StorageUnavailable):
                await claim_one(outbox)
            assert await outbox.lacks() == ""
            now = REFUSED_FOR
            assert await outbox.lacks() == "no delivery can be claimed"
            admin.execute("DROP TRIGGER no ON attempts")
        await claim_one(outbox)
        assert await outbox.lacks() == ""


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_pool_that_keeps_transactions_together_can_be_used(
    cluster: PostgresCluster, name: str, mode: str
) -> None:
    with pgbouncer(cluster.port, mode) as port:
        async with opened(cluster.url(name, port=port)) as outbox:
            await outbox.accept(a_new_hook(1))
            await outbox.settle(await claim_one(outbox), DELIVERED)
            assert await outbox.lacks() == ""


@pytest.mark.parametrize("with_tables", [False, True])
async def test_a_pool_in_statement_mode_is_refused_in_one_sentence(
    cluster: PostgresCluster, *, with_tables: bool
) -> None:
    name = cluster.new_database(with_tables=with_tables)
    with (
        pgbouncer(cluster.port, "statement") as port,
        pytest.raises(
            StorageRefused, match="a connection pool in statement mode can't be used; set its pool"
        ),
    ):
        await Outbox.open(server(cluster.url(name, port=port)), now=NOON)
    if not with_tables:
        assert cluster.rows(name, "SELECT to_regclass('chats')") == [(None,)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            ["DROP TABLE alembic_version"],
            rf"It holds {TABLES} of {TABLES} .acts, attempts, case_events, .* is missing:",
        ),
        (["DELETE FROM alembic_version"], "their version is missing: restore a backup"),
        (
            ["DROP TABLE alembic_version", "DROP TABLE attempts", "DROP TABLE deliveries"],
            f"It holds {TABLES - 2} of {TABLES} .*: restore a backup of the whole database, or give the relay",
        ),
        (["DROP TABLE deliveries CASCADE"], "can't be used: the table deliveries is missing"),
        (["UPDATE alembic_version SET version_num = '0001'"], "their version is 0001: restore"),
        (
            ["INSERT INTO alembic_version VALUES ('0001')"],
            f"another program .schema 0001, {SCHEMA_VERSION};",
        ),
        (["ALTER TABLE alembic_version RENAME version_num TO x"], "program .schema unknown;"),
    ],
)
async def test_a_start_with_half_a_schema_says_what_is_there_and_what_to_do(
    cluster: PostgresCluster, changes: list[str], words: str
) -> None:
    name = cluster.new_database(with_tables=True)
    with cluster.admin(name) as admin:
        for change in changes:
            admin.execute(change.encode())
    with pytest.raises(StorageRefused, match=words):
        await Outbox.open(server(cluster.url(name)), now=NOON)


@contextlib.asynccontextmanager
async def that_calls_itself(cluster: PostgresCluster, words: str) -> AsyncIterator[int]:
    """The port of a server with another version, which fills the place of its own."""
    ((own,),) = cluster.rows("postgres", "SELECT version()")
    async with Proxy(cluster.port) as proxy:
        proxy.rewrite(re.escape(own.encode()), words.encode().ljust(len(own))[: len(own)])
        yield proxy.port


@pytest.mark.parametrize(
    ("version", "name_of_it"),
    [
        ("PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC, Redshift 1.0.12103", "Redshift"),
        ("PostgreSQL 9.2.4 (openGauss 5.0.0 build a07d57c3) compiled at 2023-03-29", "openGauss"),
        ("(openGauss-lite 5.0.0 build 21bd3d2e) compiled at 2023-04-03 00:30:27", "openGauss"),
        ("gaussdb (GaussDB Kernel V500R002C10 build) compiled at 2022-01-01", "GaussDB"),
        ("PostgreSQL 12.12 (Greenplum Database 7.1.0 build) on x86_64", "Greenplum"),
        ("PostgreSQL 13.14.0-RisingWave-1.10.0 (abc)", "RisingWave"),
        ("PostgreSQL 12.3, compiled by Visual C++ build 1914, 64-bit, QuestDB", "QuestDB"),
        ("v0.27.0-alpha.24 (65a5ff0)", r"no PostgreSQL .v0\.27\.0-alpha"),
        ("Vertica Analytic Database v12.0.4-0", "Vertica"),
    ],
)
async def test_a_database_that_lacks_what_is_needed_is_refused_by_its_name(
    cluster: PostgresCluster, name: str, version: str, name_of_it: str
) -> None:
    async with that_calls_itself(cluster, version) as port:
        with pytest.raises(StorageRefused, match=f"is {name_of_it}.*, which the relay can't use"):
            await Outbox.open(server(cluster.url(name, port=port)), now=NOON)


@pytest.mark.parametrize(
    "version",
    [
        "CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27, go1.19.10)",
        "PostgreSQL 11.2-YB-2.20.1.3-b0 on x86_64-pc-linux-gnu, compiled by clang",
        "PostgreSQL 15.4 on aarch64-unknown-linux-gnu, compiled by gcc",
        "PostgreSQL 15.4 (EnterpriseDB Advanced Server 15.4.0) on x86_64-pc-linux-gnu",
        "EnterpriseDB 13.5.9 on x86_64-pc-linux-gnu",
        "PostgreSQL 18beta1 on x86_64-pc-linux-gnu",
    ],
)
async def test_a_database_that_is_close_enough_gets_its_tables(
    cluster: PostgresCluster, name: str, version: str
) -> None:
    async with (
        that_calls_itself(cluster, version) as port,
        opened(cluster.url(name, port=port)) as outbox,
    ):
        await outbox.accept(a_new_hook(1))
        await outbox.settle(await claim_one(outbox), DELIVERED)


async def test_transactions_that_are_in_each_others_way_wait_longer_each_time(
    cluster: PostgresCluster, name: str
) -> None:
    waits: list[float] = []
    open_postgres(server(cluster.url(name))).close()
    store = PostgresStore(
        server(cluster.url(name)),
        psycopg.connect(cluster.url(name), autocommit=True),
        sleep=waits.append,
        random=lambda: 1.0,
    )

    def restart(_: object) -> None:
        if len(waits) < 3:
            raise psycopg.errors.SerializationFailure("restart transaction")

    store.run([restart])
    assert waits == [0.05, 0.1, 0.2]
    store.close()


async def test_a_newer_schema_is_refused(cluster: PostgresCluster, name: str) -> None:
    async with opened(cluster.url(name)):
        pass
    with cluster.admin(name) as admin:
        admin.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageRefused, match=r"newer relay, or by another program .schema 9999"):
        await Outbox.open(server(cluster.url(name)), now=NOON)


async def test_a_server_that_is_too_old_is_named(cluster: PostgresCluster, name: str) -> None:
    async with Proxy(cluster.port) as proxy:
        proxy.rewrite(rb"(?<=server_version\x00)\d\d", b"09")
        with pytest.raises(
            StorageRefused, match=r"is PostgreSQL 9\.\d+, which is too old; .*needs 10"
        ):
            await Outbox.open(server(cluster.url(name, port=proxy.port)), now=NOON)


async def test_a_server_that_only_reads_is_refused(cluster: PostgresCluster, name: str) -> None:
    url = cluster.url(name) + "?options=-cdefault_transaction_read_only%3Don"
    with pytest.raises(StorageRefused, match="only reads: it is a standby, or"):
        await Outbox.open(server(url), now=NOON)


async def test_of_several_hosts_none_of_which_can_write_that_is_said(
    cluster: PostgresCluster, name: str
) -> None:
    hosts = ",".join(2 * [f"127.0.0.1:{cluster.port}"])
    url = f"postgresql://tester@{hosts}/{name}?options=-cdefault_transaction_read_only%3Don"
    with pytest.raises(StorageRefused, match="of the hosts named none takes writes"):
        await Outbox.open(server(url), now=NOON)


async def test_a_server_without_a_free_connection_is_told_with_how_many_are_needed(
    cluster: PostgresCluster, name: str
) -> None:
    a_role_of_two_connections(cluster, name)
    url = cluster.url(name, user="few")
    async with opened(url):
        with (
            psycopg.connect(url),
            pytest.raises(StorageRefused, match=r"too many conn.*each relay needs two"),
        ):
            await Outbox.open(server(url), now=NOON)


async def test_another_programs_tables_are_left_alone(cluster: PostgresCluster, name: str) -> None:
    with cluster.admin(name) as admin:
        admin.execute("CREATE TABLE chats (theirs text)")
    with pytest.raises(StorageRefused, match=r"give the relay a database.* of its own"):
        await Outbox.open(server(cluster.url(name)), now=NOON)
    assert cluster.rows(name, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [
        (1,)
    ]


async def test_a_database_that_cannot_hold_every_chat_is_refused(cluster: PostgresCluster) -> None:
    with cluster.admin() as admin:
        admin.execute(
            "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    with pytest.raises(StorageRefused, match="keeps text as LATIN1"):
        await Outbox.open(server(cluster.url("latin")), now=NOON)


async def test_a_role_that_may_not_make_tables_is_told_so(
    cluster: PostgresCluster, name: str
) -> None:
    with cluster.admin(name) as admin:
        admin.execute("CREATE ROLE stranger LOGIN")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with pytest.raises(StorageRefused, match="permission denied for schema public"):
        await Outbox.open(server(cluster.url(name, user="stranger")), now=NOON)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/relay", r"relay can't be opened: .*refused"),
        ("postgresql://me:s3cret@127.0.0.1:1/relay?sslmod=on", "this is not a PostgreSQL URL"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_named_without_its_password(
    url: str, words: str
) -> None:
    with pytest.raises(StorageRefused, match=words) as refused:
        await Outbox.open(server(url), now=NOON)
    assert "s3cret" not in str(refused.value)


async def test_a_server_that_does_not_wait_for_its_disk_is_warned_of(
    cluster: PostgresCluster, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = cluster.url(name) + "?options=-csynchronous_commit%3Doff"
    with caplog.at_level(logging.WARNING):
        async with opened(url):
            pass
    assert "synchronous_commit = off" in caplog.text


async def test_nothing_of_ours_stays_connected_after_the_end(
    cluster: PostgresCluster, name: str
) -> None:
    async with opened(cluster.url(name)) as outbox, attending(outbox, QUICK):
        pass
    cluster.until_gone(f"datname = '{name}'")
