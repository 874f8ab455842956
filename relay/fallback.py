"""What is owed to another destination when a delivery has failed for good."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from relay.chat import Chat
from relay.destination import Destination
from relay.intake import new_deliveries
from relay.outbox import Delivery, NewDelivery
from relay.outbox.values import ITSELF
from relay.rules import Match
from relay.rules.recipients import Recipients
from relay.smartsupp import read_chat


def owe_fallback(
    delivery: Delivery,
    failed: Destination,
    recipients: Mapping[str, Recipients],
    mail_domain: str,
) -> Iterable[NewDelivery]:
    """Nothing where `failed` names no fallback. `recipients`: of every destination, by name."""
    if failed.fallback not in recipients:
        return ()
    if delivery.account == ITSELF:
        chat = Chat(account=ITSELF, id=delivery.chat)
    else:
        chat = read_chat(delivery.body)
    resolved, _ = recipients[failed.fallback].resolve(chat)
    match = Match(
        rule=delivery.rule,
        template=delivery.template,
        destination=failed.fallback,
        recipients=resolved,
    )
    return tuple(
        replace(each, instead_of=failed.name) for each in new_deliveries(chat, [match], mail_domain)
    )
