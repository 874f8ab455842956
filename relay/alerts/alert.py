"""An alert as it is kept: bytes in the place of a hook's, and deliveries like those of any chat.

So it has retries, history, `relay resend` and an end by age like all else; and the unique key over chat, rule,
destination and recipient lets it be owed once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from relay.chat import Chat
from relay.intake import message_id
from relay.outbox import NewDelivery, NewHook
from relay.outbox.troubles import Trouble
from relay.outbox.values import ITSELF
from relay.rules import RuleBook

RULE, RULE_WHEN_OVER = "alert", "alert: over"
"""What stands in the place of a rule's name."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a trouble."""

    kind: str
    subject: str
    since: datetime
    why: str
    waiting: int
    over_at: datetime | None = None
    """None while it goes on."""


def alert_of(trouble: Trouble, *, over: bool, now: datetime) -> Alert:
    return Alert(
        kind=trouble.kind,
        subject=trouble.subject,
        since=trouble.since,
        why=trouble.why,
        waiting=trouble.waiting,
        over_at=(trouble.gone_at or now) if over else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """What the rules and the settings say of those who are told."""

    rules: RuleBook
    mail_domain: str

    def hook(self, trouble: Trouble, to: Iterable[str], *, over: bool, now: datetime) -> NewHook:
        """Kept in the place of a hook, with what is owed for it."""
        chat = Chat(account=ITSELF, id=_name(trouble))
        rule = RULE_WHEN_OVER if over else RULE
        return NewHook(
            body=msgspec.json.encode(alert_of(trouble, over=over, now=now)),
            chat=chat,
            received_at=now,
            rules_hash=self.rules.hash,
            deliveries=tuple(self._deliveries(chat, rule, to)),
        )

    def _deliveries(self, chat: Chat, rule: str, to: Iterable[str]) -> Iterable[NewDelivery]:
        for destination in to:
            for recipient in self.rules.recipients[destination].fixed:
                yield NewDelivery(
                    rule=rule,
                    template="",
                    destination=destination,
                    recipient=recipient,
                    message_id=message_id(
                        chat,
                        rule=rule,
                        destination=destination,
                        recipient=recipient,
                        domain=self.mail_domain,
                    ),
                )


def read_alert(body: bytes) -> Alert:
    """What `Sender.hook` wrote."""
    return msgspec.json.decode(body, type=Alert)


def _name(trouble: Trouble) -> str:
    """The same for all who see the same trouble."""
    of = f" {trouble.subject}" if trouble.subject else ""
    return f"{trouble.kind}{of}, {trouble.since:%Y-%m-%d %H:%M:%S.%f}"[:-3]
