"""`/healthz`, `/readyz` and `/metrics`: whether the relay is alive and can accept hooks, and what it has done."""

import asyncio
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from litestar import HttpMethod, MediaType, Response, route

from relay.alerts.alert_loop import NO_ANSWER, Watch
from relay.alerts.problem_detection import Kind, stranded
from relay.clock import Clock
from relay.languages import N_
from relay.metrics import Metrics
from relay.outbox import Outbox, StorageUnavailable, Summary
from relay.outbox.retention import Retention
from relay.outbox.troubles import Trouble
from relay.runtime.reload import Reload
from relay.runtime.rules_in_force import RulesInForce

READ = (HttpMethod.GET, HttpMethod.HEAD)
T = TypeVar("T")
PATIENCE = 12.0
"""Seconds to wait for the database: a lock is waited for 5 seconds, and an earlier request may wait as long."""


def storage_trouble(outbox: Outbox) -> str:
    """Why hooks can't be stored at present, as far as a quick look shows; empty if they can."""
    if not outbox.is_in_place():
        return N_("the database file was moved, deleted or replaced")
    if outbox.is_stalled():
        return NO_ANSWER
    return "" if outbox.has_room() else N_("the disk is nearly full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The running parts of a relay that the health pages report on."""

    outbox: Outbox
    in_force: RulesInForce
    reload: Reload
    retention: Retention
    metrics: Metrics


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _seconds(duration: timedelta) -> int:
    return round(duration.total_seconds())


# These pages need no login, so servers' answers are left out: they may contain a visitor's words or address.


def _broken(destination: str) -> str:
    command = f"relay deliveries --destination {shlex.quote(destination)}"
    return f"refuses what is sent; `{command}` says why"


def _trouble(trouble: Trouble) -> dict[str, Any]:
    its_words = Kind(trouble.kind).is_of_a_destination
    return {
        "what": trouble.kind,
        "subject": trouble.subject or None,
        "since": trouble.since.isoformat(),
        "why": None if its_words else trouble.why,
        "told": list(trouble.alerted),
    }


class Health:
    """The pages /healthz, /readyz and /metrics."""

    def __init__(
        self,
        parts: Parts,
        watch: Watch,
        *,
        clock: Clock,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._outbox = parts.outbox
        self._in_force = parts.in_force
        self._reload = parts.reload
        self._retention = parts.retention
        self._metrics = parts.metrics
        self._watch = watch
        self._clock = clock
        self._is_stopping = is_stopping

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """The status and body of /readyz: 503 with reasons while hooks can't be accepted; other problems are only listed."""
        reasons = ["shutting down"] if self._is_stopping() else []
        trouble = storage_trouble(self._outbox)
        reasons += [trouble] if trouble else []
        details: dict[str, Any] = {}
        words = ""
        try:
            lacks = await self._ask(self._outbox.lacks)
            words = f"the database can't be used: {lacks}" if lacks else ""
            details = self._details(await self._ask(self._outbox.summary))
            why = await self._outbox.refuses(self._clock())
            words = words or (f"the database can't be written{self._named(why)}" if why else "")
        except StorageUnavailable as error:
            words = words or f"the database can't be used{self._named(str(error))}"
        except TimeoutError:
            words = NO_ANSWER
        if words and not trouble:  # else it would be said twice
            reasons.append(words)
        return 503 if reasons else 200, {"ready": not reasons, "reasons": reasons, **details}

    def _named(self, trouble: str) -> str:
        """The error message of a file; empty for a server, whose messages contain addresses and users."""
        return "" if self._outbox.is_shared else f": {trouble}"

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """The result of a question to the database. Raises StorageUnavailable and TimeoutError."""
        if self._outbox.is_stalled():
            raise TimeoutError
        async with asyncio.timeout(PATIENCE):
            return await question()

    def _details(self, summary: Summary) -> dict[str, Any]:
        now, last = self._clock(), self._retention.last_round
        age = now - summary.oldest_queued if summary.oldest_queued else None
        return {
            "deliveries": {
                "queued": sum(summary.queued.values()),
                "scheduled": sum(summary.scheduled.values()),
                "sending": summary.sending,
                **{state.value: count for state, count in summary.troubled.items()},
            },
            "oldest_queued_seconds": _seconds(age) if age else 0,
            "next_scheduled": _moment(summary.next_scheduled),
            "clock": self._in_force.clock_doubt or None,
            "destinations": self._destinations(summary, now),
            "broken_destinations": {
                name: _broken(name) for name, lane in self._in_force.lanes.items() if lane.is_broken
            },
            "destinations_not_in_the_rules": stranded(summary.waiting, self._in_force.lanes),
            "hooks_set_aside": summary.set_aside,
            "alerts": self._alerts(),
            "silence": self._silence(now),
            "last_hook": _moment(summary.last_hook),
            "erasing": {
                "last": _moment(last.at),
                "chats": last.chats,
                "waits": last.waits or None,
            },
            "rules": {
                "hash": self._in_force.rules.hash,
                "rules": len(self._in_force.rules.rules),
                "problems_of_the_saved_file": list(self._reload.problems),
            },
        }

    def _destinations(self, summary: Summary, now: datetime) -> dict[str, Any]:
        """The destinations as this process sees them; another relay on the database may learn of an outage sooner."""
        return {
            name: {
                "state": lane.state(now).value,
                "paused_since": _moment(lane.paused.since) if lane.paused else None,
                "paused_until": _moment(lane.paused.until) if lane.paused else None,
                "queued": summary.queued.get(name, 0),
                "scheduled": summary.scheduled.get(name, 0),
                "most_per_hour": lane.most_per_hour,
                "oldest_queued_seconds": _seconds(now - summary.oldest.get(name, now)),
            }
            for name, lane in self._in_force.lanes.items()
        }

    def _alerts(self) -> dict[str, Any]:
        glance = self._watch.glance
        return {
            "to": list(self._in_force.rules.alerts_to),
            "open": [_trouble(trouble) for trouble in glance.troubles],
            "nobody_could_be_told": [_trouble(trouble) for trouble in glance.unreached],
        }

    def _silence(self, now: datetime) -> dict[str, Any] | None:
        silence, last_chat = self._in_force.rules.silence, self._watch.glance.last_chat
        if silence is None or last_chat is None:
            return None
        return {
            "longer_than_seconds": _seconds(silence.longer_than),
            "within": list(silence.schedules),
            "since": last_chat.isoformat(),
            "too_long": silence.begins(last_chat, now) is not None,
        }

    async def metrics(self) -> bytes:
        """The body of /metrics. What this process has counted is included even if the database can't be asked."""
        broken = {name: lane.is_broken for name, lane in self._in_force.lanes.items()}
        try:
            summary = await self._ask(self._outbox.summary)
        except (StorageUnavailable, TimeoutError):
            summary = None
        return self._metrics.text(summary, broken)

    def routes(self) -> list[Any]:
        """The route handlers of /healthz, /readyz and /metrics."""

        @route("/healthz", http_method=READ, media_type=MediaType.TEXT, sync_to_thread=False)
        def healthz() -> str:
            return "alive\n"

        @route("/readyz", http_method=READ)
        async def readyz() -> Response[dict[str, Any]]:
            status, content = await self.readiness()
            return Response(content, status_code=status, media_type=MediaType.JSON)

        @route("/metrics", http_method=READ)
        async def metrics() -> Response[bytes]:
            return Response(
                await self.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8"
            )

        return [healthz, readyz, metrics]
