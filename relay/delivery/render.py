"""A claimed delivery -> its notification, rendered by another process."""

import asyncio
import logging

from relay.alerts.alert import read_alert
from relay.alerts.alert_text import alert_notification
from relay.destination import Destination
from relay.notification import Notification
from relay.outbox import Delivery
from relay.outbox.rows import ITSELF
from relay.rendering.built_in_wording import built_in_notification, in_place_of
from relay.rendering.isolation.protocol import Render
from relay.rendering.isolation.worker_pool import RENDERING, RenderingEnded, RenderPool
from relay.smartsupp import read_chat

log = logging.getLogger(__name__)


class Renderer:
    """Renders at each attempt, so that a mended template mends what waits."""

    def __init__(self, workers: RenderPool, public_url: str) -> None:
        self._workers = workers
        self._public_url = public_url

    async def render(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> Notification:
        """Never fails for the template's sake: a broken one gives way to the built-in wording.

        `bodies`: whether the transport hands over text and HTML.
        """
        told = await self._render(delivery, destination, bodies=bodies)
        if not delivery.instead_of:
            return told
        return in_place_of(told, delivery.instead_of, destination.language)

    async def _render(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> Notification:
        if delivery.account == ITSELF:
            # In a thread: the first of a language reads its catalogue.
            return await asyncio.to_thread(_alert, delivery, destination, bodies=bodies)
        notification, trouble = await self.try_out(delivery, destination, bodies=bodies)
        if trouble:
            log.error("%s; %s", trouble, what_goes_out(notification))
        return notification

    async def try_out(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> tuple[Notification, str]:
        """The same, with what was wrong with the template: `file:line: what`, or empty."""
        asked = Render(
            limits=RENDERING,
            body=delivery.body,
            arrived=delivery.created_at,
            template=delivery.template,
            rule=delivery.rule,
            language=destination.language,
            zone=destination.timezone.key,
            public_url=self._public_url,
            reply_to=destination.reply_to,
            bodies=bodies,
            transport=destination.transport,
        )
        try:
            rendered = await self._workers.render(asked)
        except RenderingEnded as ended:
            trouble = f"template {delivery.template!r}: {ended}"
            # In a thread: the first of a language reads its catalogue.
            built_in = await asyncio.to_thread(_built_in, delivery, destination, str(ended))
            return built_in, trouble
        return rendered.notification, rendered.trouble


def what_goes_out(notification: Notification) -> str:
    """Instead of what was broken: all of the words, or only the template's own JSON."""
    if notification.built_in:
        return "the built-in wording is sent instead"
    return "the relay's own layout is sent instead"


def _alert(delivery: Delivery, destination: Destination, *, bodies: bool) -> Notification:
    return alert_notification(
        read_alert(delivery.body),
        zone=destination.timezone,
        language=destination.language,
        to=destination.name,
        bodies=bodies,
    )


def _built_in(delivery: Delivery, destination: Destination, reason: str) -> Notification:
    return built_in_notification(
        read_chat(delivery.body, delivery.created_at),
        rule=delivery.rule,
        zone=destination.timezone,
        reason=reason,
        template=delivery.template,
        language=destination.language,
        reply_to=destination.reply_to,
    )
