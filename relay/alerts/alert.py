"""An alert as it is kept: bytes in the place of a hook's, and deliveries like those of any chat.

So it has retries, history, `relay resend` and an end by age like all else; and the unique key over chat, rule,
destination and recipient lets it be queued once.


Alerts about rules: one that reaches nobody for a chat, one that could not be asked. Once a day for each rule.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import date, datetime

import msgspec

from relay.alerts.detection import Kind
from relay.chat import Chat
from relay.clock import Clock
from relay.intake import new_deliveries
from relay.outbox import Accepted, NewHook, StorageUnavailable
from relay.outbox.rows import ITSELF, NewDelivery
from relay.outbox.troubles import Trouble
from relay.rules import Match, RuleBook
from relay.rules.judgement import Judged
from relay.timing.plan import Mute, plan_alert

RULE, RULE_WHEN_OVER = "alert", "alert resolved"
"""What stands in the place of a rule's name."""

log = logging.getLogger(__name__)


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What is said about a trouble."""

    kind: str
    subject: str
    since: datetime
    why: str
    waiting: int
    over_at: datetime | None = None
    """None while it goes on."""
    chat: str = ""
    """Account and id of a chat with which it was seen, where it is about a rule."""
    destination: str = ""
    """At which a rule reaches nobody."""
    instead: str = ""
    """A destination that is told instead."""
    told_at: datetime | None = None
    """Without it, an alert that goes to somebody else later would be the same hook again, for which nothing is queued."""


def alert_of(trouble: Trouble, *, over: bool, now: datetime) -> Alert:
    return Alert(
        kind=trouble.kind,
        subject=trouble.subject,
        since=trouble.since,
        why=trouble.why,
        waiting=trouble.waiting,
        over_at=(trouble.gone_at or now) if over else None,
        told_at=now,
    )


def alert_hook(
    trouble: Trouble,
    to: Iterable[str],
    *,
    rules: RuleBook,
    mail_domain: str,
    over: bool,
    mutes: Iterable[Mute] = (),
    now: datetime,
) -> NewHook:
    """An alert as it is kept: in the place of a hook, with its deliveries. `to`: names of destinations."""
    alert, name = alert_of(trouble, over=over, now=now), alert_name(trouble)
    return hook_of(alert, name, to, rules=rules, mail_domain=mail_domain, mutes=mutes, now=now)


def hook_of(
    alert: Alert,
    name: str,
    to: Iterable[str],
    *,
    rules: RuleBook,
    mail_domain: str,
    mutes: Iterable[Mute] = (),
    now: datetime,
) -> NewHook:
    """The hook of an alert.

    Of alerts with the same `name`, one is queued for each recipient, or held back by one of `mutes`.
    """
    chat, deliveries, muting = Chat(account=ITSELF, id=name), list[NewDelivery](), [*mutes]
    for destination in to:
        match = Match(
            rule=RULE_WHEN_OVER if alert.over_at else RULE,
            template="",
            destination=destination,
            recipients=rules.recipients[destination].fixed,
        )
        planned = plan_alert(destination, muting, now)
        if planned.why:
            became = (
                "left out"
                if planned.due is None
                else f"held back until {planned.due:%Y-%m-%d %H:%M} UTC"
            )
            log.info("an alert to %s is %s (%s): %s", destination, became, planned.why, name)
        deliveries += new_deliveries(chat, [match], mail_domain, planned)
    return NewHook(
        body=msgspec.json.encode(alert),
        chat=chat,
        received_at=now,
        rules_hash=rules.hash,
        deliveries=tuple(deliveries),
    )


def trouble_of(alert: Alert) -> Trouble:
    """The trouble that an alert is about, as far as the alert says it."""
    return Trouble(
        kind=alert.kind,
        subject=alert.subject,
        since=alert.since,
        why=alert.why,
        waiting=alert.waiting,
    )


def read_alert(body: bytes) -> Alert:
    """The alert in the bytes that `alert_hook` wrote."""
    return msgspec.json.decode(body, type=Alert)


def alert_name(trouble: Trouble) -> str:
    """What stands in the place of a chat's id: the same for all who see the same trouble."""
    of = f" {trouble.subject}" if trouble.subject else ""
    return f"{trouble.kind}{of}, {trouble.since:%Y-%m-%d %H:%M:%S.%f}"[:-3]


MOST_RULES = 10_000
"""The most rules that are remembered as told."""


class RuleAlerts:
    """Queues alerts about rules that could not be asked, while the chat is taken in; of each rule one a day."""

    def __init__(
        self,
        accept: Callable[[NewHook], Awaitable[Accepted]],
        mutes: Callable[[], Iterable[Mute]],
        *,
        mail_domain: str,
        clock: Clock,
    ) -> None:
        self._accept = accept
        self._mutes = mutes
        self._mail_domain = mail_domain
        self._clock = clock
        self._told: set[str] = set()
        """What was told by this process: it need not ask the database."""

    async def tell(self, rules: RuleBook, chat: Chat, judged: Judged) -> None:
        """Queue an alert for each rule that could not be asked about the chat. Raises StorageUnavailable."""
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
                        mutes=self._mutes(),
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
