"""Who gets a delivery instead: the fallback of its destination, or those to whom the destination leads by now."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from relay.chat import Chat
from relay.destination import Destination
from relay.intake import new_deliveries
from relay.outbox import Delivery, NewDelivery
from relay.outbox.values import ITSELF
from relay.rules import Match
from relay.rules.recipients import Recipients
from relay.smartsupp import read_chat


@dataclass(frozen=True, slots=True)
class Redirect:
    """By the rules in force."""

    recipients: Mapping[str, Recipients]
    """Of every destination, by name."""
    mail_domain: str

    def to_fallback(self, delivery: Delivery, failed: Destination) -> tuple[NewDelivery, ...]:
        """Nothing where `failed` names no fallback."""
        if failed.fallback not in self.recipients:
            return ()
        owed = self.to(delivery, failed.fallback)
        return tuple(replace(each, instead_of=failed.name) for each in owed)

    def to_present(self, delivery: Delivery) -> tuple[NewDelivery, ...] | None:
        """Each present recipient of its destination; None where its own recipient is one of them."""
        recipients = self.recipients.get(delivery.destination)
        if recipients is None or delivery.recipient in recipients.fixed:
            return None
        present = self.to(delivery, delivery.destination)
        if delivery.recipient.casefold() in {one.recipient.casefold() for one in present}:
            return None
        return tuple(replace(each, instead_of=delivery.instead_of) for each in present)

    def to(self, delivery: Delivery, destination: str) -> tuple[NewDelivery, ...]:
        """The same notification for each recipient of another destination."""
        itself = delivery.account == ITSELF
        chat = Chat(account=ITSELF, id=delivery.chat) if itself else read_chat(delivery.body)
        resolved, _ = self.recipients[destination].resolve(chat)
        match = Match(
            rule=delivery.rule,
            template=delivery.template,
            destination=destination,
            recipients=resolved,
        )
        return new_deliveries(chat, [match], self.mail_domain)
