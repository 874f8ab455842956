"""Prometheus metrics of the relay. Labels come from the rules file and the code, never from a chat."""

from collections.abc import Iterable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from relay.outbox import Summary
from relay.transports import Ending


class Metrics:
    """The metrics of one relay, in a registry of their own so that two relays in one process stay apart."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        gauge = partial(Gauge, registry=self._registry)
        self._hooks = counter(
            "relay_hooks", "Hooks by the status they were answered with", ["status"]
        )
        self._odd = counter("relay_hooks_odd", "New hooks that were not of the documented shape")
        self._unmatched = counter("relay_hooks_unmatched", "New hooks for which no rule matched")
        self._rules_failed = counter(
            "relay_hooks_rules_failed", "New hooks about which not all rules could be asked"
        )
        self._attempts = counter(
            "relay_attempts",
            "Attempts at deliveries by destination and ending",
            ["destination", "ending"],
        )
        self._queued = gauge("relay_deliveries_queued", "Deliveries that wait", ["destination"])
        self._scheduled = gauge(
            "relay_deliveries_scheduled",
            "Deliveries that wait for their destination's hours, digest or limit",
            ["destination"],
        )
        self._troubled = gauge(
            "relay_deliveries_troubled", "Deliveries that ended badly", ["state"]
        )
        self._set_aside = gauge("relay_hooks_set_aside", "Hooks that could not be read")
        self._broken = gauge(
            "relay_destination_broken",
            "1 while a destination is broken: it waits until somebody fixes it",
            ["destination"],
        )
        self._last_hook = gauge("relay_last_hook_timestamp_seconds", "When the last hook came")
        self._database_answers = gauge(
            "relay_database_answers",
            "0 while the database can't be asked, and what it counts is left out",
        )
        self._erased = counter("relay_erased_chats", "Chats erased because of their age")
        self._reload_failed = gauge(
            "relay_rules_reload_failed", "1 while the rules file as saved can't be used"
        )

    def rules_reloaded(self, *, failed: bool) -> None:
        """Record whether the latest version of the rules file could be used."""
        self._reload_failed.set(failed)

    def answered(self, status: int) -> None:
        """Count a hook by the HTTP status that it was answered with."""
        self._hooks.labels(str(status)).inc()

    def took(self, *, odd: bool, matched: bool, rules_failed: bool) -> None:
        """Count a new hook, and whether it was odd, matched no rule, or could not be judged by all rules."""
        if odd:
            self._odd.inc()
        if not matched:
            self._unmatched.inc()
        if rules_failed:
            self._rules_failed.inc()

    def erased(self, chats: int) -> None:
        """Add to the number of chats that were erased because of their age."""
        self._erased.inc(chats)

    def attempted(self, destination: str, ending: Ending) -> None:
        """Count a delivery attempt by its destination and ending."""
        self._attempts.labels(destination, ending.value).inc()

    def text(self, summary: Summary | None, broken: dict[str, bool]) -> bytes:
        """Return all metrics in Prometheus' text format; without those of the database if `summary` is None."""
        self._broken.clear()
        for destination, is_broken in broken.items():
            self._broken.labels(destination).set(is_broken)
        self._queued.clear()
        self._scheduled.clear()
        self._troubled.clear()
        self._database_answers.set(summary is not None)
        if summary is not None:
            self._count(summary, broken)
        return generate_latest(self._registry)

    def _count(self, summary: Summary, destinations: Iterable[str]) -> None:
        for destination in destinations:
            self._queued.labels(destination).set(summary.queued.get(destination, 0))
            self._scheduled.labels(destination).set(summary.scheduled.get(destination, 0))
        for state, count in summary.troubled.items():
            self._troubled.labels(state.value).set(count)
        self._set_aside.set(summary.set_aside)
        if summary.last_hook is not None:
            self._last_hook.set(summary.last_hook.timestamp())
