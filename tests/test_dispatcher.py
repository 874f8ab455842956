"""The loop that empties the outbox, over a real file and a real server."""

import asyncio
import contextlib
import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.clock import Clock
from relay.delivery.attempt import RenderDelivery
from relay.delivery.dispatcher import Dispatcher
from relay.delivery.endpoint import Endpoint
from relay.delivery.lane import Lane
from relay.delivery.redirect import Redirect
from relay.delivery.retry import HELD_BACK
from relay.destination import Destination, Rate, Secret, WhenUnsure
from relay.metrics import Metrics
from relay.notification import Notification
from relay.outbox import Delivery, Gate, NewDelivery, NewHook, Outbox, StorageUnavailable
from relay.rules import RuleBook
from relay.rules.recipients import Recipients
from relay.settings.database import Database
from relay.settings.table import Settings
from relay.smartsupp import read_chat
from relay.transports.access import Access
from relay.transports.registry import TRANSPORTS, open_transport
from tests.builders import NOON, a_delivery, a_hook
from tests.postgres import PostgresCluster, server
from tests.running import MovableClock, rows
from tests.servers import HANG, HttpAnswer, HttpRequest, HttpServer

REFUSED = HttpAnswer(status=400, body="user_is_bad")
GRACE = 60.0
"""Seconds in which an attempt under way can end; none of these takes that long."""


class SetClock:
    """Stands where it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class TickingClock:
    """Goes on by a tenth of a second whenever somebody looks."""

    def __init__(self) -> None:
        self._now = NOON

    def __call__(self) -> datetime:
        self._now += timedelta(milliseconds=100)
        return self._now


async def plainly(delivery: Delivery, destination: Destination, *, bodies: bool) -> Notification:
    """Templates are another matter."""
    return Notification(subject=f"Chat {delivery.chat}", summary="Missed.")


NO_RULES = RuleBook(rules=(), destinations={}, recipients={})
NOWHERE_ELSE = Redirect(NO_RULES, "example.org")


@dataclass(slots=True)
class Bench:
    """An outbox and a dispatcher with one destination, `room`."""

    path: Path
    outbox: Outbox
    access: Access
    lane: Lane
    clock: Clock

    def dispatcher(
        self, *, render: RenderDelivery | None = None, redirect: Redirect = NOWHERE_ELSE
    ) -> Dispatcher:
        return Dispatcher(
            outbox=self.outbox,
            lanes={"room": self.lane},
            render=render or plainly,
            redirect=lambda: redirect,
            metrics=Metrics(),
            clock=self.clock,
            random=lambda: 0.5,
        )

    async def queue(self, chat: int) -> None:
        await self.outbox.accept(self.hook(chat))

    def hook(self, chat: int) -> NewHook:
        body = a_hook(chat, missed=True, visitor={"name": f"Visitor {chat}"})
        queued = NewDelivery(
            rule="Missed chats",
            template="missed",
            destination="room",
            recipient="room",
            message_id=f"{chat}@example.org",
        )
        return NewHook(
            body=body,
            chat=read_chat(body),
            received_at=self.clock(),
            rules_hash="",
            deliveries=(queued,),
        )

    async def keeps_up(self) -> None:
        """Until the lane has looked, and found that nothing waits."""
        lane = self.lane
        while lane.is_claiming or lane.next_due is not None or lane.in_flight:
            await self.outbox.gates()  # anything that lets it work

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """What is written meanwhile waits for another program."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")

    def states(self) -> list[tuple[Any, ...]]:
        return rows(self.path, "SELECT state, detail FROM deliveries ORDER BY id")


@contextlib.asynccontextmanager
async def a_bench(
    folder: Path,
    room: HttpServer,
    *,
    rates: tuple[Rate, ...] = (),
    when_unsure: WhenUnsure | None = None,
    clock: Clock = lambda: NOON,
    database: Database | None = None,
) -> AsyncIterator[Bench]:
    path = folder / "relay.db"
    outbox = await Outbox.open(database or path, now=clock())
    access = Access(Settings(allow_private_webhooks=True), lambda _: room.url("/services/x"))
    destination = Destination(
        name="room",
        transport="slack",
        options={"webhook": Secret("ROOM")},
        rates=rates,
        when_unsure=when_unsure,
    )
    lane = Lane(
        destination, TRANSPORTS["slack"], open_transport(destination, access), Endpoint("room")
    )
    try:
        yield Bench(path, outbox, access, lane, clock)
    finally:
        await access.close()
        await outbox.close()


@contextlib.contextmanager
def logged(words: str) -> Iterator[asyncio.Event]:
    """An event that is set when the log says so."""
    loop, said = asyncio.get_running_loop(), asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if words in record.getMessage():
                loop.call_soon_threadsafe(said.set)

    listener = Listener()
    logging.getLogger("relay").addHandler(listener)
    try:
        yield said
    finally:
        logging.getLogger("relay").removeHandler(listener)


async def waits_briefly_for_the_lock(outbox: Outbox) -> None:
    """Five seconds, as in earnest, would only make the test slow."""
    await outbox._writer.run(lambda cursor: cursor.execute("PRAGMA busy_timeout = 20"))


@pytest.mark.long
async def test_two_that_are_queued_at_once_both_go_out_on_a_paced_way(tmp_path: Path) -> None:
    # Each look at the clock is a little later. Asked twice in one round, the lane once took "not free
    # yet" for "all under way", and rested for a minute.
    async with (
        HttpServer() as room,
        a_bench(tmp_path, room, rates=(Rate(1),), clock=TickingClock()) as bench,
    ):
        await bench.queue(1)
        await bench.queue(2)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await room.received(2)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [("delivered", "Slack answered ok")] * 2


async def test_a_backlog_goes_out_oldest_first_and_what_is_new_is_not_last(tmp_path: Path) -> None:
    clock, backlog, new = SetClock(), [1, 2, 3, 4, 5, 6], 99
    async with (
        HttpServer() as room,
        a_bench(tmp_path, room, rates=(Rate(1),), clock=clock) as bench,
    ):
        for chat in backlog:
            await bench.queue(chat)
            clock.now += timedelta(minutes=1)
        clock.now += timedelta(hours=2)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        for sent in range(1, len(backlog) + 2):
            await room.received(sent)
            if sent == 2:
                await bench.queue(new)
            assert len(room.requests) == sent  # its clock stands still, and so does the pace
            clock.now += timedelta(seconds=1)
            dispatcher.wake(["room"])
        await dispatcher.stop(GRACE, asyncio.Event())
    told = [int(request.json()["text"].split()[1]) for request in room.requests]
    assert [chat for chat in told if chat != new] == backlog
    assert told.index(new) <= 4


async def test_how_it_ended_is_written_down_once_the_database_can_be_written_again(
    tmp_path: Path,
) -> None:
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        other = sqlite3.connect(bench.path, isolation_level=None)

        def lock(_: HttpRequest) -> HttpAnswer:
            other.execute("BEGIN IMMEDIATE")
            return HttpAnswer()

        room.usual = lock
        await waits_briefly_for_the_lock(bench.outbox)
        await bench.queue(1)
        dispatcher = bench.dispatcher()
        with logged("the outbox can't write") as failed:
            dispatcher.start()
            await asyncio.wait_for(failed.wait(), GRACE)
            assert bench.states() == [("sending", "")]
            other.execute("ROLLBACK")
            other.close()
            await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [("delivered", "Slack answered ok")]
        assert len(room.requests) == 1


async def test_what_is_queued_goes_out_once_the_database_can_be_read_again(tmp_path: Path) -> None:
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        await waits_briefly_for_the_lock(bench.outbox)
        await bench.queue(1)
        other = sqlite3.connect(bench.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        dispatcher = bench.dispatcher()
        with logged("the outbox can't write") as failed:
            dispatcher.start()
            await asyncio.wait_for(failed.wait(), GRACE)
            other.execute("ROLLBACK")
            other.close()
            await room.received(1)
            await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [("delivered", "Slack answered ok")]


def moved_away(path: Path) -> Path:
    return path.rename(path.with_name("elsewhere.db"))


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_was_claimed_while_the_file_was_moved_away_goes_out_once_it_is_back(
    tmp_path: Path, at_once: bool
) -> None:
    """It was committed into a file that had lost its name, and nobody was told: not when its lease ends, but now."""
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await bench.keeps_up()
        if not at_once:
            await bench.queue(1)
        begun, go_on = threading.Event(), threading.Event()

        def wait_to_go_on(_: object) -> None:
            begun.set()
            go_on.wait(GRACE)

        waits = asyncio.ensure_future(bench.outbox.run(wait_to_go_on))
        assert await asyncio.to_thread(begun.wait, GRACE)  # its group takes nothing more
        if at_once:
            kept = asyncio.create_task(dispatcher.accept(bench.hook(1)))
        else:
            dispatcher.wake(["room"])
        for _ in range(5):
            await asyncio.sleep(0)  # it is handed to the writer
        moving = asyncio.ensure_future(bench.outbox.run(lambda _: moved_away(bench.path)))
        await asyncio.sleep(0)
        go_on.set()  # what waits by now is one commit
        await asyncio.wait([waits])
        with pytest.raises(StorageUnavailable):
            await moving
        if at_once:
            with pytest.raises(StorageUnavailable):
                await kept
        elsewhere = bench.path.with_name("elsewhere.db")
        elsewhere.rename(bench.path)
        assert bench.states() == [("sending", "")]
        await room.received(1)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [("delivered", "Slack answered ok")]
        assert rows(bench.path, "SELECT number, ending FROM attempts") == [
            (1, "later"),
            (2, "delivered"),
        ]
        assert rows(bench.path, "SELECT failures, unsure, lost FROM deliveries") == [(0, 0, 0)]


async def test_nothing_is_written_into_a_file_that_was_moved_away(tmp_path: Path) -> None:
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        elsewhere = moved_away(bench.path)
        with pytest.raises(StorageUnavailable):
            await bench.queue(1)
        assert rows(elsewhere, "SELECT * FROM hooks") == []
        elsewhere.rename(bench.path)
        await bench.queue(1)
        assert bench.states() == [("queued", "")]


async def test_a_bug_in_rendering_costs_one_attempt_and_stops_nobody(tmp_path: Path) -> None:
    async def render(delivery: Delivery, destination: Destination, *, bodies: bool) -> Notification:
        if delivery.chat == "1":
            raise RuntimeError("a bug")
        return await plainly(delivery, destination, bodies=bodies)

    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        await bench.queue(1)
        dispatcher = bench.dispatcher(render=render)
        dispatcher.start()
        for chat in range(2, 12):
            await bench.queue(chat)
            dispatcher.wake(["room"])
        await room.received(10)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [
            ("queued", "the relay itself failed; its log says how"),
            *[("delivered", "Slack answered ok")] * 10,
        ]
        assert bench.lane.in_flight == 0


async def test_a_bug_in_finding_the_fallback_leaves_the_delivery_failed_and_stops_nobody(
    tmp_path: Path,
) -> None:
    class Buggy(Redirect):
        def to_fallback(
            self, delivery: Delivery, failed: Destination, now: datetime
        ) -> tuple[NewDelivery, ...]:
            raise RuntimeError("a bug")

    most = TRANSPORTS["slack"].max_concurrency
    async with (
        HttpServer(*[REFUSED] * most) as room,
        a_bench(tmp_path, room) as bench,
    ):
        for chat in range(most + 1):
            await bench.queue(chat)
        dispatcher = bench.dispatcher(redirect=Buggy(NO_RULES, "example.org"))
        dispatcher.start()
        await room.received(most + 1)
        await dispatcher.stop(GRACE, asyncio.Event())
        states = Counter(state for state, _ in bench.states())  # whichever came last
        assert states == {"failed": most, "delivered": 1}
        assert bench.lane.in_flight == 0


async def test_what_leads_to_nobody_any_more_fails_and_is_not_sent(tmp_path: Path) -> None:
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        await bench.queue(1)
        dispatcher = bench.dispatcher(
            redirect=Redirect(replace(NO_RULES, recipients={"room": Recipients(())}), "example.org")
        )
        dispatcher.start()
        while bench.states() != [
            ("failed", "room no longer leads to this recipient, and for this chat to nobody else")
        ]:
            await bench.outbox.gates()
        await dispatcher.stop(GRACE, asyncio.Event())
        assert room.requests == []


async def test_what_was_claimed_by_a_transport_that_the_rules_no_longer_name_stays_queued(
    tmp_path: Path,
) -> None:
    """Two changes within one claim: a recipient of the first rules and the third, and a lane of the second."""
    mail = Destination(name="room", transport="email", options={})
    rules = replace(
        NO_RULES, destinations={"room": mail}, recipients={"room": Recipients(("room",))}
    )
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        await bench.queue(1)
        dispatcher = bench.dispatcher(redirect=Redirect(rules, "example.org"))
        dispatcher.start()
        first = "SELECT detail FROM attempts WHERE number = 1 AND ended_at IS NOT NULL"
        while not rows(bench.path, first):
            await bench.outbox.gates()
        await dispatcher.stop(GRACE, asyncio.Event())
        assert rows(bench.path, first) == [("the rules file was changed before anything was sent",)]
        assert [state for state, _ in bench.states()] == ["queued"]
        assert room.requests == []


async def test_what_is_cut_off_at_a_stop_is_queued_again_and_noted_as_maybe_delivered(
    tmp_path: Path,
) -> None:
    async with HttpServer(HANG) as room, a_bench(tmp_path, room) as bench:
        await bench.queue(1)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await room.received(1)
        await dispatcher.stop(0, asyncio.Event())
        assert bench.states() == [("queued", "the relay was stopped before the answer")]
        assert rows(bench.path, "SELECT number, ending FROM attempts") == [(1, "maybe delivered")]


async def test_what_is_cut_off_at_a_stop_is_left_to_a_person_where_the_rules_say_hold(
    tmp_path: Path,
) -> None:
    async with (
        HttpServer(HANG) as room,
        a_bench(tmp_path, room, when_unsure=WhenUnsure.HOLD) as bench,
    ):
        await bench.queue(1)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await room.received(1)
        await dispatcher.stop(0, asyncio.Event())
        assert bench.states() == [("maybe delivered", "the relay was stopped before the answer")]


@pytest.mark.parametrize("when_unsure", [None, *WhenUnsure])
async def test_what_nothing_was_sent_of_is_given_back_at_a_stop_and_not_blamed(
    tmp_path: Path, when_unsure: WhenUnsure | None
) -> None:
    """Whatever the rules say of a lost answer: none was lost. And nobody waits for it."""
    rendering = asyncio.Event()

    async def never(delivery: Delivery, destination: Destination, *, bodies: bool) -> Notification:
        rendering.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with HttpServer() as room, a_bench(tmp_path, room, when_unsure=when_unsure) as bench:
        await bench.queue(1)
        dispatcher = bench.dispatcher(render=never)
        dispatcher.start()
        await rendering.wait()
        await asyncio.wait_for(dispatcher.stop(1e6, asyncio.Event()), GRACE)
        assert bench.states() == [("queued", "the relay was stopped before anything was sent")]
        assert rows(bench.path, "SELECT failures, unsure, suspect FROM deliveries") == [(0, 0, 0)]
        assert rows(bench.path, "SELECT number, ending FROM attempts") == [(1, "later")]
        assert bench.lane.in_flight == 0
        assert room.requests == []


async def test_what_is_being_sent_at_a_stop_is_waited_for_and_what_is_not_is_not_begun(
    tmp_path: Path,
) -> None:
    may_answer = asyncio.Event()
    async with HttpServer(HttpAnswer(after=may_answer)) as room, a_bench(tmp_path, room) as bench:

        async def one_only(
            delivery: Delivery, destination: Destination, *, bodies: bool
        ) -> Notification:
            if delivery.chat != "1":
                await asyncio.Event().wait()
            return await plainly(delivery, destination, bodies=bodies)

        for chat in (1, 2):
            await bench.queue(chat)
        dispatcher = bench.dispatcher(render=one_only)
        dispatcher.start()
        await room.received(1)
        stopping = asyncio.create_task(dispatcher.stop(GRACE, asyncio.Event()))
        while bench.states()[1][0] != "queued":
            await bench.outbox.gates()
        may_answer.set()
        await stopping
        assert bench.states() == [
            ("delivered", "Slack answered ok"),
            ("queued", "the relay was stopped before anything was sent"),
        ]


async def test_how_many_were_sent_and_not_answered_at_a_stop_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with HttpServer(HANG, HANG) as room, a_bench(tmp_path, room) as bench:
        for chat in (1, 2):
            await bench.queue(chat)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await room.received(2)
        await dispatcher.stop(0, asyncio.Event())
    assert "messages that were sent and not answered, and may arrive twice: 2" in caplog.text


async def test_an_attempt_that_has_ended_is_written_down_at_a_stop_though_the_disk_is_slow(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        await bench.queue(1)
        locking = sqlite3.connect(bench.path, isolation_level=None)

        def lock(_: HttpRequest) -> HttpAnswer:
            locking.execute("BEGIN IMMEDIATE")
            return HttpAnswer()

        room.usual = lock
        dispatcher = bench.dispatcher()
        dispatcher.start()
        with logged("delivered") as ended:
            await asyncio.wait_for(ended.wait(), GRACE)
        stopping = asyncio.create_task(dispatcher.stop(0, asyncio.Event()))
        await asyncio.sleep(0)
        locking.execute("ROLLBACK")
        locking.close()
        await stopping
        assert bench.states() == [("delivered", "Slack answered ok")]


async def test_what_was_under_way_when_the_relay_died_is_not_sent_again_where_the_rules_say_hold(
    tmp_path: Path,
) -> None:
    async with (
        HttpServer() as room,
        a_bench(tmp_path, room, when_unsure=WhenUnsure.HOLD) as bench,
    ):
        await bench.queue(1)
        await bench.outbox.claim("room", now=NOON, lease=timedelta(minutes=1), limit=1, suspects=1)
        await bench.outbox.expire_leases(NOON + timedelta(minutes=2))
        await bench.queue(2)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await room.received(1)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert len(room.requests) == 1
        assert bench.states() == [
            ("maybe delivered", HELD_BACK),
            ("delivered", "Slack answered ok"),
        ]
        assert rows(bench.path, "SELECT number, ending FROM attempts WHERE delivery_id = 1") == [
            (1, "lost"),
            (2, "maybe delivered"),
        ]


async def test_nothing_new_is_claimed_after_a_stop(tmp_path: Path) -> None:
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await dispatcher.stop(GRACE, asyncio.Event())
        await bench.queue(1)
        dispatcher.wake(["room", "a room that nobody knows"])
        assert bench.states() == [("queued", "")]
        assert room.requests == []


async def test_a_clock_that_is_set_back_delays_nothing(tmp_path: Path) -> None:
    """CR-13: not what is queued since, on a paced way, and not what waits for its next try."""
    clock = SetClock()
    async with (
        HttpServer(HttpAnswer(status=408)) as room,
        a_bench(tmp_path, room, rates=(Rate(1),), clock=clock) as bench,
    ):
        await bench.queue(1)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        while rows(bench.path, "SELECT ending FROM attempts") != [("later",)]:
            await bench.outbox.gates()  # anything that lets it work
        clock.now -= timedelta(hours=2)
        await bench.queue(2)
        dispatcher.wake(["room"])
        await room.received(2)
        clock.now += timedelta(seconds=1)
        dispatcher.wake(["room"])
        await room.received(3)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert [state for state, _ in bench.states()] == ["delivered"] * 2


async def test_what_a_wrong_clock_put_off_for_a_year_goes_out_at_the_next_start(
    tmp_path: Path,
) -> None:
    clock = SetClock()
    async with HttpServer() as room, a_bench(tmp_path, room, clock=clock) as bench:
        clock.now += timedelta(days=400)
        await bench.queue(1)
        clock.now -= timedelta(days=400)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await room.received(1)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert [state for state, _ in bench.states()] == ["delivered"]


async def test_what_is_being_sent_is_not_taken_up_again_though_the_clock_jumps_ahead(
    tmp_path: Path,
) -> None:
    clock = SetClock()
    async with HttpServer(HANG) as room, a_bench(tmp_path, room, clock=clock) as bench:
        await bench.queue(1)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await room.received(1)
        clock.now += timedelta(days=400)
        await dispatcher.take_back()
        assert [state for state, _ in bench.states()] == ["sending"]
        await dispatcher.stop(0, asyncio.Event())
        assert len(room.requests) == 1


@pytest.mark.parametrize("most", [1, 3])
async def test_never_more_are_under_way_than_the_transport_can(tmp_path: Path, most: int) -> None:
    async with (
        HttpServer(usual=HANG) as room,
        a_bench(tmp_path, room) as bench,
    ):
        others = range(most - TRANSPORTS["slack"].max_concurrency, 0)
        bench.lane.claimed([a_delivery(id=number) for number in others], NOON)
        for chat in range(most + 2):
            await bench.queue(chat)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await room.received(most)
        await dispatcher.stop(0, asyncio.Event())
        assert len(room.requests) == most


async def test_what_follows_is_claimed_while_an_outcome_is_being_written_down(
    tmp_path: Path,
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def hold_up(_: object) -> None:
        begun.set()
        goes_on.wait(GRACE)

    async with HttpServer() as room, a_bench(tmp_path, room, clock=TickingClock()) as bench:

        def answer(_: HttpRequest) -> HttpAnswer:
            if not held_up:
                held_up.append(asyncio.ensure_future(bench.outbox.run(hold_up)))
            return HttpAnswer()

        held_up: list[asyncio.Future[None]] = []
        room.usual = answer
        others = range(1 - TRANSPORTS["slack"].max_concurrency, 0)
        bench.lane.claimed([a_delivery(id=number) for number in others], NOON)
        await bench.queue(1)
        await bench.queue(2)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await room.received(1)
        assert await asyncio.to_thread(begun.wait, GRACE)
        async with asyncio.timeout(GRACE):
            while not bench.lane.is_claiming:  # noqa: ASYNC110 - a lane tells nobody
                await asyncio.sleep(0)
        assert bench.states() == [("sending", ""), ("queued", "")]
        goes_on.set()
        await room.received(2)
        await dispatcher.stop(GRACE, asyncio.Event())
        await asyncio.gather(*held_up)
        assert bench.states() == [("delivered", "Slack answered ok")] * 2


async def test_of_those_that_were_under_way_at_a_crash_one_is_tried_at_a_time(
    tmp_path: Path,
) -> None:
    async with HttpServer(HANG) as room, a_bench(tmp_path, room) as bench:
        await bench.queue(1)
        await bench.queue(2)
        await bench.outbox.claim("room", now=NOON, lease=timedelta(), limit=2)
        assert await bench.outbox.expire_leases(NOON) == 2
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await room.received(1)
        await bench.queue(3)
        dispatcher.wake(["room"])
        await room.received(2)
        # Another chat goes by; the second of them waits for the first.
        assert rows(bench.path, "SELECT state FROM deliveries WHERE id = 2") == [("queued",)]
        await dispatcher.stop(0, asyncio.Event())


async def test_what_a_lane_that_keeps_up_gets_is_sent_after_one_commit(tmp_path: Path) -> None:
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await bench.keeps_up()
        accepted = await dispatcher.accept(bench.hook(1))
        assert [one.attempt for one in accepted.claimed] == [1]
        assert accepted.destinations == ("room",)
        await room.received(1)
        await bench.keeps_up()
        again = await dispatcher.accept(bench.hook(1))
        assert (again.new, bench.lane.reserved) == (False, 0)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [("delivered", "Slack answered ok")]
        assert len(room.requests) == 1


async def test_a_message_is_rendered_while_its_hook_is_being_written_down(tmp_path: Path) -> None:
    rendered = asyncio.Event()
    renderings = []

    async def render(delivery: Delivery, destination: Destination, *, bodies: bool) -> Notification:
        renderings.append(delivery.chat)
        rendered.set()
        return await plainly(delivery, destination, bodies=bodies)

    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        dispatcher = bench.dispatcher(render=render)
        dispatcher.start()
        await bench.keeps_up()
        with bench.locked():
            accepting = asyncio.create_task(dispatcher.accept(bench.hook(1)))
            await asyncio.wait_for(rendered.wait(), GRACE)
            assert bench.states() == []
        assert len((await accepting).claimed) == 1
        await room.received(1)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [("delivered", "Slack answered ok")]
        assert renderings == ["1"]


async def test_what_was_rendered_for_a_hook_that_can_not_be_kept_is_sent_when_it_is_kept(
    tmp_path: Path,
) -> None:
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await bench.keeps_up()
        await waits_briefly_for_the_lock(bench.outbox)
        with bench.locked(), pytest.raises(StorageUnavailable):
            await dispatcher.accept(bench.hook(1))
        assert bench.states() == []
        await dispatcher.accept(bench.hook(1))
        await room.received(1)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [("delivered", "Slack answered ok")]
        assert len(room.requests) == 1


async def test_what_comes_while_a_claim_is_under_way_waits_for_its_turn(tmp_path: Path) -> None:
    """The oldest goes first; and before the first look nobody knows what waits."""
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        await bench.queue(1)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        accepted = await dispatcher.accept(bench.hook(2))
        assert (accepted.claimed, accepted.destinations) == ((), ("room",))
        await room.received(2)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert [state for state, _ in bench.states()] == ["delivered"] * 2


async def test_more_than_may_be_under_way_are_queued_and_follow(tmp_path: Path) -> None:
    most = TRANSPORTS["slack"].max_concurrency
    async with HttpServer(*[HANG] * most) as room, a_bench(tmp_path, room) as bench:
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await bench.keeps_up()
        accepted = await asyncio.gather(
            *(dispatcher.accept(bench.hook(chat)) for chat in range(most + 2))
        )
        assert sum(len(one.claimed) for one in accepted) == most
        assert (bench.lane.in_flight, bench.lane.reserved) == (most, 0)
        await room.received(most)
        assert len(room.requests) == most
        await dispatcher.stop(0, asyncio.Event())
        assert [state for state, _ in bench.states()] == ["queued"] * (most + 2)


async def test_hooks_that_come_at_once_keep_a_pace_and_one_that_is_known_does_not_use_it_up(
    tmp_path: Path,
) -> None:
    clock = SetClock()
    async with (
        HttpServer() as room,
        a_bench(tmp_path, room, rates=(Rate(1),), clock=clock) as bench,
    ):
        await bench.queue(1)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await room.received(1)
        await bench.keeps_up()
        clock.now += timedelta(seconds=1)
        known = await asyncio.gather(*(dispatcher.accept(bench.hook(1)) for _ in range(3)))
        assert {one.new for one in known} == {False}
        accepted = await asyncio.gather(*(dispatcher.accept(bench.hook(n)) for n in (2, 3, 4)))
        assert sum(len(one.claimed) for one in accepted) == 1
        for sent in (3, 4):
            await room.received(sent - 1)
            assert len(room.requests) == sent - 1
            clock.now += timedelta(seconds=1)
            dispatcher.wake(["room"])
        await room.received(4)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [("delivered", "Slack answered ok")] * 4


async def test_what_was_claimed_for_a_caller_that_has_gone_is_sent_all_the_same(
    tmp_path: Path,
) -> None:
    """The database was slow, and its sender was answered 503."""
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await bench.keeps_up()
        with bench.locked():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(dispatcher.accept(bench.hook(1)), 0)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(dispatcher.accept(bench.hook(2)), 0.01)
        await room.received(1)
        await bench.keeps_up()
        assert bench.lane.reserved == 0
        await dispatcher.stop(GRACE, asyncio.Event())
        assert ("sending", "") not in bench.states()
        assert len(room.requests) == len(bench.states())


async def test_a_hook_that_cannot_be_kept_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        await waits_briefly_for_the_lock(bench.outbox)
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await bench.keeps_up()
        with bench.locked(), pytest.raises(StorageUnavailable):
            await dispatcher.accept(bench.hook(1))
        assert (bench.lane.in_flight, bench.lane.reserved) == (0, 0)
        # Until a claim has worked, what comes is only queued.
        assert (await dispatcher.accept(bench.hook(2))).claimed == ()
        await room.received(1)
        await bench.keeps_up()
        assert bench.lane.reserved == 0
        await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [("delivered", "Slack answered ok")]


async def test_what_is_claimed_while_the_rules_change_goes_the_way_that_it_was_claimed_for(
    tmp_path: Path,
) -> None:
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await bench.keeps_up()
        later = Lane(
            bench.lane.destination, bench.lane.spec, bench.lane.transport, Endpoint("room")
        )
        with bench.locked():
            accepting = asyncio.create_task(dispatcher.accept(bench.hook(1)))
            await asyncio.sleep(0)
            changing = asyncio.create_task(dispatcher.change({"room": later}))
            await asyncio.sleep(0)
            assert not changing.done()
        assert len((await accepting).claimed) == 1
        # Not sooner: the connections of the old way are closed after it.
        await changing
        await room.received(1)
        await dispatcher.accept(bench.hook(2))
        await room.received(2)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [("delivered", "Slack answered ok")] * 2
        assert (bench.lane.in_flight, bench.lane.reserved) == (0, 0)
        assert (later.in_flight, later.reserved) == (0, 0)


async def test_what_is_claimed_for_a_destination_that_goes_is_sent(tmp_path: Path) -> None:
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await bench.keeps_up()
        with bench.locked():
            accepting = asyncio.create_task(dispatcher.accept(bench.hook(1)))
            await asyncio.sleep(0)
            changing = asyncio.create_task(dispatcher.change({}))
            await asyncio.sleep(0)
        await asyncio.gather(accepting, changing)
        await room.received(1)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [("delivered", "Slack answered ok")]


async def test_what_is_claimed_while_the_relay_stops_is_not_left_as_if_it_were_sent(
    tmp_path: Path,
) -> None:
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await bench.keeps_up()
        with bench.locked():
            accepting = asyncio.create_task(dispatcher.accept(bench.hook(1)))
            await asyncio.sleep(0)
            stopping = asyncio.create_task(dispatcher.stop(GRACE, asyncio.Event()))
            await asyncio.sleep(0)
        await asyncio.gather(accepting, stopping)
        assert bench.states() == [("queued", "the relay was stopped before anything was sent")]
        assert bench.lane.in_flight == 0
        assert (await dispatcher.accept(bench.hook(2))).claimed == ()


async def test_what_is_claimed_while_its_gate_closes_is_settled_and_the_gate_holds(
    tmp_path: Path,
) -> None:
    async with HttpServer() as room, a_bench(tmp_path, room) as bench:
        dispatcher = bench.dispatcher()
        dispatcher.start()
        await bench.keeps_up()
        with bench.locked():
            accepting = asyncio.create_task(dispatcher.accept(bench.hook(1)))
            await asyncio.sleep(0)
            bench.lane.adopt(Gate(NOON + timedelta(hours=1), None, "429"))
        assert len((await accepting).claimed) == 1
        await room.received(1)
        assert (await dispatcher.accept(bench.hook(2))).claimed == ()
        await dispatcher.stop(GRACE, asyncio.Event())
        assert [state for state, _ in bench.states()] == ["delivered", "queued"]
        assert (bench.lane.in_flight, bench.lane.reserved) == (0, 0)


async def test_an_attempt_that_began_under_other_rules_says_nothing_about_the_present_ones(
    tmp_path: Path,
) -> None:
    revoked = HttpAnswer(status=404, body="no_service")
    async with HttpServer(revoked) as room, a_bench(tmp_path, room) as bench:
        fixed = Lane(
            bench.lane.destination, bench.lane.spec, bench.lane.transport, Endpoint("room")
        )
        changed: list[Lane] = []

        async def meanwhile(
            delivery: Delivery, destination: Destination, *, bodies: bool
        ) -> Notification:
            if not changed:
                changed.append(fixed)
                await dispatcher.change({"room": fixed})
            return await plainly(delivery, destination, bodies=bodies)

        dispatcher = bench.dispatcher(render=meanwhile)
        await bench.queue(1)
        dispatcher.start()
        await room.received(2)
        await dispatcher.stop(GRACE, asyncio.Event())
        assert bench.states() == [("delivered", "Slack answered ok")]
        assert rows(bench.path, "SELECT * FROM gates") == []
        assert fixed.gate is None


@pytest.mark.long
async def test_what_was_not_begun_when_its_lease_ended_is_not_sent_by_that_attempt(
    tmp_path: Path, cluster: PostgresCluster
) -> None:
    clock, name = MovableClock(), cluster.new_database()
    late: list[int] = []

    async def slowly(delivery: Delivery, destination: Destination, *, bodies: bool) -> Notification:
        if not late:  # as if the process had stood still: another relay may have it by now
            late.append(delivery.id)
            clock.forward(minutes=1)
        return await plainly(delivery, destination, bodies=bodies)

    database = server(cluster.url(name))
    async with (
        HttpServer() as room,
        a_bench(tmp_path, room, clock=clock, database=database) as bench,
    ):
        living = asyncio.create_task(
            bench.outbox.share_database(clock=clock, wake=lambda _: None, see_gates=lambda _: None)
        )
        await bench.queue(1)
        dispatcher = bench.dispatcher(render=slowly)
        dispatcher.start()
        await room.received(1)
        await dispatcher.stop(GRACE, asyncio.Event())
        living.cancel()
        await asyncio.wait([living])
    tried = cluster.rows(name, "SELECT ending, detail FROM attempts ORDER BY number")
    assert [ending for ending, _ in tried] == ["later", "delivered"]
    assert "nothing was sent" in tried[0][1]
    assert len(room.requests) == 1
