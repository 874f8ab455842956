"""An alert as it is kept: bytes in the place of a hook's, and deliveries like those of any chat.

So it has retries, history, `relay resend` and an end by age like all else; and the unique key over chat, rule,
destination and recipient lets it be owed once.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from relay.chat import Chat
from relay.intake import new_deliveries
from relay.outbox import NewHook
from relay.outbox.rows import ITSELF
from relay.outbox.troubles import Trouble
from relay.rules import Match, RuleBook

RULE, RULE_WHEN_OVER = "alert", "alert: over"
"""What stands in the place of a rule's name."""


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
    """Without it, an alert that goes to somebody else later would be the same hook again, for which nothing is owed."""


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
    now: datetime,
) -> NewHook:
    """Kept in the place of a hook, with what is owed for it. `to`: destinations."""
    alert = alert_of(trouble, over=over, now=now)
    return hook_of(alert, alert_name(trouble), to, rules=rules, mail_domain=mail_domain, now=now)


def hook_of(
    alert: Alert,
    name: str,
    to: Iterable[str],
    *,
    rules: RuleBook,
    mail_domain: str,
    now: datetime,
) -> NewHook:
    """Of alerts with the same `name`, each recipient is owed one."""
    chat = Chat(account=ITSELF, id=name)
    matches = [
        Match(
            rule=RULE_WHEN_OVER if alert.over_at else RULE,
            template="",
            destination=destination,
            recipients=rules.recipients[destination].fixed,
        )
        for destination in to
    ]
    return NewHook(
        body=msgspec.json.encode(alert),
        chat=chat,
        received_at=now,
        rules_hash=rules.hash,
        deliveries=new_deliveries(chat, matches, mail_domain),
    )


def trouble_of(alert: Alert) -> Trouble:
    """What an alert is about, as far as it says."""
    return Trouble(
        kind=alert.kind,
        subject=alert.subject,
        since=alert.since,
        why=alert.why,
        waiting=alert.waiting,
    )


def read_alert(body: bytes) -> Alert:
    """What `alert_hook` wrote."""
    return msgspec.json.decode(body, type=Alert)


def alert_name(trouble: Trouble) -> str:
    """What stands in the place of a chat's id: the same for all who see the same trouble."""
    of = f" {trouble.subject}" if trouble.subject else ""
    return f"{trouble.kind}{of}, {trouble.since:%Y-%m-%d %H:%M:%S.%f}"[:-3]
