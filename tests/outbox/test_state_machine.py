"""Hypothesis walks through the life of an outbox at random, over real databases, beside a model of it.

Crashes are walked through as well: the object is dropped, its connection left open as a dead process leaves its
files, and the database opened again. What a crash within a transaction leaves is tests/journeys/test_crash_points.py.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as walk
from msgspec.structs import replace
from sqlalchemy.dialects import postgresql, sqlite

from relay.chat import Chat
from relay.outbox import Delivery, Gate, NewDelivery, Outbox, Places, Settlement, State
from relay.outbox.database_session import Session
from relay.outbox.delivery_types import DIGEST, ITSELF, maybe_time
from relay.outbox.digests import name_of
from relay.outbox.history import Wanted, find
from relay.outbox.requeue import queue_again
from relay.outbox.retention import DOUBT, Retention
from relay.outbox.scheduling import Scheduling
from relay.outbox.statements import Statements
from relay.settings.database import Database
from relay.timing.plan import AT_ONCE, Plan
from relay.transports import Ending
from tests.builders import NOON
from tests.outbox.hooks import a_new_hook
from tests.outbox.model import LIVE, Key, Model
from tests.outbox.test_digest_closing import a_digest, digests
from tests.postgres import PostgresCluster, server

pytestmark = pytest.mark.long

T = TypeVar("T")
KEEP_FOR = timedelta(days=30)
PLACES = ("desk", "room")
SPANS = [
    timedelta(**span)
    for span in (
        {"seconds": 1},
        {"seconds": 40},
        {"minutes": 21},
        {"hours": -2},
        {"days": 31},
        {"days": 400},
    )
]

FOUND = """
    SELECT chat, rule, destination, state, generation, attempts, failures, unsure, lost, suspect, short,
        due_at, coalesce(released_at, created_at), lease_until, deliveries.message_id, receipt, in_digest, digest_id
    FROM deliveries JOIN chats ON chats.id = chat_id
"""
TRIES = """
    SELECT chat, rule, destination, number, coalesce(ending, '')
    FROM attempts JOIN deliveries ON deliveries.id = delivery_id JOIN chats ON chats.id = chat_id
"""
EMPTY = (
    "TRUNCATE chats, hooks, hook_bodies, deliveries, attempts, gates, set_aside, cases, case_events, limits, digests"
    " RESTART IDENTITY"
)

destinations = st.sampled_from(PLACES)
spans = st.sampled_from(SPANS)
later = st.sampled_from(SPANS[:3])


async def no_matter() -> None:
    """Nobody has to be woken."""


def fallback_of(delivery: Delivery) -> NewDelivery:
    return NewDelivery(
        rule=delivery.rule,
        template="missed",
        destination="spare",
        recipient="spare@example.com",
        message_id=f"{delivery.chat}.spare@example.org",
    )


ENDINGS = [
    (Ending.DELIVERED, State.DELIVERED),
    (Ending.ACCEPTED, State.ACCEPTED),
    (Ending.REFUSED, State.FAILED),
    (Ending.REFUSED, State.QUEUED),
    (Ending.LATER, State.QUEUED),
    (Ending.LATER, State.FAILED),
    (Ending.RATE_LIMITED, State.QUEUED),
    (Ending.MAYBE_DELIVERED, State.QUEUED),
    (Ending.MAYBE_DELIVERED, State.MAYBE_DELIVERED),
]


def settlement(
    delivery: Delivery, how: tuple[Ending, State], now: datetime, wait: timedelta, receipt: str
) -> Settlement:
    """As relay/delivery/retry.py and the dispatcher make them."""
    ending, state = how
    return Settlement(
        ending=ending,
        detail="said so",
        state=state,
        ended_at=now,
        due_at=now + wait if state is State.QUEUED else None,
        counts=how == (Ending.LATER, State.QUEUED),
        short=delivery.short or how == (Ending.REFUSED, State.QUEUED),
        receipt=receipt,
        also_queued=(fallback_of(delivery),) if state is State.FAILED else (),
    )


class Life(RuleBasedStateMachine):
    """An outbox over one database, or two over the same server."""

    database: Database
    relays = 1

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.now = NOON
        self.claims: list[Delivery] = []
        """Every one that was ever handed out, settled or not."""
        self.digests: dict[int | None, Key] = {}
        """By their numbers."""
        self.dropped: list[Outbox] = []
        self.most_attempts: dict[Key, int] = {}
        self.make_empty()
        self.outboxes = [self.open() for _ in range(self.relays)]

    # -- what is peculiar to a store ------------------------------------------------------------------

    def make_empty(self) -> None:
        raise NotImplementedError

    def session(self, cursor: Any) -> Session:
        raise NotImplementedError

    def let_go(self, outbox: Outbox) -> None:
        """What the operating system does when its process dies."""

    def taken_up_at_start(self) -> None:
        """What the model says of leases when a relay starts."""

    # -- steps -------------------------------------------------------------------------------------------

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def open(self) -> Outbox:
        return self.run(Outbox.open(self.database, now=self.now))

    def any_outbox(self, which: int) -> Outbox:
        return self.outboxes[which % len(self.outboxes)]

    @initialize(chats=st.integers(1, 4))
    def begin(self, chats: int) -> None:
        for chat in range(chats):
            self.accept(0, chat, None, ["Missed chats"], PLACES, {}, SPANS[0])

    @rule(
        which=st.integers(0, 1),
        chat=st.integers(0, 4),
        rating=st.sampled_from([None, 1, 5]),
        rules=st.sampled_from([["Missed chats"], ["Bad ratings"], ["Missed chats", "Bad ratings"]]),
        places=st.sampled_from([PLACES, PLACES[:1], ()]),
        free=st.dictionaries(destinations, st.integers(0, 2)),
        lease=later,
    )
    def accept(
        self,
        which: int,
        chat: int,
        rating: int | None,
        rules: list[str],
        places: tuple[str, ...],
        free: dict[str, int],
        lease: timedelta,
    ) -> None:
        """Known or not: few chats, so that many hooks come again."""
        hooks = [
            a_new_hook(chat, destinations=places, rule=name, rating=rating, at=self.now)
            for name in rules
        ]
        hook = replace(hooks[0], deliveries=tuple(one for each in hooks for one in each.deliveries))
        at_once = Places(free, lease, {})
        accepted = self.run(self.any_outbox(which).accept(hook, at_once))
        new, queued, claimed = self.model.accept(hook, at_once)
        assert (accepted.new, list(accepted.destinations)) == (new, queued)
        assert [key_of(one) for one in accepted.claimed] == claimed
        for one in accepted.claimed:
            self.is_as_queued(one)

    @rule(
        which=st.integers(0, 1),
        chosen=st.sets(st.integers(0, 4), min_size=1, max_size=3),
        rating=st.sampled_from([None, 1, 5]),
        rules=st.sampled_from(["Missed chats", "Held chats", "Others"]),
        place=destinations,
        how=st.sampled_from(["wait", "in digest", "in digest", "left out"]),
        wait=st.sampled_from([timedelta(), *SPANS[:3]]),
    )
    def accept_planned(
        self,
        which: int,
        chosen: set[int],
        rating: int | None,
        rules: str,
        place: str,
        how: str,
        wait: timedelta,
    ) -> None:
        """They wait for their time or for a digest, or nobody is to hear of them."""
        plan = Plan(
            state="scheduled", due=self.now + wait, why="hours", in_digest=how == "in digest"
        )
        if how == "left out":
            plan = Plan(state="left out", due=self.now + wait, why="hours")
        for chat in sorted(chosen):
            hook = a_new_hook(chat, destinations=(place,), rule=rules, rating=rating, at=self.now)
            planned = tuple(replace(one, plan=plan) for one in hook.deliveries)
            hook = replace(hook, deliveries=planned)
            accepted = self.run(self.any_outbox(which).accept(hook))
            new, queued, _ = self.model.accept(hook, Places({}, wait, {}))
            assert (accepted.new, list(accepted.destinations)) == (new, queued)

    @rule(which=st.integers(0, 1), known=st.sampled_from([PLACES, PLACES[:1]]))
    def release(self, which: int, known: tuple[str, ...]) -> None:
        """What waits for a destination that is not known stays."""
        outbox = self.any_outbox(which)
        outbox.operations.waits.timings = dict.fromkeys(known, AT_ONCE)
        acts = Scheduling(outbox.operations.sql, outbox.operations.waits)
        done = self.run(outbox.run(lambda cursor: acts.release(cursor, self.now)))
        assert list(done.queued) == self.model.release(known, self.now)

    @rule(which=st.integers(0, 1), known=st.sampled_from([PLACES, PLACES[:1]]))
    def close_digest(self, which: int, known: tuple[str, ...]) -> None:
        """What is due is sent together, and nothing else; a digest of one is that delivery itself."""
        outbox = self.any_outbox(which)
        acts = digests(outbox, *known)
        done = self.run(outbox.run(lambda cursor: acts.close(cursor, self.now)))
        members = self.model.due_in_digest(known, self.now)
        assert list(done.queued) == [key[2] for key in members[:1]]
        if len(members) == 1:
            self.model.deliveries[members[0]].released(self.now)
        elif members:
            ((number,),) = self.ask("SELECT max(id) FROM digests")
            place = members[0][2]
            chat = Chat(account=ITSELF, id=name_of(number))
            made = a_digest(chat, place, f"{place}@example.com")
            digest = self.digests[number] = chat.id, made.rule, place
            self.model.close(members, digest, made.message_id, self.now)

    @rule(
        which=st.integers(0, 1),
        destination=st.sampled_from([*PLACES, "spare"]),
        limit=st.integers(1, 5),
        suspects=st.integers(0, 1),
        lease=later,
        new=st.none() | later,
    )
    def claim(
        self,
        which: int,
        destination: str,
        limit: int,
        suspects: int,
        lease: timedelta,
        new: timedelta | None,
    ) -> None:
        after = None if new is None else self.now - new
        expected = self.model.claimable(destination, self.now, limit, suspects, after)
        claim = self.run(
            self.any_outbox(which).claim(
                destination,
                now=self.now,
                lease=lease,
                limit=limit,
                suspects=suspects,
                prefer_due_after=after,
            )
        )
        assert [key_of(one) for one in claim.deliveries] == expected
        self.take(claim.deliveries, lease)
        assert claim.next_due == self.model.next_due(destination)

    @rule(destination=destinations, limit=st.integers(1, 3), lease=later)
    def claim_at_the_same_time(self, destination: str, limit: int, lease: timedelta) -> None:
        """Who gets which is left open, but nobody gets what another one has."""

        async def race() -> list[Delivery]:
            claims = await asyncio.gather(
                *(
                    outbox.claim(
                        destination, now=self.now, lease=lease, limit=limit, suspects=suspects
                    )
                    for outbox in self.outboxes
                    for suspects in (0, 1)
                )
            )
            return [one for claim in claims for one in claim.deliveries]

        self.take(self.run(race()), lease)

    def take(self, claimed: Iterable[Delivery], lease: timedelta) -> None:
        for one in claimed:
            key = key_of(one)
            queued = self.model.deliveries[key]
            assert queued.state is State.QUEUED, "it is claimed already, or settled"
            assert queued.due <= self.now
            self.model.claimed(key, self.now + lease)
            self.is_as_queued(one)

    def is_as_queued(self, claimed: Delivery) -> None:
        queued = self.model.deliveries[key_of(claimed)]
        assert (
            *(claimed.attempt, claimed.failures, claimed.unsure, claimed.short, claimed.suspect),
            *(claimed.message_id, claimed.receipt),
        ) == (
            *(queued.attempts, queued.failures, queued.unsure, queued.short, queued.suspect),
            *(queued.message_id, queued.receipt),
        )
        self.claims.append(claimed)

    @precondition(lambda self: self.claims)
    @rule(
        which=st.integers(0, 1),
        chosen=st.integers(0, 1000),
        how=st.sampled_from(ENDINGS),
        wait=later,
        receipt=st.sampled_from(["", "ts-1"]),
    )
    def settle(
        self,
        which: int,
        chosen: int,
        how: tuple[Ending, State],
        wait: timedelta,
        receipt: str,
    ) -> None:
        """In time, after its lease, or what was settled before: most often one of the latest."""
        claim = self.claims[-1 - chosen % min(len(self.claims), 6 if chosen % 4 else 1000)]
        said = settlement(claim, how, self.now, wait, receipt)
        self.run(self.any_outbox(which).settle(claim, said))
        self.model.settle(key_of(claim), claim, said)

    @rule(which=st.integers(0, 1))
    def take_up_what_nobody_settled(self, which: int) -> None:
        expired = self.run(self.any_outbox(which).expire_leases(self.now))
        assert expired == self.model.lose(self.now, self.now)

    @rule(span=spans)
    def let_time_pass(self, span: timedelta) -> None:
        self.now += span

    @rule(which=st.integers(0, 1), orderly=st.booleans())
    def start_again(self, which: int, orderly: bool) -> None:
        position = which % len(self.outboxes)
        outbox = self.outboxes[position]
        if orderly:
            self.run(outbox.close())
        else:
            self.let_go(outbox)
            self.dropped.append(outbox)
        self.outboxes[position] = self.open()
        self.taken_up_at_start()

    @precondition(lambda self: self.model.deliveries)
    @rule(which=st.integers(0, 1), chosen=st.integers(0, 1000))
    def resend(self, which: int, chosen: int) -> None:
        key = list(self.model.deliveries)[chosen % len(self.model.deliveries)]
        again = f"{key}.{self.model.deliveries[key].generation + 1}@example.org"

        def work(cursor: Any) -> bool:
            session = self.session(cursor)
            account = ITSELF if key[0].startswith(DIGEST) else "208"
            wanted = Wanted(chats=[(account, key[0])], rule=key[1], destination=key[2])
            (record,) = find(session, wanted, limit=2)
            return queue_again(session, record, again, self.now)

        is_queued = self.run(self.any_outbox(which).run(work))
        assert is_queued == (self.model.deliveries[key].state is not State.SENDING)
        if is_queued:
            self.model.resend(key, again, self.now)

    @rule(which=st.integers(0, 1), destination=destinations, wait=later, broken=st.booleans())
    def close_gate(self, which: int, destination: str, wait: timedelta, broken: bool) -> None:
        gate = Gate(self.now + wait, self.now if broken else None, "429")
        self.run(self.any_outbox(which).close_gate(destination, gate))
        self.model.close_gate(destination, gate)

    @rule(which=st.integers(0, 1), destination=destinations)
    def open_gate(self, which: int, destination: str) -> None:
        self.run(self.any_outbox(which).open_gate(destination))
        self.model.gates.pop(destination, None)

    @rule(which=st.integers(0, 1), destination=destinations, blips=st.booleans())
    def hasten(self, which: int, destination: str, blips: bool) -> None:
        self.run(self.any_outbox(which).hasten(destination, self.now, blips=blips))
        self.model.hasten(destination, self.now, blips=blips)

    @rule(which=st.integers(0, 1), destination=destinations, wait=later)
    def recall(self, which: int, destination: str, wait: timedelta) -> None:
        beyond = self.now + wait
        self.run(self.any_outbox(which).recall(destination, self.now, beyond=beyond))
        self.model.recall(destination, self.now, beyond)

    @rule(which=st.integers(0, 1))
    def forget_what_is_old(self, which: int) -> None:
        told: list[int] = []
        upkeep = Retention(
            self.any_outbox(which),
            keep_for=KEEP_FOR,
            clock=lambda: self.now,
            look_again=no_matter,
            erased=told.append,
        )
        self.run(upkeep._forget())
        if upkeep.last_round.waits:  # a clock that went so far ahead is trusted a day later
            self.now += DOUBT
            self.run(upkeep._forget())
        self.run(upkeep._forget())  # the first after a start erases the chats of one day only
        known = self.any_outbox(which).operations.waits.timings.keys()
        gone = self.model.forget(self.now - KEEP_FOR, known)
        assert sum(told) == len(gone)
        # Nothing is under way for as long as that: their news can't come any more.
        self.claims = [one for one in self.claims if one.chat not in gone]
        self.most_attempts = {k: n for k, n in self.most_attempts.items() if k[0] not in gone}

    # -- what holds after each -------------------------------------------------------------------------

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        return self.run(self.outboxes[-1].run(lambda cursor: cursor.execute(question).fetchall()))

    @invariant()
    def every_delivery_is_where_the_model_says(self) -> None:
        found = {row[:3]: row[3:] for row in self.ask(FOUND)}
        assert found.keys() == self.model.deliveries.keys()
        for key, one in self.model.deliveries.items():
            digest = self.digests.get(found[key][-1])
            assert self.as_stored(found[key]) | {"digest": digest} == vars(one) | {"endings": None}

    def as_stored(self, row: tuple[Any, ...]) -> dict[str, Any]:
        (state, generation, attempts, failures, unsure, lost, suspect, short) = row[:8]
        (due, since, lease, message_id, receipt, in_digest, _) = row[8:]
        return {
            "message_id": message_id,
            "due": maybe_time(due),
            "since": maybe_time(since),
            "state": State(state),
            "generation": generation,
            "attempts": attempts,
            "failures": failures,
            "unsure": unsure,
            "lost": lost,
            "suspect": bool(suspect),
            "short": bool(short),
            "lease_until": maybe_time(lease),
            "receipt": receipt,
            "in_digest": bool(in_digest),
            "endings": None,
        }

    @invariant()
    def each_is_queued_once(self) -> None:
        keys = [row[:3] for row in self.ask(FOUND)]
        assert len(keys) == len(set(keys))

    @invariant()
    def only_what_is_being_sent_is_leased(self) -> None:
        assert self.ask(f"{FOUND} WHERE (state = 'sending') <> (lease_until IS NOT NULL)") == []

    @invariant()
    def attempts_are_counted_and_never_fewer(self) -> None:
        found = {(*row[:3], row[3]): row[4] for row in self.ask(TRIES)}
        assert found == {
            (*key, number): ending
            for key, one in self.model.deliveries.items()
            for number, ending in one.endings.items()
        }
        for key, one in self.model.deliveries.items():
            assert one.attempts >= self.most_attempts.get(key, 0)
            self.most_attempts[key] = one.attempts

    @invariant()
    def gates_and_the_glance_agree(self) -> None:
        outbox = self.outboxes[0]
        assert self.run(outbox.gates()) == self.model.gates
        summary = self.run(outbox.summary())
        live = [one.state for one in self.model.deliveries.values() if one.state in LIVE]
        assert summary.sending + sum(summary.queued.values()) == len(live)
        waits = [one for one in self.model.deliveries.values() if one.state is State.SCHEDULED]
        assert sum(summary.scheduled.values()) == len(waits)

    def teardown(self) -> None:
        for outbox in [*self.outboxes, *self.dropped]:
            self.run(outbox.close())
        self.runner.close()


def key_of(delivery: Delivery) -> Key:
    return delivery.chat, delivery.rule, delivery.destination


class LifeInAFile(Life):
    """One relay, whose file's lock says that every lease is a dead one's."""

    folder: Path
    pattern: Path

    def make_empty(self) -> None:
        self.home = Path(tempfile.mkdtemp(dir=self.folder))
        self.database = self.home / "relay.db"
        shutil.copy(self.pattern, self.database)

    def session(self, cursor: Any) -> Session:
        return Session(cursor, Statements(sqlite.dialect(paramstyle="named")))

    def let_go(self, outbox: Outbox) -> None:
        for lock in outbox._store._locks:  # type: ignore[attr-defined]
            lock.close()

    def taken_up_at_start(self) -> None:
        self.model.lose(None, self.now)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.home)


class LivesOnAServer(Life):
    """Two relays; what one that died has left is taken up when its leases end."""

    relays = 2
    cluster: PostgresCluster
    name: str

    def make_empty(self) -> None:
        with self.cluster.admin(self.name) as connection:
            connection.execute(EMPTY.encode())

    def session(self, cursor: Any) -> Session:
        return Session(cursor, Statements(self.outboxes[0].dialect, postgresql.insert))


def depth(walks: int, *, is_long: bool) -> settings:
    """For a suite that runs often, the same walks each time; for the long one, new ones."""
    return settings(
        max_examples=300 if is_long else walks,
        stateful_step_count=60 if is_long else 35,
        deadline=None,
        derandomize=not is_long,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


async def make(database: Database) -> None:
    outbox = await Outbox.open(database, now=NOON)
    await outbox.close()


@pytest.mark.timeout(1800)
def test_the_outbox_in_a_file_does_what_its_model_does(tmp_path: Path, is_long: bool) -> None:
    asyncio.run(make(tmp_path / "pattern.db"))

    class Here(LifeInAFile):
        folder = tmp_path
        pattern = tmp_path / "pattern.db"

    walk(Here, settings=depth(40, is_long=is_long))


@pytest.mark.timeout(1800)
def test_two_relays_on_a_server_do_what_the_model_does(
    cluster: PostgresCluster, is_long: bool
) -> None:
    database = cluster.new_database()
    asyncio.run(make(server(cluster.url(database))))

    class Here(LivesOnAServer):
        name = database

    Here.cluster = cluster
    Here.database = server(cluster.url(database))
    walk(Here, settings=depth(25, is_long=is_long))
