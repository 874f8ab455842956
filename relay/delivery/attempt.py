"""One attempt at a claimed delivery: rendered, sent once, settled.

What tells a delivery from all others at its far end, the same at every attempt.

A claimed delivery -> its notification, rendered by another process.

One attempt at a claimed delivery: rendered, sent once, and what follows from how it ended.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from relay.alerts.alert import read_alert
from relay.alerts.alert_text import alert_notification
from relay.clock import Deadline
from relay.crash_points import CrashPoint, reach
from relay.delivery.lane import Lane
from relay.delivery.retry import Random, Redirect, held_back, queued_at_once, what_follows
from relay.destination import Destination, WhenUnsure
from relay.digest import Digest
from relay.notification import Notification
from relay.outbox import Delivery, NewDelivery, Outbox, Settlement, State
from relay.rendering.built_in_wording import built_in_notification, in_place_of
from relay.rendering.digest_wording import built_in_digest
from relay.rendering.isolation.protocol import Render, RenderDigest
from relay.rendering.isolation.worker_pool import (
    DIGEST_RENDERING,
    RENDERING,
    RenderingEnded,
    RenderPool,
)
from relay.smartsupp import read_chat
from relay.transports import PROGRESS, Identity, Progress
from relay.transports.outcome import Ending, Outcome
from relay.transports.registry import TRANSPORTS, cure_in_words


def identity_of(delivery: Delivery, visitor: str) -> Identity:
    """`visitor`: Smartsupp's id of whom it is about, empty where that is not known."""

    def root(kind: str, name: str) -> str:
        digest = hashlib.sha256(f"{kind}\0{delivery.account}\0{name}".encode()).hexdigest()[:18]
        return f"{kind}.{digest}@{delivery.message_id.rpartition('@')[2]}"

    return Identity(
        message_id=delivery.message_id,
        thread_id=root("chat", delivery.chat),
        visitor_thread_id=root("visitor", visitor) if visitor else "",
        date=delivery.queued_at.replace(microsecond=0),
        chat=f"{delivery.account}/{delivery.chat}",
        unsure=delivery.suspect or delivery.unsure > 0,
        receipt=delivery.receipt,
        thread_receipt=delivery.thread_receipt,
        quiet=delivery.quiet,
    )


ReadDigest = Callable[[Delivery], Awaitable[Digest | None]]
"""The chats of a digest as they are told of by now; None where all were erased."""


class NothingLeft(Exception):
    """All chats of a digest were erased."""


class Renderer:
    """Renders at each attempt, so that a fixed template repairs what waits."""

    def __init__(
        self, workers: RenderPool, public_url: str, read_digest: ReadDigest | None = None
    ) -> None:
        """`read_digest`: needed where digests are sent."""
        self._workers = workers
        self._public_url = public_url
        self._read_digest = read_digest

    async def render(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> Notification:
        """Never fails for the template's sake: a broken one gives way to the built-in wording.

        Raises NothingLeft for a digest whose chats were erased, and StorageUnavailable where they can't be read. `bodies`: whether the transport hands over text and HTML.
        """
        told = await self._render(delivery, destination, bodies=bodies)
        if not delivery.instead_of:
            return told
        return in_place_of(told, delivery.instead_of, destination.language)

    async def _render(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> Notification:
        if delivery.is_alert:
            # In a thread: the first of a language reads its catalogue.
            return await asyncio.to_thread(_alert, delivery, destination, bodies=bodies)
        notification, trouble = await self.try_out(delivery, destination, bodies=bodies)
        if trouble:
            log.error("%s; %s", trouble, what_goes_out(notification))
        return notification

    async def try_out(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> tuple[Notification, str]:
        """The notification, with what was wrong with the template: `file:line: what`, or empty."""
        if delivery.is_digest:
            return await self._digest(delivery, destination, bodies=bodies)
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
            form=str(destination.options.get("json", "")),
        )
        try:
            rendered = await self._workers.render(asked)
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
        asked = RenderDigest(
            limits=DIGEST_RENDERING,
            digest=digest,
            language=destination.language,
            zone=destination.timezone.key,
            public_url=self._public_url,
            bodies=bodies,
        )
        try:
            rendered = await self._workers.render(asked)
        except RenderingEnded as ended:
            trouble = f"template {asked.template!r}: {ended}"
            built_in = partial(
                built_in_digest,
                digest,
                language=destination.language,
                zone=destination.timezone,
                reason=str(ended),
                template=asked.template,
            )
            return await asyncio.to_thread(built_in), trouble
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


LONGEST_ATTEMPT = timedelta(minutes=45)
"""A mail server may take half an hour until it waits for a mail, and 10 minutes for its last answer."""

_STOOD_STILL = Outcome(
    Ending.LATER,
    "the relay stood still until another might have taken it up; nothing was sent",
    only_this=True,
)
_NOT_BEGUN = Outcome(Ending.LATER, "the relay was stopped before anything was sent", only_this=True)
_ALL_ERASED = Outcome(Ending.MOVED, "all its chats were erased; nothing is sent", only_this=True)
_CUT = Outcome(Ending.MAYBE_DELIVERED, "the relay was stopped before the answer")


class RenderDelivery(Protocol):
    """A claimed delivery -> its notification; with text and HTML only if `bodies`."""

    def __call__(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> Awaitable[Notification]: ...


Renderings = dict[str, asyncio.Task[Notification]]
"""Begun before their attempts, by the deliveries' message ids."""

log = logging.getLogger("relay.delivery.dispatcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Makes attempts, and says what follows from each. Writes nothing down."""

    outbox: Outbox
    render: RenderDelivery
    redirect: Callable[[], Redirect]
    """By the rules that are in force when it is called."""
    random: Random
    deadline: Deadline = field(default_factory=lambda: Deadline(LONGEST_ATTEMPT.total_seconds()))

    def begin_rendering(self, lane: Lane, delivery: Delivery) -> asyncio.Task[Notification]:
        """For `make`, before the delivery is on disk and has a number. Needs a running loop."""
        rendering = self.render(delivery, lane.destination, bodies=lane.spec.bodies)
        return asyncio.ensure_future(rendering)

    async def make(
        self,
        lane: Lane,
        delivery: Delivery,
        progress: Progress,
        rendering: asyncio.Task[Notification] | None = None,
    ) -> Outcome:
        """Render and send, once. Raises nothing but CancelledError; see `cut` for what that means.

        `rendering`: one that was begun already.
        """
        PROGRESS.set(progress)
        try:
            with self.deadline.start():
                return await self._make(lane, delivery, rendering)
        except TimeoutError:
            if progress.is_sending:
                return Outcome(Ending.MAYBE_DELIVERED, "no answer in time")
            return Outcome(Ending.LATER, "nothing could be sent in time")
        except Exception:
            log.exception("delivery %d: attempt %d failed", delivery.id, delivery.attempt)
            return Outcome(
                Ending.LATER, "the relay itself failed; its log says how", only_this=True
            )

    async def _make(
        self, lane: Lane, delivery: Delivery, rendering: asyncio.Task[Notification] | None
    ) -> Outcome:
        if held := held_back(delivery, lane.when_unsure):
            return held
        if (present := self.redirect().to_present(delivery)) is not None:
            return _moved(delivery.destination, len(present))
        try:
            notification = await (
                rendering or self.render(delivery, lane.destination, bodies=lane.spec.bodies)
            )
        except NothingLeft:
            return _ALL_ERASED
        reach(CrashPoint.RENDERED)
        if not self.outbox.holds(delivery):
            return _STOOD_STILL
        outcome = await lane.transport.send(
            notification.short() if delivery.short else notification,
            delivery.recipient,
            identity_of(delivery, notification.visitor_id),
        )
        reach(CrashPoint.SENT)
        return outcome

    @staticmethod
    def cut(progress: Progress) -> Outcome:
        """How an attempt ended that was cancelled, which is done only where the relay stops."""
        return _CUT if progress.is_sending else _NOT_BEGUN

    def what_follows(
        self, lane: Lane, delivery: Delivery, outcome: Outcome, now: datetime
    ) -> Settlement:
        may_repeat = outcome is _CUT and lane.when_unsure is not WhenUnsure.HOLD
        if may_repeat or outcome in (_STOOD_STILL, _NOT_BEGUN):
            return queued_at_once(outcome, delivery, now)
        settlement = what_follows(
            outcome,
            delivery,
            lane.spec,
            when_unsure=lane.when_unsure,
            probe_at=lane.breaker.probe_at,
            now=now,
            random=self.random,
        )
        try:
            return replace(settlement, also_queued=self._in_its_place(lane, delivery, settlement))
        except Exception:
            # A bug there must not leave this one unsettled.
            log.exception("delivery %d: who gets it instead could not be found", delivery.id)
            return replace(settlement, state=State.FAILED)

    def _in_its_place(
        self, lane: Lane, delivery: Delivery, settlement: Settlement
    ) -> tuple[NewDelivery, ...]:
        match settlement.state:
            case State.FAILED:
                return self.redirect().to_fallback(delivery, lane.destination)
            case State.MOVED:
                return self.redirect().to_present(delivery) or ()
            case _:
                return ()


def _moved(destination: str, recipients: int) -> Outcome:
    """Without an address: this is logged, and a chat may have chosen it."""
    if not recipients:
        words = f"{destination} no longer leads to this recipient, and for this chat to nobody else"
        return Outcome(Ending.REFUSED, words, only_this=True)
    who = "its present recipient gets" if recipients == 1 else f"its {recipients} recipients get"
    words = f"{destination} no longer leads to this recipient; {who} it instead"
    return Outcome(Ending.MOVED, words, only_this=True)


def log_attempt(delivery: Delivery, outcome: Outcome, settlement: Settlement) -> None:
    """A line for people with fields for programs; an error where the delivery has ended badly.

    Holds no secrets and no words of a visitor.
    """
    bad = settlement.state in {State.FAILED, State.MAYBE_DELIVERED}
    log.log(
        logging.ERROR if bad else logging.INFO,
        "delivery %d to %s, attempt %d: %s (%s)%s",
        delivery.id,
        delivery.destination,
        delivery.attempt,
        outcome.ending.value,
        outcome.detail,
        f"; {settlement.state.value}{cure_in_words(outcome.detail, delivery.destination)}"
        if bad
        else "",
        extra={
            "fields": {
                "chat": f"{delivery.account}/{delivery.chat}",
                "rule": delivery.rule,
                "destination": delivery.destination,
                "delivery": delivery.id,
                "attempt": delivery.attempt,
                "outcome": outcome.ending.value,
                "state": settlement.state.value,
            }
        },
    )
