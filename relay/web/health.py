"""`/healthz`, `/readyz` and `/metrics`: is it alive, can it take hooks, and what has it done."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from litestar import MediaType, Response, get

from relay.lane import Lane
from relay.metrics import Metrics
from relay.outbox import Outbox, StorageUnavailable, Summary
from relay.rules import RuleBook


class Health:
    """What the three pages tell, put together from the running parts."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        rules: Callable[[], RuleBook],
        lanes: Callable[[], Mapping[str, Lane]],
        metrics: Metrics,
        clock: Callable[[], datetime],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._outbox = outbox
        self._rules = rules
        self._lanes = lanes
        self._metrics = metrics
        self._clock = clock
        self._is_stopping = is_stopping

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """503 with reasons while hooks can't be taken; trouble further on is told but is no reason."""
        reasons = ["shutting down"] if self._is_stopping() else []
        if not self._outbox.is_in_place():
            reasons.append("the database file was moved, deleted or replaced")
        if not self._outbox.has_room():
            reasons.append("the disk is nearly full")
        details: dict[str, Any] = {}
        try:
            details = self._details(await self._outbox.summary())
        except StorageUnavailable as error:
            reasons.append(f"the database can't be used: {error}")
        return 503 if reasons else 200, {"ready": not reasons, "reasons": reasons, **details}

    def _details(self, summary: Summary) -> dict[str, Any]:
        now = self._clock()
        unknown = sorted(summary.owed.keys() - self._lanes().keys())
        age = now - summary.oldest_owed if summary.oldest_owed else None
        return {
            "deliveries": {
                "owed": sum(summary.owed.values()),
                "sending": summary.sending,
                **{state.value: count for state, count in summary.troubled.items()},
            },
            "oldest_owed_seconds": round(age.total_seconds()) if age else 0,
            "broken_destinations": {
                name: lane.gate.reason
                for name, lane in self._lanes().items()
                if lane.gate is not None and lane.is_broken
            },
            "destinations_not_in_the_rules": unknown,
            "hooks_set_aside": summary.set_aside,
            "last_hook": summary.last_hook.isoformat() if summary.last_hook else None,
            "rules": {"hash": self._rules().hash, "rules": len(self._rules().rules)},
        }

    async def metrics(self) -> bytes:
        broken = {name: lane.is_broken for name, lane in self._lanes().items()}
        return self._metrics.text(await self._outbox.summary(), broken)

    def routes(self) -> list[Any]:
        """The three route handlers."""

        @get("/healthz", media_type=MediaType.TEXT, sync_to_thread=False)
        def healthz() -> str:
            return "alive\n"

        @get("/readyz")
        async def readyz() -> Response[dict[str, Any]]:
            status, content = await self.readiness()
            return Response(content, status_code=status, media_type=MediaType.JSON)

        @get("/metrics")
        async def metrics() -> Response[bytes]:
            return Response(
                await self.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8"
            )

        return [healthz, readyz, metrics]
