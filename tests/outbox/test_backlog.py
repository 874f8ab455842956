"""After an outage thousands may wait for one destination: they are sent oldest first, and what is new is not last."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from relay.delivery.endpoint import Endpoint
from relay.delivery.lane import Lane
from relay.destination import Destination, Rate, TransportSpec
from relay.notification import Notification
from relay.outbox import Outbox
from relay.transports import Ending, Identity, Outcome
from tests.builders import NOON, later
from tests.outbox.hooks import DELIVERED, LEASE, TRY_LATER, a_new_hook, claim_one

AN_OUTAGE = 30
"""Chats that came while the desk was down, one each minute."""


class Nowhere:
    """A transport that is never asked."""

    objection = ""

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:
        raise AssertionError

    async def connect(self) -> Outcome:
        raise AssertionError


@dataclass(slots=True)
class Paced:
    """A desk that takes one each second, and a clock that goes from one to the next."""

    outbox: Outbox
    now: datetime
    sent: list[tuple[int, float]] = field(default_factory=list)
    """Each chat, and how many seconds after the outage it was sent."""
    lane: Lane = field(init=False)
    began: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.now
        desk = Destination(name="desk", transport="post", options={}, rates=(Rate(1),))
        spec = TransportSpec(name="post", doc="", options={}, option_sets=())
        self.lane = Lane(desk, spec, Nowhere(), Endpoint("desk"))
        self.lane.falls_due(self.now)

    async def queue(self, chat: int) -> None:
        await self.outbox.accept(a_new_hook(chat, at=self.now))
        self.lane.falls_due(self.now)

    async def send(self, count: int) -> None:
        """As the dispatcher does: look when the lane wakes, claim as many as may go, settle them."""
        for _ in range(count):
            wakes_at = self.lane.wakes_at(self.now)
            assert wakes_at is not None
            self.now = max(self.now, wakes_at)
            limit = self.lane.slots(self.now)
            claim = await self.outbox.claim(
                "desk",
                now=self.now,
                lease=LEASE,
                limit=limit,
                prefer_due_after=self.lane.claim_begins(self.now),
            )
            self.lane.claim_ended(claim.next_due)
            self.lane.claimed(claim.deliveries, self.now)
            for delivery in claim.deliveries:
                self.sent.append((int(delivery.chat), (self.now - self.began).total_seconds()))
                await self.outbox.settle(delivery, DELIVERED)
                self.lane.learn(delivery, Outcome(Ending.DELIVERED, ""), self.now)
                self.lane.ended(delivery)


async def after_an_outage(outbox: Outbox) -> Paced:
    """Chats 1, 2, ... wait. The first two were tried, and would wait for hours by the schedule."""
    for chat in range(1, AN_OUTAGE + 1):
        await outbox.accept(a_new_hook(chat, at=later(minutes=chat)))
    tried = [await claim_one(outbox, at=3600) for _ in range(2)]
    for delivery in tried:
        await outbox.settle(delivery, TRY_LATER)
    back = later(hours=2)
    await outbox.hasten("desk", back)
    return Paced(outbox, back)


async def test_a_backlog_goes_out_oldest_first_at_the_pace(outbox: Outbox) -> None:
    desk = await after_an_outage(outbox)
    await desk.send(AN_OUTAGE)
    assert desk.sent == [(chat, chat - 1.0) for chat in range(1, AN_OUTAGE + 1)]
    assert desk.lane.next_due is None


async def test_a_chat_that_comes_during_a_backlog_goes_out_with_the_second_next(
    outbox: Outbox,
) -> None:
    desk = await after_an_outage(outbox)
    for new in (101, 102, 103):
        await desk.send(5)
        await desk.queue(new)
    await desk.send(AN_OUTAGE + 3 - 15)
    order = [chat for chat, _ in desk.sent]
    assert [chat for chat in order if chat <= AN_OUTAGE] == list(range(1, AN_OUTAGE + 1))
    for number, new in enumerate((101, 102, 103), 1):
        assert order.index(new) <= 5 * number + 1
    assert [at for _, at in desk.sent] == [float(second) for second in range(AN_OUTAGE + 3)]


async def test_more_new_ones_than_the_pace_allows_do_not_stop_the_backlog(outbox: Outbox) -> None:
    desk = await after_an_outage(outbox)
    for new in range(20):
        await desk.queue(100 + 2 * new)
        await desk.queue(101 + 2 * new)
        await desk.send(1)
    order = [chat for chat, _ in desk.sent]
    assert [chat for chat in order if chat <= AN_OUTAGE] == list(range(1, 11))
    assert [chat for chat in order if chat >= 100] == list(range(100, 110))


async def test_without_a_backlog_the_first_to_come_is_the_first_to_go(outbox: Outbox) -> None:
    desk = Paced(outbox, NOON)
    for chat in range(1, 9):
        await desk.queue(chat)
    await desk.send(8)
    assert [chat for chat, _ in desk.sent] == list(range(1, 9))


async def test_after_a_blip_only_what_failed_once_is_tried_at_once(outbox: Outbox) -> None:
    for chat in (1, 2):
        await outbox.accept(a_new_hook(chat))
        await outbox.settle(await claim_one(outbox), TRY_LATER)
    await outbox.settle(await claim_one(outbox, at=31), TRY_LATER)
    soon = NOON + timedelta(seconds=20)
    await outbox.hasten("desk", soon, blips=True)
    claim = await outbox.claim("desk", now=soon, lease=LEASE, limit=9)
    assert [(one.chat, one.failures) for one in claim.deliveries] == [("2", 1)]


async def test_what_the_far_end_asked_to_wait_waits_though_another_passes(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook(1))
    asked = replace(TRY_LATER, due_at=NOON + timedelta(minutes=5))
    await outbox.settle(await claim_one(outbox), asked)
    soon = NOON + timedelta(seconds=20)
    await outbox.hasten("desk", soon, blips=True)
    claim = await outbox.claim("desk", now=soon, lease=LEASE, limit=9)
    assert (claim.deliveries, claim.next_due) == ((), NOON + timedelta(minutes=5))
