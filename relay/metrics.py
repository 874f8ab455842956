"""Counts for Prometheus. Labels come from the rules file and from our own words, never from a chat."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from relay.outbox import Summary
from relay.outcome import Ending


class Metrics:
    """One registry per relay, so that two in one process don't share their counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._hooks = Counter(
            "relay_hooks",
            "Hooks by the status they were answered with",
            ["status"],
            registry=self._registry,
        )
        self._attempts = Counter(
            "relay_attempts",
            "Attempts at deliveries by destination and ending",
            ["destination", "ending"],
            registry=self._registry,
        )
        self._owed = Gauge(
            "relay_deliveries_owed",
            "Deliveries that wait",
            ["destination"],
            registry=self._registry,
        )
        self._troubled = Gauge(
            "relay_deliveries_troubled",
            "Deliveries that ended badly",
            ["state"],
            registry=self._registry,
        )
        self._set_aside = Gauge(
            "relay_hooks_set_aside", "Hooks that could not be read", registry=self._registry
        )
        self._broken = Gauge(
            "relay_destination_broken",
            "1 while a destination is paused until somebody mends it",
            ["destination"],
            registry=self._registry,
        )
        self._last_hook = Gauge(
            "relay_last_hook_timestamp_seconds", "When the last hook came", registry=self._registry
        )
        self._erased = Counter(
            "relay_erased_chats", "Chats erased because of their age", registry=self._registry
        )

        self._reload_failed = Gauge(
            "relay_rules_reload_failed",
            "1 while the rules file as saved can't be used",
            registry=self._registry,
        )

    def rules_reloaded(self, *, failed: bool) -> None:
        self._reload_failed.set(failed)

    def answered(self, status: int) -> None:
        self._hooks.labels(str(status)).inc()

    def erased(self, chats: int) -> None:
        self._erased.inc(chats)

    def attempted(self, destination: str, ending: Ending) -> None:
        self._attempts.labels(destination, ending.value).inc()

    def text(self, summary: Summary, broken: dict[str, bool]) -> bytes:
        """All counts in Prometheus' text format."""
        self._owed.clear()
        self._broken.clear()
        for destination, is_broken in broken.items():
            self._owed.labels(destination).set(summary.owed.get(destination, 0))
            self._broken.labels(destination).set(is_broken)
        self._troubled.clear()
        for state, count in summary.troubled.items():
            self._troubled.labels(state.value).set(count)
        self._set_aside.set(summary.set_aside)
        if summary.last_hook is not None:
            self._last_hook.set(summary.last_hook.timestamp())
        return generate_latest(self._registry)
