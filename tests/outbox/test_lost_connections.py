"""Connections to a server that end in the middle of each act: nothing is lost, and nothing is done twice."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from relay.clock import utc_now
from relay.outbox import Delivery, Outbox
from tests.builders import later
from tests.outbox.hooks import DELIVERED, LEASE, a_new_hook, claim_one
from tests.postgres import PostgresCluster, postgres_cluster, server
from tests.tcp import Proxy

pytestmark = pytest.mark.long

COUNTS = """
    SELECT (SELECT count(*) FROM hooks), (SELECT count(*) FROM hook_bodies), (SELECT count(*) FROM deliveries),
        (SELECT count(*) FROM attempts), (SELECT state FROM deliveries)
"""


@dataclass(frozen=True, slots=True)
class Line:
    """An outbox on a server, and the line between them."""

    outbox: Outbox
    proxy: Proxy
    cluster: PostgresCluster
    name: str

    def counts(self) -> tuple[object, ...]:
        """Hooks, bodies, deliveries, attempts, and how the only delivery stands."""
        return self.cluster.rows(self.name, COUNTS)[0]


@contextlib.asynccontextmanager
async def a_line(cluster: PostgresCluster, *, tells_writing: bool = True) -> AsyncIterator[Line]:
    name = cluster.new_database()
    async with Proxy(cluster.port) as proxy:
        if not tells_writing:
            proxy.rewrite(b"txid_current_if_assigned", b"txid_current_if_assignex")
        outbox = await Outbox.open(server(cluster.url(name, port=proxy.port)), now=utc_now())
        try:
            yield Line(outbox, proxy, cluster, name)
        finally:
            await outbox.close()


Lose = Callable[[Proxy, bytes], None]
WAYS = pytest.mark.parametrize("lose", [Proxy.lose_answer_to, Proxy.lose_question])
"""The server has done what was asked, or has never heard of it."""


@WAYS
@pytest.mark.parametrize("at", [b"INSERT INTO hooks", b"INSERT INTO deliveries", b"COMMIT"])
async def test_a_hook_is_kept_once(cluster: PostgresCluster, lose: Lose, at: bytes) -> None:
    async with a_line(cluster) as line:
        lose(line.proxy, at)
        accepted = await line.outbox.accept(a_new_hook())
        assert line.proxy.lost == 1
        assert (accepted.new, accepted.destinations) == (True, ("desk",))
        assert line.counts() == (1, 1, 1, 0, "queued")
        assert (await claim_one(line.outbox)).attempt == 1


@WAYS
@pytest.mark.parametrize("at", [b"UPDATE deliveries", b"INSERT INTO attempts", b"COMMIT"])
async def test_a_claim_is_made_once(cluster: PostgresCluster, lose: Lose, at: bytes) -> None:
    async with a_line(cluster) as line:
        await line.outbox.accept(a_new_hook())
        lose(line.proxy, at)
        claimed: tuple[Delivery, ...] = ()
        while not claimed:  # what the server still holds for the lost connection is passed by
            claim = await line.outbox.claim("desk", now=later(), lease=LEASE, limit=1)
            claimed = claim.deliveries
        assert [delivery.attempt for delivery in claimed] == [1]
        assert line.proxy.lost == 1
        assert line.counts() == (1, 1, 1, 1, "sending")


@WAYS
@pytest.mark.parametrize("at", [b"UPDATE attempts", b"UPDATE deliveries", b"COMMIT"])
async def test_an_outcome_stays_the_same(cluster: PostgresCluster, lose: Lose, at: bytes) -> None:
    async with a_line(cluster) as line:
        await line.outbox.accept(a_new_hook())
        delivery = await claim_one(line.outbox)
        lose(line.proxy, at)
        await line.outbox.settle(delivery, DELIVERED)
        assert line.proxy.lost == 1
        assert line.counts() == (1, 1, 1, 1, "delivered")


async def test_a_database_that_can_not_tell_whether_it_was_changed_keeps_the_hook_once_too(
    cluster: PostgresCluster,
) -> None:
    async with a_line(cluster, tells_writing=False) as line:
        line.proxy.lose_answer_to(b"COMMIT")
        accepted = await line.outbox.accept(a_new_hook())
        assert (line.proxy.lost, accepted.new) == (1, True)
        line.proxy.lose_answer_to(b"COMMIT")
        assert (await claim_one(line.outbox)).attempt == 1
        assert line.counts() == (1, 1, 1, 1, "sending")


async def test_where_it_can_not_be_told_what_was_committed_doing_it_again_is_harmless(
    cluster: PostgresCluster,
) -> None:
    async with a_line(cluster) as line:
        with cluster.admin(line.name) as admin:
            admin.execute("DELETE FROM relays")
        line.proxy.lose_answer_to(b"COMMIT")
        accepted = await line.outbox.accept(a_new_hook())
        assert (line.proxy.lost, accepted.new) == (1, False)  # as if it had been posted twice
        assert line.counts() == (1, 1, 1, 0, "queued")
        line.proxy.lose_answer_to(b"COMMIT")
        claim = await line.outbox.claim("desk", now=utc_now(), lease=LEASE, limit=1)
        # It was claimed, and nobody knows: it comes back when the lease ends.
        assert (line.proxy.lost, claim.deliveries) == (2, ())
        assert line.counts() == (1, 1, 1, 1, "sending")
        assert await line.outbox.expire_leases(utc_now() + LEASE) == 1
        delivery = await claim_one(line.outbox)
        line.proxy.lose_answer_to(b"COMMIT")
        await line.outbox.settle(delivery, DELIVERED)
        assert line.counts() == (1, 1, 1, 2, "delivered")


async def test_a_crash_before_anything_was_written_is_not_taken_for_a_commit() -> None:
    """A server that crashes gives the numbers of what it lost to others, which may have committed since."""
    with postgres_cluster(wal_writer_delay="10s") as fragile:
        async with a_line(fragile) as line:
            await line.outbox.accept(a_new_hook(1))

            def crash_and_go_on() -> None:
                fragile.stop()
                fragile.start()
                with fragile.admin(line.name) as admin:
                    for chat in range(50):
                        admin.execute(
                            "INSERT INTO set_aside (received_at, body_hash, reason, body) VALUES (0, %s, '', '')",
                            [str(chat).encode()],
                        )

            line.proxy.lose_question(b"COMMIT", crash_and_go_on)
            accepted = await line.outbox.accept(a_new_hook(2))
            assert (line.proxy.lost, accepted.new) == (1, True)
            assert fragile.rows(line.name, "SELECT count(*) FROM hooks") == [(2,)]
        assert fragile.rows(line.name, "SELECT count(*) FROM relays") == [(0,)]  # it said goodbye
