"""Maintains the database: erases old chats, gives room back to the disk, and notices what other processes write.

A clock that was set ahead would make all chats look old, so it must be trusted first.
"""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from relay.chat import Visitor
from relay.clock import Background, Clock
from relay.crash_points import CrashPoint, reach
from relay.outbox import Outbox
from relay.outbox.delivery_types import State, StorageUnavailable, from_ms, keys_of, to_ms
from relay.outbox.schema import (
    HAS_NO_KEYS,
    chats,
    deliveries,
    digests,
    hook_bodies,
    hooks,
    set_aside,
)
from relay.outbox.statements import Statement, is_queued, is_scheduled, is_sending
from relay.outbox.troubles import Troubles
from relay.outbox.unsent_counts import LAST_HOOK
from relay.outbox.writer import Cursor
from relay.smartsupp import UnreadableHook, read_chat

AT_ONCE = 50
"""Hooks read or written per transaction: about 1 ms, for which a new hook may have to wait."""
PAUSE = 0.05
"""Seconds between two transactions, which leaves most of the processor to new hooks."""

_FIND = (
    sa.select(hooks.c.id, hook_bodies.c.body)
    .join(hook_bodies, hook_bodies.c.hook_id == hooks.c.id)
    .where(sa.text(HAS_NO_KEYS))
    .order_by(hooks.c.id)
    .limit(AT_ONCE)
)
_GIVE = (
    sa.update(hooks)
    .where(hooks.c.id == sa.bindparam("hook"))
    .values(email_key=sa.bindparam("email"), visitor_key=sa.bindparam("visitor"))
)


async def give_keys(outbox: Outbox) -> int:
    """Give every stored hook its visitor's keys; returns how many got them. Raises StorageUnavailable."""
    find, give = Statement(_FIND, outbox.dialect), Statement(_GIVE, outbox.dialect)
    count = 0
    while page := await outbox.run(lambda cursor: find.run(cursor).fetchall()):
        rows = await asyncio.to_thread(_keys, page)
        await outbox.run(partial(give.run_many, rows=rows))
        count += len(rows)
        await asyncio.sleep(PAUSE)
    return count


def _keys(page: Sequence[tuple[int, bytes]]) -> list[dict[str, Any]]:
    hook_keys = ((hook, keys_of(_visitor(body))) for hook, body in page)
    return [
        {"hook": hook, "email": keys["email_key"], "visitor": keys["visitor_key"]}
        for hook, keys in hook_keys
    ]


def _visitor(body: bytes) -> Visitor:
    try:
        return read_chat(zlib.decompress(body)).visitor
    except UnreadableHook:  # an older relay could read it
        return Visitor()


LONGEST_GAP = timedelta(days=7)
"""The longest time between two looks at the clock. After a longer one it was set ahead, or the relay was off."""
DOUBT = timedelta(days=1)
"""How long a doubted clock must go on from there before it is trusted."""
TRUSTED, DOUBTED = "clock trusted", "clock doubted"
"""Names of times in the table `marks`: when the clock was trusted last, and since when it is doubted."""


async def doubt_about(now: datetime, outbox: Outbox) -> str:
    """Why the clock can't be trusted, as a sentence; empty if it can. Stores the result for the next call."""
    return await outbox.run(partial(_doubt, outbox=outbox, now=now))


def _doubt(cursor: Cursor, *, outbox: Outbox, now: datetime) -> str:
    store = Troubles(outbox.operations.sql)
    marks = store.marks(cursor)
    last_look = marks.get(TRUSTED) or _last_hook(cursor, outbox) or now
    since = marks.get(DOUBTED, now)
    if not now - LONGEST_GAP <= since <= now:
        since = now
    trusted = now - last_look <= LONGEST_GAP or now - since >= DOUBT
    store.set_mark(cursor, DOUBTED, now if trusted else since)
    if trusted:
        store.set_mark(cursor, TRUSTED, now)
        return ""
    jump = f"the clock went {(now - last_look).days} days ahead since the relay last looked at it"
    return (
        f"{jump}; if it is right, old chats are erased from {since + DOUBT:%Y-%m-%d %H:%M} UTC on"
    )


def _last_hook(cursor: Cursor, outbox: Outbox) -> datetime | None:
    row = outbox.operations.sql[LAST_HOOK].run(cursor).fetchone()
    return from_ms(row[0]) if row else None


BETWEEN_ROUNDS = timedelta(hours=1)
BETWEEN_LOOKS = timedelta(seconds=2)
"""How soon a delivery that a command queues is noticed. One check costs some 20 microseconds."""
A_DAY = timedelta(days=1)
"""The first round after a start erases the chats of one day only, so that a wrong clock can still be noticed."""
CHATS_AT_ONCE = 50
"""Chats erased per transaction: about 2 ms, for which a hook may have to wait."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LastRound:
    """When the last search for old chats ended, and how many were erased since the start."""

    at: datetime | None = None
    chats: int = 0
    hooks_set_aside: int = 0
    waits: str = ""
    """Why nothing is erased at present, as a sentence; empty where it is."""


class Retention:
    """Background loops: erase old chats, give room back to the disk, and notice what other processes have written."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        keep_for: timedelta | None,
        clock: Clock,
        look_again: Callable[[], Awaitable[None]],
        erased: Callable[[int], None],
        between_looks: timedelta | None = None,
    ) -> None:
        """`keep_for`: how long a chat is kept after its last hook; None: for ever.

        `erased` gets the number of erased chats. `look_again` finds what others have queued; it is called each
        `between_looks`.
        """
        self._outbox = outbox
        self._keep_for = keep_for
        self._clock = clock
        self._look_again = look_again
        self._erased = erased
        self._looks = between_looks or BETWEEN_LOOKS
        self._erasing = _Erasing(outbox)
        self._background = Background()
        self._hangs = self._given_back = self._has_erased = False
        self._giving_back = asyncio.Lock()
        self.last_round = LastRound()

    def start(self) -> None:
        """Begin the loops, with a first round at once. Needs a running event loop."""
        self._background.start(
            _repeat(self._notice_others, self._looks),
            _repeat(self._notice_hang, BETWEEN_LOOKS),
            _repeat(self._give_keys, BETWEEN_ROUNDS),
        )
        if self._keep_for is not None:
            self._background.start(_repeat(self._forget, BETWEEN_ROUNDS))

    async def stop(self) -> None:
        """End the erasing and all other upkeep."""
        await self._background.stop()

    async def _notice_hang(self) -> None:
        before, self._hangs = self._hangs, self._outbox.is_stalled()
        if self._hangs and not before:
            log.error(
                "the database does not answer: its disk or its server hangs; hooks are refused"
            )
        if before and not self._hangs:
            log.warning("the database answers again")

    async def _give_keys(self) -> None:
        if count := await give_keys(self._outbox):
            log.info("hooks of an older relay that can be found by their visitors now: %d", count)

    async def _notice_others(self) -> None:
        if not self._outbox.has_room():
            await self._outbox.make_room()
        if await self._outbox.others_wrote():
            self._given_back = False  # it may have been `relay erase`
            await self._look_again()
        await self._give_back()

    async def _give_back(self) -> None:
        """Remove erased rows from free pages and from the log, also those erased before the start. Repeated while others read."""
        async with self._giving_back:
            if not self._given_back:
                self._given_back = await self._outbox.give_back()

    async def _forget(self) -> None:
        if self._keep_for is None:
            return
        now = self._clock()
        if waits := await doubt_about(now, self._outbox):
            if not self.last_round.waits:
                log.warning("no old chats are erased: %s", waits)
            self.last_round = replace(self.last_round, waits=waits)
            return
        before = now - self._keep_for
        erased, aside = await self._erasing.before(before, None if self._has_erased else A_DAY)
        self._has_erased = True
        self._given_back = self._given_back and not (erased or aside)
        await self._give_back()
        last = self.last_round
        self.last_round = LastRound(
            self._clock(), last.chats + erased, last.hooks_set_aside + aside
        )
        self._erased(erased)
        if erased or aside:
            message = "erased all from before %s: chats %d, unreadable posts %d"
            log.info(message, before.date(), erased, aside)


async def _repeat(act: Callable[[], Any], pause: timedelta) -> None:
    """Call `act` now and after each pause, for ever. An error is logged and does not end it."""
    while True:
        try:
            await act()
        except StorageUnavailable:
            pass  # the writer has logged it
        except Exception:
            log.exception("retention failed; going on")
        await asyncio.sleep(pause.total_seconds())


def _digest_waits(digest: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """A condition: whether a digest's delivery, or a fallback of it, waits or is being sent."""
    its, first, last = digests.alias("its"), deliveries.alias("first"), deliveries.alias("last")
    return sa.exists().where(
        its.c.id == digest,
        first.c.id == its.c.delivery_id,
        last.c.chat_id == first.c.chat_id,
        last.c.state.in_(sa.literal_column(f"'{each}'") for each in (State.QUEUED, State.SENDING)),
    )


class _Erasing:
    """Erases old chats with all that belongs to them, but none for which a delivery still waits."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        batch = (
            sa.select(chats.c.id, chats.c.first_seen)
            .where(chats.c.id > sa.bindparam("after"))
            .order_by(chats.c.id)
            .limit(sa.bindparam("at_once"))
            .subquery()
        )
        bounds = sa.select(sa.func.max(batch.c.id), sa.func.min(batch.c.first_seen))
        before: sa.BindParameter[int] = sa.bindparam("before")
        oldest_aside = sa.select(sa.func.min(set_aside.c.received_at))
        aside = sa.delete(set_aside).where(set_aside.c.received_at < before)
        past = sa.delete(digests).where(digests.c.closed_at < before, ~_digest_waits(digests.c.id))
        self._bounds, self._oldest_aside, self._erase_aside, self._erase_digests = (
            Statement(construct, outbox.dialect)
            for construct in (bounds, oldest_aside, aside, past)
        )

    def _find_old(self, names: Collection[str]) -> None:
        """Build the statements. `names`: destinations in the rules; old deliveries scheduled for others do not keep a chat."""
        is_gone = sa.and_(
            deliveries.c.due_at < sa.bindparam("before") if names else sa.false(),
            *(
                deliveries.c.destination != sa.bindparam(f"destination_{number}", name)
                for number, name in enumerate(names)
            ),
        )
        waits = sa.or_(
            *(is_queued, is_sending, sa.and_(is_scheduled, ~is_gone)),
            _digest_waits(deliveries.c.digest_id),
        )
        old = (
            *(chats.c.id > sa.bindparam("after"), chats.c.id <= sa.bindparam("last")),
            chats.c.last_seen < sa.bindparam("before"),
            ~sa.exists().where(deliveries.c.chat_id == chats.c.id, waits),
        )
        oldest, erase = sa.select(sa.func.min(chats.c.last_seen)), sa.delete(chats)
        self._oldest = Statement(oldest.where(*old), self._outbox.dialect)
        self._erase = Statement(erase.where(*old), self._outbox.dialect)

    async def before(self, moment: datetime, most: timedelta | None) -> tuple[int, int]:
        """Erase chats and unreadable hooks older than `moment`; returns both counts. `most`: only those within this time after the oldest."""
        self._find_old(self._outbox.operations.waits.timings.keys())
        limit, erased = to_ms(moment), 0
        last: int | None = 0
        while last is not None:
            batch = partial(self._batch, after=last, limit=limit, most=most)
            last, limit, count = await self._outbox.run(batch)
            erased += count
            if count:
                reach(CrashPoint.ERASED)
        return erased, await self._outbox.run(partial(self._aside, limit=to_ms(moment), most=most))

    def _batch(
        self,
        cursor: Any,  # noqa: ANN401
        *,
        after: int,
        limit: int,
        most: timedelta | None,
    ) -> tuple[int | None, int, int]:
        """Erase one batch. Returns the last chat's number (None at the end), the next batch's limit, and how many were erased."""
        last, oldest = self._bounds.run(cursor, after=after, at_once=CHATS_AT_ONCE).fetchone()
        # Chats are numbered as they come: where the oldest of many is too young, so are all that follow.
        if last is None or oldest >= limit:
            return None, limit, 0
        these = {"after": after, "last": last}
        (old,) = self._oldest.run(cursor, before=limit, **these).fetchone()
        limit = _within(most, old, limit)
        return last, limit, int(self._erase.run(cursor, before=limit, **these).rowcount)

    def _aside(self, cursor: Any, *, limit: int, most: timedelta | None) -> int:  # noqa: ANN401
        if most is None:
            self._erase_digests.run(cursor, before=limit)
        (old,) = self._oldest_aside.run(cursor).fetchone()
        return int(self._erase_aside.run(cursor, before=_within(most, old, limit)).rowcount)


def _within(most: timedelta | None, oldest: int | None, limit: int) -> int:
    if most is None or oldest is None:
        return limit
    return min(limit, oldest + most // timedelta(milliseconds=1))
