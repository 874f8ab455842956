"""Deliveries that replace one: to the fallback, to the destination's present recipients, or where a person sends them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec import structs

from relay.chat import Chat
from relay.destination import Destination
from relay.intake import new_deliveries, planned_deliveries
from relay.outbox import NewDelivery
from relay.outbox.delivery_types import ITSELF, Delivery, visitor_key
from relay.rules import Match, RuleBook
from relay.rules.compared_values import ChatView
from relay.smartsupp import read_chat
from relay.timing.plan import Mute, plan_alert, plan_digest


@dataclass(frozen=True, slots=True)
class Redirect:
    """Makes deliveries that replace one, to other destinations or recipients, by the rules in force."""

    rules: RuleBook
    mail_domain: str
    mutes: Sequence[Mute] = ()
    """Mutes that are in force or will be; `rules` evaluates their conditions."""

    def to_fallback(
        self, delivery: Delivery, failed: Destination, now: datetime
    ) -> tuple[NewDelivery, ...]:
        """The deliveries to the fallback of `failed`, or to later fallbacks; empty where nobody is reached.

        The fallback's own hours and mutes apply at `now`. Mutes of `failed` or of a rule applied when the chat came
        in.
        """
        if failed.fallback not in self.rules.destinations:
            return ()
        chat = _chat(delivery)
        place, recipients, _ = self.rules.reach(failed.fallback, ChatView(chat))
        match = self._match(delivery, place, recipients, instead_of=failed.name)
        return self._queued(delivery, chat, match, now)

    def to_present(self, delivery: Delivery) -> tuple[NewDelivery, ...] | None:
        """A delivery for each present recipient of the destination; None where the delivery's own recipient is one of them."""
        recipients = self.rules.recipients.get(delivery.destination)
        if recipients is None or delivery.recipient in recipients.fixed:
            return None
        if delivery.is_digest and recipients.patterns:
            return None  # each of its chats chose the recipient
        chat = _chat(delivery)
        present, _ = recipients.resolve(chat)
        if delivery.recipient.casefold() in {recipient.casefold() for recipient in present}:
            return None
        match = self._match(delivery, delivery.destination, present, instead_of=delivery.instead_of)
        return self._queued(delivery, chat, match)

    def has_left(self, destination: str, waiting: Collection[str]) -> bool:
        """Whether some of these recipients are no longer a destination's, unless chats choose them."""
        recipients = self.rules.recipients.get(destination)
        return bool(recipients and not recipients.patterns and set(waiting) - set(recipients.fixed))

    def has_transport_of(self, destination: Destination) -> bool:
        """Whether a destination has this transport by the rules in force, or is no longer in them."""
        present = self.rules.destinations.get(destination.name)
        return present is None or present.transport == destination.transport

    def to_other(
        self, delivery: Delivery, destination: str, now: datetime
    ) -> tuple[NewDelivery, ...]:
        """Deliveries to another destination that a person has named: one for each recipient that the chat has there."""
        chat = _chat(delivery)
        recipients, _ = self.rules.recipients[destination].resolve(chat)
        match = self._match(delivery, destination, recipients, instead_of=delivery.instead_of)
        return self._queued(delivery, chat, match, now)

    def _match(
        self, delivery: Delivery, destination: str, recipients: tuple[str, ...], *, instead_of: str
    ) -> Match:
        """The match of a delivery's rule, with these recipients at `destination`."""
        return Match(
            rule=delivery.rule,
            template=delivery.template,
            destination=destination,
            recipients=recipients,
            instead_of=instead_of,
            urgent=any(each.urgent and each.name == delivery.rule for each in self.rules.rules),
        )

    def _queued(
        self, delivery: Delivery, chat: Chat, match: Match, now: datetime | None = None
    ) -> tuple[NewDelivery, ...]:
        """New deliveries with `delivery`'s notification, one for each recipient of `match`.

        `now`: apply the destination's timing at this time; None: send at once.
        """
        if now is None:
            return new_deliveries(chat, [match], self.mail_domain)
        mutes = [mute for mute in self.mutes if mute.destination not in {"", match.instead_of}]
        if delivery.account == ITSELF:
            plan_own = plan_alert if delivery.is_alert else plan_digest
            planned = plan_own(match.destination, mutes, now)
            return new_deliveries(chat, [match], self.mail_domain, planned)
        replacements = planned_deliveries(
            self.rules, chat, [match], self.mail_domain, mutes=mutes, now=now, may_skip=False
        )
        visitor = visitor_key(chat.visitor)
        return tuple(structs.replace(each, visitor=visitor) for each in replacements)


def _chat(delivery: Delivery) -> Chat:
    if delivery.account == ITSELF:
        return Chat(account=ITSELF, id=delivery.chat)
    return read_chat(delivery.body)
