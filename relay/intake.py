"""A hook comes in: read it, ask the rules, write down its deliveries."""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

from msgspec import Struct

from relay.chat import Chat
from relay.outbox import Accepted, NewDelivery, NewHook, Outbox
from relay.rules import Match, RuleBook
from relay.rules.judgement import Judged, Judging, Unreached
from relay.smartsupp import UnreadableHook, read_chat

log = logging.getLogger(__name__)


class Taken(Struct, frozen=True):
    """The hook is on disk, with its deliveries."""

    chat: Chat
    new: bool
    """False: these very bytes were here before."""
    deliveries: int
    """How many are newly queued or scheduled."""
    matched: bool
    """A rule holds for it."""
    trouble: str
    """Why not all rules could be asked; empty as a rule."""


async def take(
    body: bytes,
    *,
    rules: RuleBook,
    judging: Judging,
    outbox: Outbox,
    accept: Callable[[NewHook], Awaitable[Accepted]],
    tell: Callable[[RuleBook, Chat, Judged], Awaitable[None]],
    now: datetime,
    mail_domain: str,
) -> Taken:
    """Keep the hook and queue what the rules ask for, in one commit.

    `accept` does that, in `outbox`; `tell` has an alert queued about rules in trouble. Raises UnreadableHook, after the bytes were kept aside, and StorageUnavailable.
    """
    try:
        chat = read_chat(body, now)
    except UnreadableHook as problem:
        await outbox.keep_aside(body, str(problem), now)
        raise
    judged = await judging.ask(rules, chat, len(body))
    judgement, trouble = judged.judgement, judged.trouble
    if judgement.unreached or judged.unasked:
        # Before the hook is kept: whatever happens in between, somebody is told.
        await tell(rules, chat, judged)
    accepted = await accept(
        NewHook(
            body=body,
            chat=chat,
            received_at=now,
            rules_hash=rules.hash,
            verdicts=judgement.record,
            trouble=trouble,
            deliveries=new_deliveries(chat, judgement.matches, mail_domain),
        )
    )
    if accepted.new:
        _warn_of(chat, judgement.unreached)
    count = len(accepted.destinations) + accepted.scheduled
    return Taken(chat, accepted.new, count, judgement.held, trouble)


def _warn_of(chat: Chat, unreached: Iterable[Unreached]) -> None:
    """Without what the chat says: that may be the visitor's own words."""
    name = f"{chat.account}/{chat.id}"
    for each in unreached:
        log.warning(
            "chat %s: rule %r reaches nobody at %r, %s; `relay explain --chat %s` says why",
            *(name, each.rule, each.destination),
            f"{each.instead!r} gets it instead" if each.instead else "and nobody gets it instead",
            name,
        )
    if chat.oddities:
        log.warning(
            "chat %s is not as Smartsupp documents in %d places; `relay explain` says which",
            name,
            len(chat.oddities),
        )


def new_deliveries(
    chat: Chat, matches: Iterable[Match], mail_domain: str
) -> tuple[NewDelivery, ...]:
    """One for each recipient of each match."""
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
        )
        for match in matches
        for recipient in match.recipients
    )


def message_id(
    chat: Chat, *, rule: str, destination: str, recipient: str, domain: str, generation: int = 1
) -> str:
    """An id of a delivery that never changes: a receiver can drop the copy of a repeated one.

    At most 65 characters: Python's mail package turns longer ones into encoded words.
    """
    parts = (chat.account, chat.id, rule, destination, recipient, str(generation))
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    return f"{name}@{short_domain(domain)}"


def short_domain(domain: str) -> str:
    """The domain, or as many of its last labels as fit beside a 24 character name."""
    while len(domain) > 36 and "." in domain:
        domain = domain.partition(".")[2]
    return domain if 0 < len(domain) <= 36 else "relay.invalid"
