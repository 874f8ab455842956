"""Accepts a hook: reads it, evaluates the rules, and stores the chat with its deliveries."""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime

from msgspec import Struct, structs

from relay.chat import Chat
from relay.outbox import Accepted, NewDelivery, NewHook, Outbox
from relay.outbox.digests import DIGEST_RULE
from relay.rules import Match, RuleBook
from relay.rules.compared_values import ChatView
from relay.rules.timed_evaluation import Judged, Judging, Unreached
from relay.smartsupp import UnreadableHook, read_chat
from relay.timing.plan import AT_ONCE, NOW, SKIP, URGENT, WAIT, Mute, Plan, plan

log = logging.getLogger(__name__)


class Taken(Struct, frozen=True):
    """The result of storing a hook and its deliveries."""

    chat: Chat
    new: bool
    """False if the same bytes were stored before."""
    deliveries: int
    """How many deliveries were queued or scheduled."""
    matched: bool
    """Whether a rule matched the chat."""
    trouble: str
    """Why some rules could not be evaluated; usually empty."""


async def take(
    body: bytes,
    *,
    rules: RuleBook,
    judging: Judging,
    outbox: Outbox,
    accept: Callable[[NewHook], Awaitable[Accepted]],
    alert: Callable[[RuleBook, Chat, Judged], Awaitable[None]],
    now: datetime,
    mail_domain: str,
    mutes: Sequence[Mute] = (),
) -> Taken:
    """Store the hook and queue the deliveries that the rules ask for, in one commit.

    `accept` does the commit in `outbox`; `alert` is called to queue an alert about rules that failed; `mutes`
    are the active ones. Raises UnreadableHook, after the bytes were set aside, and
    StorageUnavailable.
    """
    try:
        chat = read_chat(body, now)
    except UnreadableHook as problem:
        await outbox.keep_aside(body, str(problem), now)
        raise
    judged = await judging.ask(rules, chat, len(body))
    judgement, trouble = judged.judgement, judged.trouble
    if judgement.unreached or judged.unasked:
        # Before the hook is stored, so that the alert is queued whatever happens in between.
        await alert(rules, chat, judged)
    accepted = await accept(
        NewHook(
            body=body,
            chat=chat,
            received_at=now,
            rules_hash=rules.hash,
            verdicts=judgement.record,
            trouble=trouble,
            deliveries=planned_deliveries(
                rules, chat, judgement.matches, mail_domain, mutes=mutes, now=now
            ),
        )
    )
    if accepted.new:
        _warn_of(chat, judgement.unreached)
    count = len(accepted.destinations) + accepted.scheduled
    return Taken(chat, accepted.new, count, judgement.held, trouble)


def _warn_of(chat: Chat, unreached: Iterable[Unreached]) -> None:
    """Log rules that reach nobody and oddities of the hook, without the words of the chat."""
    name = f"{chat.account}/{chat.id}"
    for loss in unreached:
        log.warning(
            "chat %s: rule %r reaches nobody at %r, %s; `relay explain --chat %s` says why",
            *(name, loss.rule, loss.destination),
            f"{loss.instead!r} gets it instead" if loss.instead else "and nobody gets it instead",
            name,
        )
    if chat.oddities:
        log.warning(
            "chat %s is not as Smartsupp documents in %d places; `relay explain` says which",
            name,
            len(chat.oddities),
        )


def new_deliveries(
    chat: Chat, matches: Iterable[Match], mail_domain: str, planned: Plan = NOW
) -> tuple[NewDelivery, ...]:
    """Return one new delivery for each recipient of each match."""
    return tuple(
        NewDelivery(
            rule=match.rule,
            template=match.template,
            destination=match.destination,
            recipient=recipient,
            instead_of=match.instead_of,
            message_id=message_id(
                chat,
                rule=match.rule,
                destination=match.destination,
                recipient=recipient,
                domain=mail_domain,
            ),
            plan=planned,
            once_per=match.once_per,
        )
        for match in matches
        for recipient in match.recipients
    )


def digest_delivery(mail_domain: str, chat: Chat, destination: str, recipient: str) -> NewDelivery:
    """Return the delivery of a digest, whose pseudo-chat is `chat`."""
    match = Match(rule=DIGEST_RULE, template="", destination=destination, recipients=(recipient,))
    return new_deliveries(chat, [match], mail_domain)[0]


def planned_deliveries(
    rules: RuleBook,
    chat: Chat,
    matches: Sequence[Match],
    mail_domain: str,
    *,
    mutes: Sequence[Mute] = (),
    now: datetime,
    may_skip: bool = True,
) -> tuple[NewDelivery, ...]:
    """Return one delivery for each recipient of each match, planned by its destination's hours and limits.

    `now` is the chat's arrival. If `may_skip` is False, a delivery outside the hours waits even
    where the destination would skip it. Deliveries that an urgent rule makes unnecessary come last.
    """
    if not mutes and all(
        rules.destinations[match.destination].timing is AT_ONCE for match in matches
    ):
        return new_deliveries(chat, matches, mail_domain)
    plans = planned_matches(rules, chat, matches, mutes=mutes, now=now, may_skip=may_skip)
    return tuple(
        delivery
        for match, planned in sorted(plans, key=lambda pair: pair[1].otherwise is not None)
        for delivery in new_deliveries(chat, [match], mail_domain, planned)
    )


def planned_matches(
    rules: RuleBook,
    chat: Chat,
    matches: Sequence[Match],
    *,
    mutes: Sequence[Mute] = (),
    now: datetime,
    may_skip: bool = True,
) -> Iterator[tuple[Match, Plan]]:
    """Yield each match with its plan, moved to another destination where hours or mutes say so.

    A moved match is dropped if its rule matches that destination anyway. A match that would go into
    a digest is left out if an urgent rule sends the chat to that destination at once.
    """
    plans = tuple(_final_matches(rules, chat, matches, mutes, now, may_skip=may_skip))
    at_once = [match for match, planned in plans if planned is NOW]
    urgent = {match.destination for match in at_once if match.urgent and not match.once_per}
    for match, planned in plans:
        repeated = planned.in_digest and match.destination in urgent
        yield match, Plan(state="left out", why=URGENT, otherwise=planned) if repeated else planned


def _final_matches(
    rules: RuleBook,
    chat: Chat,
    matches: Sequence[Match],
    mutes: Sequence[Mute],
    now: datetime,
    *,
    may_skip: bool,
) -> Iterator[tuple[Match, Plan]]:
    """Yield each match with its plan, at the destination that will get the message."""
    active = [mute for mute in mutes if not mute.when or rules.meets(mute.when, chat)]
    targets = {(match.rule, match.destination) for match in matches}
    for match in matches:
        planned = _planned(rules, match, active, now, may_skip=may_skip)
        passed = {match.destination, match.instead_of}
        target = match
        while planned.instead:
            place, recipients, _ = rules.reach(planned.instead, ChatView(chat))
            # Nobody can be reached there, so the message waits where it is.
            if not recipients or place in passed:
                planned = _planned(rules, target, active, now, may_go=False, may_skip=may_skip)
                break
            passed.add(place)
            target = structs.replace(
                match,
                destination=place,
                recipients=recipients,
                instead_of="" if place == planned.instead else planned.instead,
            )
            planned = _planned(rules, target, active, now, may_skip=may_skip)
        if target is match or (match.rule, target.destination) not in targets:
            targets.add((match.rule, target.destination))
            yield target, planned


def _planned(
    rules: RuleBook,
    match: Match,
    mutes: Sequence[Mute],
    now: datetime,
    *,
    may_go: bool = True,
    may_skip: bool = True,
) -> Plan:
    if match.instead_of:  # a mute of a destination also mutes what its fallback gets instead
        mutes = [
            structs.replace(mute, destination=match.destination)
            if mute.destination == match.instead_of
            else mute
            for mute in mutes
        ]
    timing = rules.destinations[match.destination].timing
    if not may_go:
        timing = structs.replace(timing, instead="")
    if not may_skip and timing.outside_hours == SKIP:
        timing = structs.replace(timing, outside_hours=WAIT)
    return plan(
        rule=match.rule,
        urgent=match.urgent,
        destination=match.destination,
        timing=timing,
        mutes=mutes,
        arrived=now,
    )


def message_id(
    chat: Chat, *, rule: str, destination: str, recipient: str, domain: str, generation: int = 1
) -> str:
    """Return the unchanging ID of a delivery, by which a receiver can discard a repeated message.

    At most 65 characters: Python's email package turns longer ones into encoded words.
    """
    parts = (chat.account, chat.id, rule, destination, recipient, str(generation))
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    return f"{name}@{short_domain(domain)}"


def short_domain(domain: str) -> str:
    """Return the domain, or as many of its last labels as fit beside a name of 24 characters."""
    while len(domain) > 36 and "." in domain:
        domain = domain.partition(".")[2]
    return domain if 0 < len(domain) <= 36 else "relay.invalid"
