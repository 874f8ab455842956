"""Who gets a delivery instead: the fallback of its destination, those to whom the destination leads by now, or another one."""

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from relay.chat import Chat
from relay.destination import Destination
from relay.intake import new_deliveries
from relay.outbox import Delivery, NewDelivery
from relay.outbox.rows import ITSELF
from relay.rules import Match, RuleBook
from relay.rules.chat_view import ChatView
from relay.smartsupp import read_chat


@dataclass(frozen=True, slots=True)
class Redirect:
    """By the rules in force."""

    rules: RuleBook
    mail_domain: str

    def to_fallback(self, delivery: Delivery, failed: Destination) -> tuple[NewDelivery, ...]:
        """Nothing where `failed` names no fallback, or nobody is reached there and at the fallbacks after it."""
        if failed.fallback not in self.rules.destinations:
            return ()
        chat = _chat(delivery)
        place, recipients, _ = self.rules.reach(failed.fallback, ChatView(chat))
        return self._owed(delivery, chat, place, recipients, instead_of=failed.name)

    def to_present(self, delivery: Delivery) -> tuple[NewDelivery, ...] | None:
        """Each present recipient of its destination; None where its own recipient is one of them."""
        recipients = self.rules.recipients.get(delivery.destination)
        if recipients is None or delivery.recipient in recipients.fixed:
            return None
        chat = _chat(delivery)
        present, _ = recipients.resolve(chat)
        if delivery.recipient.casefold() in {recipient.casefold() for recipient in present}:
            return None
        return self._owed(
            delivery, chat, delivery.destination, present, instead_of=delivery.instead_of
        )

    def to_other(self, delivery: Delivery, destination: str) -> tuple[NewDelivery, ...]:
        """Each recipient of another destination, because a person says so; nothing where the chat reaches nobody there."""
        chat = _chat(delivery)
        recipients, _ = self.rules.recipients[destination].resolve(chat)
        return self._owed(delivery, chat, destination, recipients, instead_of=delivery.instead_of)

    def _owed(
        self,
        delivery: Delivery,
        chat: Chat,
        destination: str,
        recipients: tuple[str, ...],
        *,
        instead_of: str,
    ) -> tuple[NewDelivery, ...]:
        """New deliveries of `delivery`'s notification, one for each recipient of another destination."""
        match = Match(
            rule=delivery.rule,
            template=delivery.template,
            destination=destination,
            recipients=recipients,
            instead_of=instead_of,
        )
        return new_deliveries(chat, [match], self.mail_domain)


def stranded(owed: Mapping[str, int], destinations: Collection[str]) -> dict[str, str]:
    """Destinations for which deliveries wait although the rules have none of that name, each with a sentence that says what to do.

    `owed`: how many wait, by destination. `destinations`: names of those in the rules.
    """
    return {
        name: f"{count} {'delivery waits' if count == 1 else 'deliveries wait'} for it, and the rules file does not"
        f" have it: put it back, or send what waits elsewhere with `{move_command(name)}`"
        for name, count in sorted(owed.items())
        if name not in destinations
    }


def move_command(destination: str) -> str:
    """What a person types to send elsewhere what waits for a destination."""
    return f"relay move-deliveries {shlex.quote(destination)} NEW"


def _chat(delivery: Delivery) -> Chat:
    if delivery.account == ITSELF:
        return Chat(account=ITSELF, id=delivery.chat)
    return read_chat(delivery.body)
