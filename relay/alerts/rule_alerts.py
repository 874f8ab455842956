"""Alerts about rules: one that reaches nobody for a chat, one that could not be asked. Once a day for each rule."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import date, datetime

from relay.alerts.alert import Alert, hook_of
from relay.alerts.detection import Kind
from relay.chat import Chat
from relay.clock import Clock
from relay.outbox import Accepted, NewHook, StorageUnavailable
from relay.rules import RuleBook
from relay.rules.judgement import Judged

MOST_RULES = 10_000
"""That are remembered as told."""

log = logging.getLogger(__name__)


class RuleAlerts:
    """Has them owed while the chat is taken in. What somebody else had owed today is owed no second time."""

    def __init__(
        self,
        accept: Callable[[NewHook], Awaitable[Accepted]],
        *,
        mail_domain: str,
        clock: Clock,
    ) -> None:
        self._accept = accept
        self._mail_domain = mail_domain
        self._clock = clock
        self._told: set[str] = set()
        """What was told by this process: it need not ask the database."""

    async def tell(self, rules: RuleBook, chat: Chat, judged: Judged) -> None:
        """Raises StorageUnavailable."""
        now = self._clock()
        for alert in _alerts(chat, judged, now) if rules.alerts_to else ():
            name = _name(alert, now.astimezone(rules.timezone).date())
            if name in self._told:
                continue
            try:
                await self._accept(
                    hook_of(
                        alert,
                        name,
                        rules.alerts_to,
                        rules=rules,
                        mail_domain=self._mail_domain,
                        now=now,
                    )
                )
            except StorageUnavailable:
                raise
            except Exception:
                # A bug here must not cost the chat.
                log.exception("an alert about the rule %r could not be queued", alert.subject)
            if len(self._told) >= MOST_RULES:
                self._told.clear()
            self._told.add(name)


def _alerts(chat: Chat, judged: Judged, now: datetime) -> Iterator[Alert]:
    name = f"{chat.account}/{chat.id}"
    for each in judged.judgement.unreached:
        yield Alert(
            kind=Kind.UNREACHED,
            subject=each.rule,
            since=now,
            why="",
            waiting=0,
            chat=name,
            destination=each.destination,
            instead=each.instead,
        )
    for rule in judged.unasked:
        yield Alert(kind=Kind.UNASKED, subject=rule, since=now, why="", waiting=0, chat=name)


def _name(alert: Alert, day: date) -> str:
    return f"{alert.kind} {alert.subject}, {day}"
