"""Decides what follows an attempt: settled, tried again, given up, or sent to another recipient.

No I/O. docs/delivery.md has the schedule.
"""

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from msgspec import structs

from relay.chat import Chat
from relay.destination import Destination, TransportSpec, WhenUnsure
from relay.intake import new_deliveries, planned_deliveries
from relay.outbox import NewDelivery
from relay.outbox.delivery_types import BLIP, ITSELF, Delivery, Settlement, State, visitor_key
from relay.rules import Match, RuleBook
from relay.rules.compared_values import ChatView
from relay.smartsupp import read_chat
from relay.timing.plan import Mute, plan_alert, plan_digest
from relay.transports import Ending, Outcome

WAITS = (
    BLIP,
    *(timedelta(seconds=each) for each in (120, 300, 900, 1800, 3600, 7200, 14400, 28800)),
)
"""Times before the second, third, ... attempt; the last one repeats."""
LONGEST_WAIT = WAITS[-1]
WAIT_WHEN_UNSURE = timedelta(seconds=60)
HELD_BACK = "the relay was stopped in the middle of the attempt before this one; it is not repeated"
LEAST_FAILURES = 4
"""Failures before a delivery may be given up: a relay that was off for days has not tried yet."""

Random = Callable[[], float]
"""Returns a random number from 0 up to but not including 1."""


def wait_after(failures: int, random: Random) -> timedelta:
    """How long to wait after so many failures (1 or more): half of it fixed, half random."""
    wait = WAITS[min(failures, len(WAITS)) - 1]
    return wait / 2 + wait / 2 * random()


def held_back(delivery: Delivery, when_unsure: WhenUnsure) -> Outcome | None:
    """The outcome for a delivery that may have been sent before the relay died and must not be repeated; None: make the attempt."""
    if not delivery.suspect or when_unsure is not WhenUnsure.HOLD:
        return None
    return Outcome(Ending.MAYBE_DELIVERED, HELD_BACK, hold=True, only_this=True)


def queued_at_once(outcome: Outcome, delivery: Delivery, now: datetime) -> Settlement:
    """The settlement of an attempt that the relay itself cut short: it counts for nothing, and the next may begin at once."""
    return _again(outcome, delivery, now, at=now)


def what_follows(
    outcome: Outcome,
    delivery: Delivery,
    spec: TransportSpec,
    *,
    when_unsure: WhenUnsure | None = None,
    probe_at: datetime | None = None,
    now: datetime,
    random: Random,
) -> Settlement:
    """The settlement of a delivery after an attempt with this outcome.

    `when_unsure` overrides the transport's. `probe_at`: when the destination is probed next, if it is away; a
    delivery that failed for the first time does not wait beyond that.
    """
    if when_unsure not in {None, spec.when_unsure}:
        spec = replace(spec, when_unsure=when_unsure)
    match outcome.ending:
        case Ending.DELIVERED | Ending.ACCEPTED:
            follows = _settled(outcome, State(outcome.ending.value), now)
        case Ending.REFUSED if outcome.shorten and not delivery.short:
            follows = _again(outcome, delivery, now, at=now, short=True)
        case Ending.REFUSED:
            follows = _settled(outcome, State.FAILED, now)
        case Ending.MOVED:
            follows = _settled(outcome, State.MOVED, now)
        case Ending.MAYBE_DELIVERED:
            follows = _unsure(outcome, delivery, spec, now, random)
        case Ending.LATER:
            follows = _later(outcome, delivery, spec, now, random)
        case Ending.RATE_LIMITED | Ending.DESTINATION_BROKEN:
            # It waits for the destination's gate, through no fault of its own.
            follows = _again(outcome, delivery, now, at=now + (outcome.after or timedelta()))
    first = follows.counts and delivery.failures == 0 and not outcome.only_this
    if probe_at is not None and first and follows.due_at is not None:
        asked_for = now + (outcome.after or timedelta())
        return structs.replace(follows, due_at=min(follows.due_at, max(probe_at, asked_for)))
    return follows


def _unsure(
    outcome: Outcome, delivery: Delivery, spec: TransportSpec, now: datetime, random: Random
) -> Settlement:
    if spec.when_unsure is WhenUnsure.HOLD or outcome.hold:
        return _settled(outcome, State.MAYBE_DELIVERED, now)
    if spec.when_unsure is WhenUnsure.REPEAT:
        return _later(outcome, delivery, spec, now, random)
    if delivery.unsure:
        return _settled(outcome, State.MAYBE_DELIVERED, now)
    # A notification that arrives twice does less harm than none; so repeat it, but only once.
    wait = max(WAIT_WHEN_UNSURE * (1 + random() / 2), outcome.after or timedelta())
    return _again(outcome, delivery, now, at=now + wait)


def _later(
    outcome: Outcome, delivery: Delivery, spec: TransportSpec, now: datetime, random: Random
) -> Settlement:
    failures = delivery.failures + 1
    due = now + max(wait_after(failures, random), outcome.after or timedelta())
    if failures >= LEAST_FAILURES and due - delivery.queued_at > spec.gives_up_after:
        tried = _in_words(now - delivery.queued_at)
        return _settled(outcome, State.FAILED, now, f"given up after {tried}: {outcome.detail}")
    return _again(outcome, delivery, now, at=due, counts=True)


def _settled(outcome: Outcome, state: State, now: datetime, detail: str = "") -> Settlement:
    return Settlement(
        ending=outcome.ending,
        detail=detail or outcome.detail,
        state=state,
        ended_at=now,
        receipt=outcome.receipt,
    )


def _again(
    outcome: Outcome,
    delivery: Delivery,
    now: datetime,
    *,
    at: datetime,
    counts: bool = False,
    short: bool = False,
) -> Settlement:
    return Settlement(
        ending=outcome.ending,
        detail=outcome.detail,
        state=State.QUEUED,
        ended_at=now,
        due_at=at,
        counts=counts,
        short=short or delivery.short,
        receipt=outcome.receipt,
    )


def _in_words(age: timedelta) -> str:
    hours = round(age / timedelta(hours=1))
    return f"{hours} hours" if hours < 72 else f"{hours // 24} days"


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
        return self._queued(delivery, chat, place, recipients, instead_of=failed.name, now=now)

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
        return self._queued(
            delivery, chat, delivery.destination, present, instead_of=delivery.instead_of
        )

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
        return self._queued(
            delivery, chat, destination, recipients, instead_of=delivery.instead_of, now=now
        )

    def _queued(
        self,
        delivery: Delivery,
        chat: Chat,
        destination: str,
        recipients: tuple[str, ...],
        *,
        instead_of: str,
        now: datetime | None = None,
    ) -> tuple[NewDelivery, ...]:
        """New deliveries with `delivery`'s notification, one for each recipient at `destination`.

        `now`: apply the destination's timing at this time; None: send at once.
        """
        match = Match(
            rule=delivery.rule,
            template=delivery.template,
            destination=destination,
            recipients=recipients,
            instead_of=instead_of,
            urgent=any(each.urgent and each.name == delivery.rule for each in self.rules.rules),
        )
        if now is None:
            return new_deliveries(chat, [match], self.mail_domain)
        mutes = [mute for mute in self.mutes if mute.destination not in {"", instead_of}]
        if delivery.account == ITSELF:
            planned = (plan_alert if delivery.is_alert else plan_digest)(destination, mutes, now)
            return new_deliveries(chat, [match], self.mail_domain, planned)
        found = planned_deliveries(
            self.rules, chat, [match], self.mail_domain, mutes=mutes, now=now, may_skip=False
        )
        visitor = visitor_key(chat.visitor)
        return tuple(structs.replace(each, visitor=visitor) for each in found)


def stranded(queued: Mapping[str, int], destinations: Collection[str]) -> dict[str, str]:
    """Destinations with waiting deliveries that the rules do not have, each with a sentence on what to do.

    `queued`: how many wait, by destination. `destinations`: names of those in the rules.
    """
    return {
        name: f"{count} {'delivery waits' if count == 1 else 'deliveries wait'} for it, and the rules file does not"
        f" have it: put it back, or send what waits elsewhere with `{move_command(name)}`"
        for name, count in sorted(queued.items())
        if name not in destinations
    }


def move_command(destination: str) -> str:
    """The command that sends deliveries waiting for a destination elsewhere."""
    return f"relay move-deliveries {shlex.quote(destination)} NEW"


def _chat(delivery: Delivery) -> Chat:
    if delivery.account == ITSELF:
        return Chat(account=ITSELF, id=delivery.chat)
    return read_chat(delivery.body)
