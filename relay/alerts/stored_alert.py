"""Alerts as the outbox stores them: in place of a hook, with deliveries like those of any chat.

So alerts have retries, history, `relay resend` and erasing like everything else, and a unique key lets each be queued
once. Alerts about a rule that reaches nobody, or failed for a chat, are sent once a day for each rule.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import date, datetime

import msgspec

from relay.alerts.problem_detection import Kind
from relay.chat import Chat
from relay.clock import Clock
from relay.intake import new_deliveries
from relay.outbox import Accepted, NewHook, StorageUnavailable
from relay.outbox.delivery_types import ITSELF, NewDelivery
from relay.outbox.troubles import Trouble
from relay.rules import Match, RuleBook
from relay.rules.timed_evaluation import Judged
from relay.timing.plan import Mute, plan_alert

RULE, RULE_WHEN_OVER = "alert", "alert resolved"
"""Stored as the rule's name of an alert's deliveries."""

log = logging.getLogger(__name__)


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert about a problem, as it is stored."""

    kind: str
    subject: str
    since: datetime
    why: str
    waiting: int
    over_at: datetime | None = None
    """When the problem was over; None while it lasts."""
    chat: str = ""
    """For an alert about a rule: the account and id of a chat that showed the problem."""
    destination: str = ""
    """The destination at which a rule reaches nobody."""
    instead: str = ""
    """The destination that is notified instead."""
    made_at: datetime | None = msgspec.field(default=None, name="told_at")
    """When the alert was made. Makes its bytes unique: an equal hook would be taken for a repeated one, and queue nothing."""


def alert_of(trouble: Trouble, *, over: bool, now: datetime) -> Alert:
    """The alert about a problem. `over`: it says that the problem is resolved. `now`: aware."""
    return Alert(
        kind=trouble.kind,
        subject=trouble.subject,
        since=trouble.since,
        why=trouble.why,
        waiting=trouble.waiting,
        over_at=(trouble.gone_at or now) if over else None,
        made_at=now,
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
    """The hook that stores an alert about a problem, with deliveries to the destinations `to`."""
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
    """The hook that stores an alert, with deliveries to the destinations `to`.

    Of alerts with the same `name` only one is queued for each recipient. `mutes` may hold deliveries back.
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
    """The problem that an alert is about, as far as the alert says."""
    return Trouble(
        kind=alert.kind,
        subject=alert.subject,
        since=alert.since,
        why=alert.why,
        waiting=alert.waiting,
    )


def read_alert(body: bytes) -> Alert:
    """The alert in a hook's bytes, as `alert_hook` wrote them."""
    return msgspec.json.decode(body, type=Alert)


def alert_name(trouble: Trouble) -> str:
    """The id of an alert's chat, equal in all relays that see the same problem."""
    of = f" {trouble.subject}" if trouble.subject else ""
    return f"{trouble.kind}{of}, {trouble.since:%Y-%m-%d %H:%M:%S.%f}"[:-3]


MOST_RULES = 10_000
"""How many sent alerts are remembered."""


class RuleAlerts:
    """Queues alerts about rules that reach nobody or failed, while a chat is accepted; one a day for each rule."""

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
        self._queued_names: set[str] = set()
        """The names of alerts that this process has queued, which spares a look at the database."""

    async def queue_alerts(self, rules: RuleBook, chat: Chat, judged: Judged) -> None:
        """Queue an alert for each rule that reaches nobody or failed for the chat. Raises StorageUnavailable."""
        now = self._clock()
        for alert in _alerts(chat, judged, now) if rules.alerts_to else ():
            name = _name(alert, now.astimezone(rules.timezone).date())
            if name in self._queued_names:
                continue
            try:
                await self._queue(alert, name, rules, now)
            except StorageUnavailable:
                raise
            except Exception:
                # A bug here must not cost the chat.
                log.exception("an alert about the rule %r could not be queued", alert.subject)
            if len(self._queued_names) >= MOST_RULES:
                self._queued_names.clear()
            self._queued_names.add(name)

    async def _queue(self, alert: Alert, name: str, rules: RuleBook, now: datetime) -> None:
        mutes, domain = self._mutes(), self._mail_domain
        to = rules.alerts_to
        await self._accept(
            hook_of(alert, name, to, rules=rules, mail_domain=domain, mutes=mutes, now=now)
        )


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
