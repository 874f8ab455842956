"""The loop that looks for problems every few seconds, stores them, and queues alerts, all in one commit."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from relay.alerts.alert_plan import Step, Ways, due_failures, is_unreached, reached, steps
from relay.alerts.alert_text import log_headline
from relay.alerts.direct_alerts import DirectAlerts
from relay.alerts.mute_and_pause_reminders import reminders
from relay.alerts.problem_detection import (
    LATE,
    LONG_ATTEMPT,
    Glance,
    Kind,
    LocalState,
    Snapshot,
    flood,
    troubles_in,
)
from relay.alerts.stored_alert import RULE, alert_hook, alert_name, read_alert, trouble_of
from relay.clock import Background, Clock
from relay.languages import N_
from relay.outbox import Delivery, Outbox, StorageUnavailable
from relay.outbox.delivery_types import from_ms, to_ms
from relay.outbox.mutes import lasting_mutes
from relay.outbox.pauses import paused_destinations
from relay.outbox.settling import Operations
from relay.outbox.troubles import REPORTED_UNTIL, Failures, Trouble, Troubles, reported_until
from relay.outbox.unsent_counts import (
    LAST_HOOK,
    QUEUED_BY_DESTINATION,
    being_sent,
    count_scheduled,
    oldest_of,
)
from relay.outbox.writer import Cursor
from relay.transports import Outcome

BETWEEN_LOOKS = timedelta(seconds=5)
STILL_WRITING = timedelta(seconds=5)
"""Deliveries that ended within this time are counted at the next look, as another relay may not have committed them yet."""
LOOKS_BACK = timedelta(days=2)
"""Failures older than this lead to no alert."""
BEGAN, NEWEST_HOOK, WORKED = "watched since", "last hook", "worked: "
"""Names of times in the table `marks`: the first look for problems, the newest hook, and (prefix) a destination's last success."""
WORTH_MARKING = timedelta(hours=1)
LONGEST_LOOK = timedelta(seconds=30)
NO_WAY = "every destination of alerts_to is in trouble itself"
NO_ANSWER, UNUSABLE = N_("the database does not answer"), N_("the log has the server's words")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Looked:
    glance: Glance
    began: list[Trouble] = field(default_factory=list)
    ended: list[Trouble] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)


class Watch:
    """The loop that looks for problems, stores them, and has alerts sent."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        local: Callable[[], LocalState],
        wake: Callable[[Iterable[str]], None],
        mail_domain: str,
        box: str,
        send: Callable[[Delivery], Awaitable[Outcome]],
        clock: Clock,
        between: timedelta | None = None,
    ) -> None:
        """`wake` gets the destinations for which an alert is queued. `box`: see `Snapshot`. `send` sends once, without the outbox."""
        self._outbox = outbox
        self._local = local
        self._wake = wake
        self._mail_domain = mail_domain
        self._box = box
        self._clock = clock
        self._between = between or BETWEEN_LOOKS
        self._background = Background()
        self._direct = DirectAlerts(send, mail_domain, box)
        self._lost = outbox.data_loss
        self.glance = Glance()

    def start(self) -> None:
        """Begin to look regularly, in a task of its own. Needs a running event loop."""
        self._background.start(self._watch())

    async def stop(self) -> None:
        await self._background.stop()

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:
                # A bug here must not end all alerts.
                log.exception("the search for problems failed; going on")
            await asyncio.sleep(self._between.total_seconds())

    async def look(self) -> None:
        """Look once for problems, and queue the alerts that are due."""
        local, why = self._local(), ""
        try:
            async with asyncio.timeout(LONGEST_LOOK.total_seconds()):
                why = await self._outbox.lacks()
                if not why:
                    await self._look(local)
                    why = self._named(await self._outbox.refuses(self._clock()))
        except StorageUnavailable as error:
            why = self._named(str(error))
        except TimeoutError:
            why = NO_ANSWER
        await self._direct.update(why, local.rules, broken=local.broken, now=self._clock())
        if self._direct.trouble:
            others = (each for each in self.glance.troubles if each.kind != Kind.DATABASE)
            self.glance = replace(self.glance, troubles=(*others, self._direct.trouble))

    def _named(self, why: str) -> str:
        """The error message of a file; a constant for a server, whose messages contain addresses and users."""
        return UNUSABLE if why and self._outbox.is_shared else why

    async def _look(self, local: LocalState) -> None:
        # Rounded as it is stored: an alert is identified by when its problem began.
        now, operations = from_ms(to_ms(self._clock())), self._outbox.operations
        look = _Look(local, self._box, self._mail_domain, now, operations, self._lost)
        looked = await self._outbox.run(look.run)
        self._lost = ""
        new = {t.key for t in looked.glance.unreached} - {t.key for t in self.glance.unreached}
        self.glance = looked.glance
        self._wake(looked.queued)
        for trouble in looked.began:
            log.error("%s", log_headline(trouble))
        for trouble in looked.ended:
            log.info("%s", log_headline(trouble, over=True))
        for trouble in looked.glance.unreached:
            if trouble.key in new:
                why = looked.glance.reasons.get(trouble.key) or NO_WAY
                log.error("nobody can be alerted: %s; %s", log_headline(trouble), why)


@dataclass(frozen=True, slots=True)
class _Look:
    """One look for problems in the writer's thread: reads what is wrong, and queues the alerts that are due."""

    local: LocalState
    box: str
    mail_domain: str
    now: datetime
    operations: Operations
    lost: str
    """What the database had lost when it was opened, as a sentence; empty for nothing, and after the first look."""

    @property
    def _store(self) -> Troubles:
        return Troubles(self.operations.sql)

    def run(self, cursor: Cursor) -> _Looked:
        rules, store = self.local.rules, self._store
        marks = self._marks(cursor)
        known = store.known(cursor)
        seen = self._snapshot(cursor, marks, {name for kind, name in known if kind == Kind.LATE})
        ways = Ways.of(rules, broken={*seen.broken, *seen.paused})
        looked = _Looked(Glance())
        for step in steps(
            {key: self._updated(cursor, each) for key, each in known.items()},
            troubles_in(seen, self.now),
            ways=ways,
            destinations=rules.destinations,
            now=self.now,
        ):
            self._take(cursor, step, looked)
        looked.queued += self._failures(cursor, marks, ways)
        news = reminders(self.operations.sql, cursor, seen.queued, self.now)
        if self.lost:
            news.append(Trouble(kind=Kind.LOST, subject=self.box, since=self.now, why=self.lost))
        looked.queued += [to for each in news for to in self._queue(cursor, each, ways.usable())]
        looked.glance = self._glance(cursor, seen)
        return looked

    def _glance(self, cursor: Cursor, seen: Snapshot) -> Glance:
        store, shown = self._store, []
        unreached, why = [], {}
        known = list(store.known(cursor).values())
        failed = store.failed_alerts(cursor, RULE, self.now - LOOKS_BACK).values()
        for trouble in [*known, *map(trouble_of, map(read_alert, failed))]:
            deliveries = store.alert_deliveries(cursor, alert_name(trouble), RULE)
            names = reached(deliveries, broken={*seen.broken, *seen.paused}, now=self.now)
            if trouble in known:
                shown.append(replace(trouble, alerted=names))
            elif trouble.kind != Kind.FAILED:
                continue  # stored already, or over
            if self.local.rules.alerts_to and is_unreached(trouble, names, self.now):
                unreached.append(replace(trouble, alerted=names))
                why[trouble.key] = "; ".join(
                    f"the alert to {each.destination} is {each.state.value}: {each.detail}"
                    for each in deliveries
                )
        return Glance(
            troubles=tuple(shown), unreached=tuple(unreached), reasons=why, last_chat=seen.last_chat
        )

    def _updated(self, cursor: Cursor, trouble: Trouble) -> Trouble:
        """The problem without the destinations whose recipients have changed since, so that the new recipients get the alert."""
        recipients = self.local.rules.recipients
        tried: dict[str, set[str]] = {}
        for delivery in self._store.alert_deliveries(cursor, alert_name(trouble), RULE):
            tried.setdefault(delivery.destination, set()).add(delivery.recipient)
        return replace(
            trouble,
            alerted=tuple(
                name
                for name in trouble.alerted
                if name not in recipients
                or tried.get(name, set()).issuperset(recipients[name].fixed)
            ),
        )

    # -- see ---------------------------------------------------------------------------------------------

    def _snapshot(
        self, cursor: Cursor, marks: Mapping[str, datetime], late_before: Collection[str]
    ) -> Snapshot:
        waiting = self.operations.sql[QUEUED_BY_DESTINATION].run(cursor).fetchall()
        # A new attempt may well succeed and does not count, but a destination that was late stays late meanwhile.
        hanging = [
            each
            for each in being_sent(self.operations.sql, cursor)
            if self.now - each.started_at >= LONG_ATTEMPT or each.destination in late_before
        ]
        seen = Snapshot(
            destinations=self.local.rules.destinations,
            gates=self.operations.gates(cursor),
            paused=paused_destinations(self.operations.sql, cursor, self.now),
            queued={name: count for name, count, _ in waiting},
            scheduled=count_scheduled(self.operations.sql, cursor),
            hanging=Counter(each.destination for each in hanging),
            oldest=oldest_of(waiting, hanging),
            late_before=late_before,
            worked=self.local.worked,
            last_chat=self._last_chat(cursor, marks),
            silence=self.local.rules.silence,
            full=self.operations.hourly.full(cursor, self.now),
            flood=flood(self.operations.sql, cursor, self.now),
            rules=self.local.rules_trouble,
            storage=self.local.storage_trouble,
            box=self.box,
        )
        late = list(seen.late(self.now))
        queued = {name: self._store.words_of_queued(cursor, name) for name in late}
        return replace(
            seen,
            worked={name: at for name in late for at in self._worked(cursor, marks, name)},
            words={each.destination: each.detail for each in hanging}
            | {name: error for name, error in queued.items() if error},
        )

    def _worked(
        self, cursor: Cursor, marks: Mapping[str, datetime], name: str
    ) -> Iterator[datetime]:
        """When a delivery last arrived at a destination, by this process or another that shares the database, if at all."""
        own, shared = self.local.worked.get(name), marks.get(WORKED + name)
        if own and (shared is None or own - shared > LATE / 3):
            self._store.set_mark(cursor, WORKED + name, own)
        if own or shared:
            yield max(at for at in (own, shared) if at)

    def _marks(self, cursor: Cursor) -> dict[str, datetime]:
        marks = self._store.marks(cursor)
        if BEGAN not in marks:
            # Earlier failures lead to no alert.
            marks[BEGAN] = self.now
            self._store.set_mark(cursor, BEGAN, self.now)
        return marks

    def _last_chat(self, cursor: Cursor, marks: Mapping[str, datetime]) -> datetime:
        """When the last chat came in. Also kept as a mark, as all chats may have been erased when the silence is noticed."""
        row = self.operations.sql[LAST_HOOK].run(cursor).fetchone()
        before = marks.get(NEWEST_HOOK, marks[BEGAN])
        last_chat = max(before, from_ms(row[0])) if row else before
        if last_chat - before > WORTH_MARKING:
            self._store.set_mark(cursor, NEWEST_HOOK, last_chat)
        return last_chat

    def _take(self, cursor: Cursor, step: Step, looked: _Looked) -> None:
        store, trouble = self._store, step.trouble
        if step.over:
            if not store.close(cursor, trouble):
                return  # another relay was faster
            looked.ended.append(trouble)
        elif step.is_new:
            if not store.open(cursor, trouble):
                return
            looked.began.append(trouble)
        else:
            store.note(cursor, trouble)
        looked.queued += self._queue(cursor, trouble, step.to, over=step.over)

    def _queue(
        self, cursor: Cursor, trouble: Trouble, to: tuple[str, ...], *, over: bool = False
    ) -> Iterable[str]:
        if not to:
            return ()
        hook = alert_hook(
            *(trouble, to),
            rules=self.local.rules,
            mail_domain=self.mail_domain,
            over=over,
            mutes=(each.mute for each in lasting_mutes(self.operations.sql, cursor, self.now)),
            now=self.now,
        )
        return self.operations.accept(cursor, hook).destinations

    def _failures(self, cursor: Cursor, marks: Mapping[str, datetime], ways: Ways) -> Iterable[str]:
        """Queue an alert for each destination where deliveries failed; yields the destinations that get one."""
        after = max(marks[BEGAN], self.now - LOOKS_BACK)
        until = self.now - STILL_WRITING
        destinations = self.local.rules.destinations
        due = due_failures(
            self._store.failures(cursor, after, until),
            # A fallback whose recipients depend on the chat may have reached nobody.
            fallbacks=ways.fallbacks,
            last_alerts={name: at for name in destinations if (at := reported_until(marks, name))},
            now=self.now,
        )
        for name, failures in due.items():
            if to := ways.usable(name):
                self._store.set_mark(cursor, REPORTED_UNTIL + name, until)
                yield from self._queue(cursor, self._failed(cursor, name, failures), to)

    def _failed(self, cursor: Cursor, name: str, failures: list[Failures]) -> Trouble:
        newest = max(each.newest for each in failures)
        return Trouble(
            kind=Kind.FAILED,
            subject=name,
            since=min(each.first for each in failures),
            why=self._store.words_of_failed(cursor, newest),
            waiting=sum(each.count for each in failures),
        )
