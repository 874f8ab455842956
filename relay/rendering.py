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


class Fallbacks:
    """What is owed elsewhere when a delivery has failed for good."""

    def __init__(self, recipients: Mapping[str, Recipients], mail_domain: str) -> None:
        """`recipients` of every destination, by its name."""
        self._recipients = recipients
        self._mail_domain = mail_domain

    def owe(self, delivery: Delivery, failed: Destination) -> Iterable[NewDelivery]:
        """Deliveries to the destination's fallback; none if it names none."""
        if not failed.fallback:
            return ()
        chat = read_chat(delivery.body)
        recipients, _ = self._recipients[failed.fallback].resolve(chat)
        match = Match(
            rule=delivery.rule,
            template=delivery.template,
            destination=failed.fallback,
            recipients=recipients,
        )
        return tuple(deliveries(chat, [match], self._mail_domain))
