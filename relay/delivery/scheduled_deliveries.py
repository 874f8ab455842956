"""The loop that releases scheduled deliveries when their time comes, and plans them again when the rules change."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from msgspec import Struct

from relay.clock import Background, Clock
from relay.crash_points import CrashPoint, reach
from relay.delivery.endpoint import NO_MATTER
from relay.delivery.redirect import Redirect
from relay.outbox import Outbox, StorageUnavailable
from relay.outbox.delivery_types import from_ms
from relay.outbox.requeue import reassign, scheduled_for
from relay.outbox.scheduling import AT_ONCE, Act, DigestTimes, Done, Scheduling
from relay.outbox.statements import SERVER_TIME
from relay.outbox.writer import Cursor
from relay.timing.plan import Timing

LONGEST_REST = timedelta(seconds=2)
"""The longest time between two looks. It never sleeps longer, as a clock that is set or a suspended computer would make it late."""
JUMP = timedelta(hours=1)
"""If the clock goes ahead by more than this beyond the time that passed, what is due waits for the next look."""
DOUBTED_FOR = 3600.0
"""Seconds after which a clock that is behind the newest hook is trusted."""
BETWEEN_FORGETTING = 3600.0
"""Seconds between two deletions of old windows of limits."""
_EVER = datetime.max.replace(tzinfo=UTC)

log = logging.getLogger(__name__)


class _Glance(Struct, frozen=True):
    """The clock and what is due, read at the beginning of a look."""

    now: datetime
    """The time by the database's clock."""
    is_behind: bool
    next_due: datetime | None


class Release:
    """The loop for everything that happens at its time: deliveries whose hours begin, digests that are due, mutes that end."""

    def __init__(
        self,
        outbox: Outbox,
        acts: Sequence[Act],
        wake: Callable[[Iterable[str]], None],
        clock: Clock,
        *,
        redirect: Callable[[], Redirect],
        monotonic: Callable[[], float] = time.monotonic,
        rest: timedelta | None = None,
    ) -> None:
        """`acts` run after each release of due deliveries; `wake` gets the destinations with newly queued ones.

        `redirect` returns the redirections by the rules in force. `rest`: the longest time between two looks; None: LONGEST_REST.
        """
        self._outbox = outbox
        self._scheduling = Scheduling(outbox.operations.sql, outbox.operations.waits)
        self._acts = (self._scheduling.release, *acts)
        self._wake = wake
        self._clock = clock
        self._monotonic = monotonic
        self._redirect = redirect
        self._rest = rest or LONGEST_REST
        self._background = Background()
        self._woken = asyncio.Event()
        self._changed: set[str] | None = None
        """Destinations whose timing has changed; None: any may have."""
        self._has_new_rules = True
        """Whether deliveries may wait for recipients that are no longer in the rules."""
        self._last: tuple[datetime, float] | None = None
        self._doubted_since: float | None = None
        self._forgot_at = -BETWEEN_FORGETTING
        self.doubt = ""
        """Why nothing is released, as a sentence; empty where the clock can be trusted."""

    def start(self) -> None:
        """Begin to look for what is due. Needs a running event loop."""
        self._background.start(self._live())

    async def stop(self) -> None:
        """End looking; a look that is under way is cut off."""
        await self._background.stop()

    def look_now(self) -> None:
        """Look at once for what is due, because something was scheduled or changed."""
        self._woken.set()

    def change(self, timings: Mapping[str, Timing]) -> None:
        """Put these timings in force; deliveries that wait for a destination whose timing has changed are planned again."""
        waits = self._outbox.operations.waits
        before, waits.timings = waits.timings, timings
        waits.some |= any(timing.waits for timing in timings.values())
        changed = {name for name, timing in timings.items() if before.get(name) != timing}
        if self._changed is not None:
            self._changed |= changed
        self._has_new_rules = True
        self.look_now()

    async def _live(self) -> None:
        while True:
            self._woken.clear()
            rest = self._rest
            try:
                rest = await self.look()
            except StorageUnavailable:
                pass  # the writer has logged it
            except Exception:
                log.exception("looking for what is due failed; going on")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest.total_seconds()):
                    await self._woken.wait()

    async def look(self) -> timedelta:
        """Release what is due; returns how long to rest."""
        glance = await self._outbox.run(self._glance)
        if not self._trusts(glance):
            return self._rest
        await self._follow_recipients()
        await self._replan_changed()
        for act in self._acts:
            while await self._do(act):
                pass
        if self._monotonic() - self._forgot_at >= BETWEEN_FORGETTING:
            await self._outbox.run(lambda c: self._scheduling.forget_windows(c, self._now(c)))
            self._forgot_at = self._monotonic()
        glance = await self._outbox.run(self._glance)
        if glance.next_due is None or glance.next_due <= glance.now:
            return self._rest  # another relay releases it, or its destination is gone
        return min(self._rest, glance.next_due - glance.now)

    def _glance(self, cursor: Cursor) -> _Glance:
        now, scheduling = self._now(cursor), self._scheduling
        # Not on a server: hooks have the times of the relays' clocks, which may differ from the server's.
        is_behind = not self._outbox.is_shared and scheduling.is_behind(cursor, now)
        return _Glance(now, is_behind, scheduling.next_due(cursor))

    def _now(self, cursor: Cursor) -> datetime:
        """The present time; by the server's clock where relays share a database, as their own clocks differ."""
        if not self._outbox.is_shared:
            return self._clock()
        return from_ms(self._outbox.operations.sql[SERVER_TIME].run(cursor).fetchone()[0])

    async def _do(self, act: Act) -> bool:
        """Run one act; returns whether there is more to do at once."""
        return self._signal(await self._outbox.run(lambda cursor: act(cursor, self._now(cursor))))

    def _signal(self, done: Done) -> bool:
        if done.queued:
            reach(CrashPoint.RELEASED)
            self._wake(done.queued)
            self._outbox.notify_relays(done.queued)
        return done.more

    async def _follow_recipients(self) -> None:
        """Move deliveries that wait for former recipients of a destination to its present ones, and into their digests."""
        if not self._has_new_rules:
            return
        self._has_new_rules = False
        try:
            operations, redirect = self._outbox.operations, self._redirect()
            recipients = await self._outbox.run(partial(scheduled_for, operations))
            for name, waiting in recipients.items():
                if redirect.has_left(name, waiting):
                    await self._pass_on(name, redirect)
        except BaseException:
            self._has_new_rules = True
            raise

    async def _pass_on(self, destination: str, redirect: Redirect) -> None:
        after: int | None = 0
        while after is not None:
            work = partial(
                reassign,
                self._outbox.operations,
                destination=destination,
                to=lambda delivery: redirect.to_present(delivery) or (),
                queued_by=_EVER,
                words=f"{destination} no longer leads to this recipient; its present ones get it instead",
                now=self._clock(),
                after=after,
                scheduled=True,
                as_before=True,
            )
            after = (await self._outbox.run(work)).last

    async def _replan_changed(self) -> None:
        changed, self._changed = self._changed, set()
        if changed is not None and not changed:
            return
        try:
            numbers = await self._outbox.run(partial(self._scheduling.scheduled, of=changed))
            digests = DigestTimes()
            for first in range(0, len(numbers), AT_ONCE):
                part = numbers[first : first + AT_ONCE]
                work = partial(self._replan, numbers=part, digests=digests)
                self._signal(await self._outbox.run(work))
        except BaseException:
            self._changed = None
            raise

    def _trusts(self, glance: _Glance) -> bool:
        """Whether what is due by this clock may be released now; logs a warning where it may not."""
        now, time_passed = glance.now, self._monotonic()
        last, self._last = self._last, (now, time_passed)
        if not glance.is_behind:
            self._doubted_since = None
        elif last is None:
            self._doubted_since = time_passed
        was_doubted, self.doubt = bool(self.doubt), ""
        if self._doubted_since is not None and time_passed - self._doubted_since < DOUBTED_FOR:
            self.doubt = (
                f"it is {now:%Y-%m-%d %H:%M} UTC by the clock, and a hook came in later than that"
            )
            if not was_doubted:
                log.warning("what is scheduled waits: %s", self.doubt)
            return False
        return last is None or self._is_steady(now - last[0], time_passed - last[1])

    def _is_steady(self, passed: timedelta, seconds: float) -> bool:
        if passed < -NO_MATTER:
            log.warning("the clock was set back; what is scheduled is planned again")
            self._changed = None
        if passed - timedelta(seconds=seconds) > JUMP:
            log.warning(
                "the clock went %s ahead at once; what is due waits for the next look", passed
            )
            return False
        return True

    def _replan(self, cursor: Cursor, *, numbers: Collection[int], digests: DigestTimes) -> Done:
        now = self._now(cursor)
        return self._scheduling.replan(cursor, now, numbers=numbers, digests=digests)
