"""Sends alerts without the outbox, while the database can't store them or have them sent."""

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.alerts.alert_plan import Ways
from relay.alerts.problem_detection import Kind
from relay.alerts.stored_alert import alert_hook
from relay.outbox import Delivery
from relay.outbox.troubles import Trouble
from relay.rules import RuleBook
from relay.transports import Ending, Outcome

BETWEEN_TRIES = timedelta(minutes=1)
"""Time to the next try, when an alert has reached nobody."""
_ARRIVED = {Ending.DELIVERED, Ending.ACCEPTED, Ending.MAYBE_DELIVERED}

log = logging.getLogger(__name__)


@dataclass(slots=True)
class DirectAlerts:
    """Sends an alert when the database can't be used, and one when it can be again. A restart forgets what was sent."""

    send: Callable[[Delivery], Awaitable[Outcome]]
    """Sends a delivery once."""
    mail_domain: str
    box: str
    trouble: Trouble | None = None
    """The present problem, with the destinations that got an alert; None where all is well."""
    _next_try: datetime | None = None

    async def update(
        self, why: str, rules: RuleBook, *, broken: Collection[str], now: datetime
    ) -> None:
        """Take in the result of a look: `why` the database can't be used, empty where it can.

        The second failed look sends the alert.
        """
        if not why:
            await self._end(rules, now)
        elif self.trouble is None:
            self.trouble = Trouble(kind=Kind.DATABASE, subject=self.box, since=now, why=why)
            log.error("the database can't be used: %s", why)
        elif self._next_try is None or (not self.trouble.alerted and now >= self._next_try):
            self._next_try = now + BETWEEN_TRIES
            await self._alert(replace(self.trouble, why=why), rules, broken, now)

    async def _alert(
        self, trouble: Trouble, rules: RuleBook, broken: Collection[str], now: datetime
    ) -> None:
        failed: set[str] = set()
        alerted: list[str] = []
        while True:
            ways = Ways.of(rules, broken={*broken, *failed})
            untried = [name for name in ways.usable() if name not in alerted]
            if not untried:
                break
            for name in untried:
                has_arrived = await self._reaches(trouble, name, rules, over=False, now=now)
                (alerted.append if has_arrived else failed.add)(name)
        self.trouble = replace(trouble, alerted=tuple(alerted))
        if not alerted:
            log.error("nobody can be alerted that the database can't be used")

    async def _end(self, rules: RuleBook, now: datetime) -> None:
        trouble, self.trouble, self._next_try = self.trouble, None, None
        if trouble is None:
            return
        log.warning("the database can be used again")
        for name in trouble.alerted:
            if name in rules.destinations:
                await self._reaches(trouble, name, rules, over=True, now=now)

    async def _reaches(
        self, trouble: Trouble, name: str, rules: RuleBook, *, over: bool, now: datetime
    ) -> bool:
        """Send the alert to one destination; returns whether at least one recipient has got it."""
        hook = alert_hook(
            trouble, [name], rules=rules, mail_domain=self.mail_domain, over=over, now=now
        )
        has_arrived = False
        for new in hook.deliveries:
            outcome = await self.send(new.first_attempt(hook, delivery_id=0, hook_id=0))
            log.info("an alert sent to %s without the database: %s", name, outcome.ending)
            has_arrived = has_arrived or outcome.ending in _ARRIVED
        return has_arrived
