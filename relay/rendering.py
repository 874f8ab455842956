"""A claimed delivery -> its notification: reads the stored hook again and fills the template in."""

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from relay.chat import Chat
from relay.destination import Destination
from relay.intake import deliveries
from relay.notification import Notification
from relay.outbox import Delivery, NewDelivery
from relay.rules import Match
from relay.rules.recipients import Recipients
from relay.smartsupp import read_chat
from relay.templates import BrokenTemplate, Templates, fallback_notification

CHATS_KEPT = 64

log = logging.getLogger(__name__)


class Renderer:
    """Renders at each attempt, so that a mended template mends what waits."""

    def __init__(self, templates: Templates, public_url: str) -> None:
        self._templates = templates
        self._public_url = public_url
        self._chats: OrderedDict[int, Chat] = OrderedDict()

    def _chat(self, delivery: Delivery) -> Chat:
        """A chat is mostly owed to several at once: the last few are kept as read."""
        chat = self._chats.pop(delivery.hook_id, None) or read_chat(delivery.body)
        self._chats[delivery.hook_id] = chat
        if len(self._chats) > CHATS_KEPT:
            self._chats.popitem(last=False)
        return chat

    async def render(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> Notification:
        """Never fails for the template's sake: a broken one gives way to the built-in wording.

        `bodies`: whether the transport hands over text and HTML.
        """
        chat = self._chat(delivery)
        try:
            return self._templates.render(
                delivery.template,
                chat,
                rule=delivery.rule,
                language=destination.language,
                zone=destination.timezone,
                public_url=self._public_url,
                bodies=bodies,
            )
        except BrokenTemplate as problem:
            log.error("%s; the built-in wording goes out instead", problem)  # noqa: TRY400
            return fallback_notification(
                chat,
                rule=delivery.rule,
                zone=destination.timezone,
                reason=problem.what,
                template=delivery.template,
            )


def owe_fallback(
    delivery: Delivery,
    failed: Destination,
    recipients: Mapping[str, Recipients],
    mail_domain: str,
) -> Iterable[NewDelivery]:
    """What is owed elsewhere when a delivery has failed for good; `recipients` of every destination."""
    if failed.fallback not in recipients:
        return ()
    chat = read_chat(delivery.body)
    resolved, _ = recipients[failed.fallback].resolve(chat)
    match = Match(
        rule=delivery.rule,
        template=delivery.template,
        destination=failed.fallback,
        recipients=resolved,
    )
    return tuple(deliveries(chat, [match], mail_domain))
