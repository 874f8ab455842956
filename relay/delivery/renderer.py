"""Renders a claimed delivery into a notification, in another process."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from html import escape
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from relay.alerts.alert_text import alert_notification
from relay.alerts.stored_alert import read_alert
from relay.destination import Destination
from relay.notification import MutedUntil, Notification
from relay.outbox import Delivery
from relay.rendering.built_in_wording import built_in_notification, mark_as_fallback
from relay.rendering.digest_wording import MAX_REASON, built_in_digest
from relay.rendering.isolation.protocol import Render, RenderDigest
from relay.rendering.isolation.worker_pool import (
    DIGEST_RENDERING,
    RENDERING,
    RenderingEnded,
    RenderPool,
)
from relay.rendering.transcript import local_time
from relay.rendering.translation import Words, words_in
from relay.smartsupp import read_chat
from relay.text import clean_line
from relay.timing.digest_contents import Digest, Mute
from relay.timing.plan import MUTED
from relay.transports.registry import TRANSPORTS

log = logging.getLogger("relay.delivery.dispatcher")

ReadDigest = Callable[[Delivery], Awaitable[Digest | None]]
"""Reads a digest with its chats as they are now; None where all of them were erased."""

ReadMute = Callable[[Delivery], Awaitable[Mute | None]]
"""Reads the mute for which a delivery waited; None where it waited for none, or the mute was erased."""


class NothingLeft(Exception):
    """Raised for a digest whose chats were all erased, so that nothing is left to send."""


class Renderer:
    """Renders a delivery at each attempt, so that a fixed template also fixes deliveries that wait."""

    def __init__(
        self,
        workers: RenderPool,
        public_url: str,
        read_digest: ReadDigest | None = None,
        read_mute: ReadMute | None = None,
        *,
        front: str = "",
    ) -> None:
        """`read_digest` and `read_mute` are needed to send digests and what a mute held back. `front`: see `Render`."""
        self._workers = workers
        self._public_url = public_url
        self._read_digest = read_digest
        self._read_mute = read_mute
        self._front = front

    async def render(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> Notification:
        """The notification of a delivery; a broken template is replaced by the built-in wording.

        `bodies`: with text and HTML. Raises NothingLeft for a digest whose chats were erased, and StorageUnavailable.
        """
        notification = await self._render(delivery, destination, bodies=bodies)
        if delivery.instead_of:
            notification = mark_as_fallback(notification, delivery.instead_of, destination.language)
        if not (self._read_mute and delivery.why.startswith(MUTED)):
            return notification
        mute = await self._read_mute(delivery)
        if mute is None or delivery.queued_at < mute.until:
            return notification  # sent by hand during the mute
        return await asyncio.to_thread(
            add_mute_footer,
            *(notification, mute),
            now=delivery.queued_at,
            zone=destination.timezone,
            language=destination.language,
        )

    async def _render(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> Notification:
        if delivery.is_alert:
            # In a thread: the first of a language reads its catalogue.
            return await asyncio.to_thread(_alert, delivery, destination, bodies=bodies)
        notification, trouble = await self.try_out(delivery, destination, bodies=bodies)
        if trouble:
            log.error("%s; %s", trouble, describe_replacement(notification))
        return notification

    async def try_out(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> tuple[Notification, str]:
        """The notification, and what is wrong with the template, as `file:line: what`; empty where nothing is."""
        if delivery.is_digest:
            return await self._digest(delivery, destination, bodies=bodies)
        request = Render(
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
            form=str(destination.options.get("json", "")),
            front=self._front,
        )
        try:
            rendered = await self._workers.render(request)
            notification, trouble = rendered.notification, rendered.trouble
        except RenderingEnded as ended:
            trouble = f"template {delivery.template!r}: {ended}"
            # In a thread: the first of a language reads its catalogue.
            notification = await asyncio.to_thread(_built_in, delivery, destination, str(ended))
        if TRANSPORTS[destination.transport].whole_chat:
            notification = await asyncio.to_thread(_with_chat, notification, delivery)
        return notification, trouble

    async def _digest(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> tuple[Notification, str]:
        digest = await self._read_digest(delivery) if self._read_digest else None
        if digest is None:
            raise NothingLeft
        request = RenderDigest(
            limits=DIGEST_RENDERING,
            digest=digest,
            language=destination.language,
            zone=destination.timezone.key,
            public_url=self._public_url,
            bodies=bodies,
            front=self._front,
        )
        try:
            rendered = await self._workers.render(request)
        except RenderingEnded as ended:
            trouble = f"template {request.template!r}: {ended}"
            built_in = partial(_built_in_digest, request, destination, str(ended))
            return await asyncio.to_thread(built_in), trouble
        return rendered.notification, rendered.trouble


def describe_replacement(notification: Notification) -> str:
    """A sentence that says what is sent instead of a broken template: the built-in wording, or the relay's own layout."""
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


def _with_chat(notification: Notification, delivery: Delivery) -> Notification:
    chat = read_chat(delivery.body, delivery.created_at)
    return replace(notification, chat=chat, rule=delivery.rule)


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


def _built_in_digest(request: RenderDigest, destination: Destination, reason: str) -> Notification:
    return built_in_digest(
        request.digest,
        language=destination.language,
        zone=destination.timezone,
        reason=reason,
        template=request.template,
    )


_FOOT = (
    "max-width:600px;margin:0 auto;padding:0 16px 24px;color:#5d6676;"
    "font:12px/18px -apple-system,BlinkMacSystemFont,Segoe UI,Roboto,Helvetica,Arial,sans-serif"
)


def add_mute_footer(
    notification: Notification, mute: Mute, *, now: datetime, zone: ZoneInfo, language: str
) -> Notification:
    """The notification with a footer that says why it is late: a mute that held it back has ended."""
    words = words_in(language)
    line = words.language.gettext(
        "Was muted until {time} by {name}: {reason}",
        time=words.moment(local_time(mute.until, zone), local_time(now, zone), day=True),
        name=clean_line(mute.by, MAX_REASON),
        reason=clean_line(mute.because, MAX_REASON),
    )
    return replace(
        notification,
        muted=MutedUntil(by=mute.by, because=mute.because, until=mute.until, text=line),
        text=f"{notification.text.rstrip()}\n\n{line}\n" if notification.text else "",
        html=_with_foot(notification.html, line, words) if notification.html else "",
    )


def _with_foot(html: str, line: str, words: Words) -> str:
    """The HTML with a footer before `</body>`, also in a user's own template."""
    direction = words.language.locale.text_direction
    foot = f'<p class="mut" dir="{direction}" style="{_FOOT}">{escape(line)}</p>\n'
    head, end, rest = html.rpartition("</body>")
    return f"{head}{foot}{end}{rest}" if end else html + foot
