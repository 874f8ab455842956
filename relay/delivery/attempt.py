"""One attempt at a claimed delivery: render it, send it once, and decide what follows.

`identity_of` makes the ids under which a server knows a delivery. `attempt_once` makes an attempt without the outbox.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from msgspec.structs import replace

from relay.clock import Deadline
from relay.crash_points import CrashPoint, reach
from relay.delivery.lane import Lane
from relay.delivery.redirect import Redirect
from relay.delivery.renderer import NothingLeft, Renderer
from relay.delivery.retry import Random, held_back, queued_at_once, settlement_after
from relay.destination import Destination, WhenUnsure
from relay.notification import Notification
from relay.outbox import Delivery, NewDelivery, Outbox, Settlement, State
from relay.transports import PROGRESS, Ending, Identity, Outcome, Progress, Transport
from relay.transports.registry import TRANSPORTS, cure_in_words


def identity_of(delivery: Delivery, visitor: str) -> Identity:
    """The ids and receipts that identify a delivery at its server, the same at every attempt.

    `visitor`: Smartsupp's id of the visitor, empty where it is not known.
    """

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


LONGEST_ATTEMPT = timedelta(minutes=45)
"""The time limit of an attempt: a mail server may take half an hour to accept a message, and 10 minutes for its last answer."""

_STOOD_STILL = Outcome(
    Ending.LATER,
    "the relay stood still until another might have taken it up; nothing was sent",
    only_this=True,
)
_NOT_BEGUN = Outcome(Ending.LATER, "the relay was stopped before anything was sent", only_this=True)
_RULES_CHANGED = Outcome(
    Ending.LATER, "the rules file was changed before anything was sent", only_this=True
)
_ALL_ERASED = Outcome(Ending.MOVED, "all its chats were erased; nothing is sent", only_this=True)
_CUT = Outcome(Ending.MAYBE_DELIVERED, "the relay was stopped before the answer")


class RenderDelivery(Protocol):
    """Renders a claimed delivery; with text and HTML only if `bodies`."""

    def __call__(
        self, delivery: Delivery, destination: Destination, *, bodies: bool
    ) -> Awaitable[Notification]: ...


Rendering = asyncio.Task[Notification]
Renderings = dict[str, Rendering]
"""Renderings begun before their attempts, by the deliveries' message ids."""

log = logging.getLogger("relay.delivery.dispatcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Makes attempts and decides what follows from each, without storing anything."""

    outbox: Outbox
    render: RenderDelivery
    redirect: Callable[[], Redirect]
    """Returns the redirections by the rules in force."""
    random: Random
    deadline: Deadline = field(default_factory=lambda: Deadline(LONGEST_ATTEMPT.total_seconds()))

    def begin_rendering(self, lane: Lane, delivery: Delivery) -> Rendering:
        """Begin to render a delivery for `make`, before it is stored and has a number. Needs a running event loop."""
        rendering = self.render(delivery, lane.destination, bodies=lane.spec.bodies)
        return asyncio.ensure_future(rendering)

    async def make(
        self, lane: Lane, delivery: Delivery, progress: Progress, rendering: Rendering | None = None
    ) -> Outcome:
        """Render a delivery and send it once. Raises only CancelledError, for which `cut` gives the outcome.

        `rendering`: the rendering, if it was begun already.
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

    async def _make(self, lane: Lane, delivery: Delivery, rendering: Rendering | None) -> Outcome:
        if held := held_back(delivery, lane.when_unsure):
            return held
        redirect = self.redirect()
        if (present := redirect.to_present(delivery)) is not None:
            return _moved(delivery.destination, len(present))
        if not redirect.has_transport_of(lane.destination):
            # Claimed before a change that made this its recipient: Slack's must not become an email address.
            return _RULES_CHANGED
        rendered = rendering or self.render(delivery, lane.destination, bodies=lane.spec.bodies)
        try:
            notification = await rendered
        except NothingLeft:
            return _ALL_ERASED
        reach(CrashPoint.RENDERED)
        if not self.outbox.holds(delivery):
            return _STOOD_STILL
        identity = identity_of(delivery, notification.visitor_id)
        shown = notification.short() if delivery.short else notification
        outcome = await lane.transport.send(shown, delivery.recipient, identity)
        reach(CrashPoint.SENT)
        return outcome

    @staticmethod
    def cut(progress: Progress) -> Outcome:
        """The outcome of an attempt that was cancelled, which happens only when the relay stops."""
        return _CUT if progress.is_sending else _NOT_BEGUN

    def settlement_after(
        self, lane: Lane, delivery: Delivery, outcome: Outcome, now: datetime
    ) -> Settlement:
        may_repeat = outcome is _CUT and lane.when_unsure is not WhenUnsure.HOLD
        if may_repeat or outcome in (_STOOD_STILL, _NOT_BEGUN, _RULES_CHANGED):
            return queued_at_once(outcome, delivery, now)
        settlement = settlement_after(
            outcome,
            delivery,
            lane.spec,
            when_unsure=lane.when_unsure,
            probe_at=lane.breaker.probe_at,
            now=now,
            random=self.random,
        )
        try:
            return replace(settlement, also_queued=self._replacements(lane, delivery, settlement))
        except Exception:
            # A bug here must not leave the delivery unsettled.
            log.exception("delivery %d: who gets it instead could not be found", delivery.id)
            return replace(settlement, state=State.FAILED)

    def _replacements(
        self, lane: Lane, delivery: Delivery, settlement: Settlement
    ) -> tuple[NewDelivery, ...]:
        match settlement.state:
            case State.FAILED:
                now = settlement.ended_at
                return self.redirect().to_fallback(delivery, lane.destination, now)
            case State.MOVED:
                return self.redirect().to_present(delivery) or ()
            case _:
                return ()


def _moved(destination: str, recipients: int) -> Outcome:
    """The outcome for a recipient that is no longer in the rules.

    The address is left out: this is logged, and a chat may have chosen it.
    """
    if not recipients:
        words = f"{destination} no longer leads to this recipient, and for this chat to nobody else"
        return Outcome(Ending.REFUSED, words, only_this=True)
    who = "its present recipient gets" if recipients == 1 else f"its {recipients} recipients get"
    words = f"{destination} no longer leads to this recipient; {who} it instead"
    return Outcome(Ending.MOVED, words, only_this=True)


def log_attempt(delivery: Delivery, outcome: Outcome, settlement: Settlement) -> None:
    """Log an attempt, with fields for programs, no secrets and no visitor's words; as an error if the delivery ended badly."""
    bad = settlement.state in {State.FAILED, State.MAYBE_DELIVERED}
    cure = cure_in_words(outcome.detail, delivery.destination) if bad else ""
    fields = {
        "chat": f"{delivery.account}/{delivery.chat}",
        "rule": delivery.rule,
        "destination": delivery.destination,
        "delivery": delivery.id,
        "attempt": delivery.attempt,
        "outcome": outcome.ending.value,
        "state": settlement.state.value,
    }
    log.log(
        logging.ERROR if bad else logging.INFO,
        "delivery %d to %s, attempt %d: %s (%s)%s",
        *(delivery.id, delivery.destination, delivery.attempt, outcome.ending.value),
        *(outcome.detail, f"; {settlement.state.value}{cure}" if bad else ""),
        extra={"fields": fields},
    )


@dataclass(frozen=True, slots=True)
class SingleAttempt:
    """The notification sent by one attempt without the outbox, and the outcome."""

    notification: Notification
    trouble: str
    """The error in the template, as `file:line: what`; empty without one."""
    outcome: Outcome


async def attempt_once(
    delivery: Delivery,
    destination: Destination,
    transport: Transport,
    renderer: Renderer,
    patience: float,
) -> SingleAttempt:
    """Render a delivery and send it once, as the dispatcher does, without the outbox.

    `patience`: seconds that the server may take. Errors of templates and servers are in the result, not raised.
    """
    notification, trouble = await renderer.try_out(
        delivery, destination, bodies=TRANSPORTS[destination.transport].bodies
    )
    identity = identity_of(delivery, notification.visitor_id)
    try:
        async with asyncio.timeout(patience):
            outcome = await transport.send(notification, delivery.recipient, identity)
    except TimeoutError:
        outcome = Outcome(Ending.MAYBE_DELIVERED, f"no answer within {patience:g} s")
    return SingleAttempt(notification, trouble, outcome)
