"""Chats and what rules say of them, as the JSON API tells them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from relay.chat import Chat
from relay.console.json_api.delivery_json import Delivery, delivery_of
from relay.outbox.history import StoredHook
from relay.rules import Finding, Standing, Verdict, read_record
from relay.services.find_chats import FoundChat


class ListedChat(Struct, kw_only=True):
    """A chat as lists show it. Texts of visitors are as they were typed: escape them."""

    number: int
    """By which the relay knows it."""
    account: str
    """Smartsupp's id of the account."""
    chat: str
    """Smartsupp's id of the chat."""
    visitor: str
    """The visitor's name; may be empty."""
    email: str
    """As the visitor typed it: not necessarily an address; may be empty."""
    question: str
    """The visitor's first words."""
    began: datetime | None
    """When the chat began, in UTC; null where the hook does not say."""
    first_hook: datetime
    """When the chat's first hook came in, in UTC."""
    last_hook: datetime
    """When its newest hook came in, in UTC."""
    missed: bool
    """No agent answered the visitor's last message."""
    offline: bool
    """It is a message that was left while nobody was there."""
    rating: float | None
    """1 to 5, as the visitor rated it; null where they did not."""
    rules: list[str]
    """That matched."""
    trouble: str
    """Why the rules could not be asked; empty where they could."""
    deliveries: list[Delivery]
    """What was sent of it or waits, in the order in which it was made."""


class ToldChat(Chat, kw_only=True, frozen=True):
    """A chat as its newest hook described it; lengths of time in seconds. Texts of visitors are as they were typed: escape them."""

    duration: float | None = None  # type: ignore[assignment]
    """In seconds, from its first to its last moment; null where the hook does not say."""
    first_response: float | None = None  # type: ignore[assignment]
    """In seconds, until an agent first answered; null where the hook does not say."""
    average_response: float | None = None  # type: ignore[assignment]
    """In seconds, the mean of the agents' response times; null where the hook does not say."""


class SentTo(Struct, kw_only=True):
    """A destination to which a rule sends a chat."""

    destination: str
    """The name of the destination."""
    instead_of: str | None
    """The destination that can't reach anybody for this chat, if this one is its fallback; else null."""
    template: str
    """The name of the template."""
    recipients: tuple[str, ...]
    """Email addresses; for other transports the name of the destination."""


class RuleVerdict(Struct, kw_only=True):
    """What a rule says of a chat, with the answer of each of its conditions."""

    rule: str
    """The name of the rule."""
    answer: Standing
    """Whether it matches: yes, no, turned off or not asked."""
    stopped_by: str | None
    """The name of the earlier rule for which it was not asked; null where it was."""
    findings: tuple[Finding, ...]
    """The answer of each condition; empty for a rule that is turned off or was not asked."""
    sends: list[SentTo]
    """Empty for hooks of the past: their deliveries tell it."""
    left_out: tuple[str, ...]
    """Recipients that can't be used for this chat, in sentences with the visitor's words."""
    reaches_nobody: bool
    """It matches, and nobody gets anything, though somebody was meant to."""


class PlannedDelivery(Struct, kw_only=True):
    """When what a rule sends is due."""

    rule: str
    """The name of the rule."""
    destination: str
    """The name of the destination."""
    state: Literal["queued", "scheduled", "left out"]
    """queued: at once; scheduled: at `due`; left out: never."""
    due: datetime | None
    """When it is sent, at the earliest, in UTC; null for what is left out."""
    why: str | None
    """Why it is not sent at once; null where it is."""
    in_digest: bool
    """It is sent in a digest, not by itself."""


class ExplainedHook(Struct, kw_only=True):
    """A hook, and what the rules say of it."""

    hook: int
    """The relay's number of the hook."""
    received_at: datetime
    """When it came in, in UTC."""
    rules_hash: str
    """Of the rules that were asked."""
    trouble: str
    """Why the rules could not be asked; empty where they could."""
    rules: list[RuleVerdict]
    """In the order in which they were asked."""
    left_out: int
    """Rules that did not match and were not kept."""
    plans: list[PlannedDelivery]
    """Where something is not sent at once."""


def listed(found: FoundChat) -> ListedChat:
    about = found.chat.about
    return ListedChat(
        number=about.id,
        account=about.account,
        chat=about.chat,
        visitor=about.visitor,
        email=found.email,
        question=found.question,
        began=about.began,
        first_hook=about.first_hook,
        last_hook=about.last_hook,
        missed=about.missed,
        offline=about.offline,
        rating=about.rating,
        rules=list(found.rules),
        trouble=found.trouble,
        deliveries=[delivery_of(each) for each in found.chat.deliveries],
    )


def told(chat: Chat) -> ToldChat:
    values = msgspec.structs.asdict(chat)
    lengths = {
        name: value.total_seconds()
        for name, value in values.items()
        if isinstance(value, timedelta)
    }
    return ToldChat(**{**values, **lengths})


def of_that_day(hook: StoredHook) -> ExplainedHook:
    record = read_record(hook.verdicts) if hook.verdicts else None
    return explained(
        hook,
        hook.rules_hash,
        hook.trouble,
        record.verdicts if record else (),
        left_out=record.left_out if record else 0,
    )


def explained(
    hook: StoredHook,
    rules_hash: str,
    trouble: str,
    verdicts: Sequence[Verdict],
    *,
    left_out: int = 0,
    plans: Sequence[PlannedDelivery] = (),
) -> ExplainedHook:
    return ExplainedHook(
        hook=hook.id,
        received_at=hook.received_at,
        rules_hash=rules_hash,
        trouble=trouble,
        rules=[verdict_of(each) for each in verdicts],
        left_out=left_out,
        plans=list(plans),
    )


def verdict_of(verdict: Verdict) -> RuleVerdict:
    """What a rule says of a chat, as it is told."""
    return RuleVerdict(
        rule=verdict.rule,
        answer=verdict.standing,
        stopped_by=verdict.stopped_by or None,
        findings=verdict.findings,
        sends=[
            SentTo(
                destination=match.destination,
                instead_of=match.instead_of or None,
                template=match.template,
                recipients=tuple(match.recipients),
            )
            for match in verdict.matches
        ],
        left_out=verdict.left_out,
        reaches_nobody=verdict.reaches_nobody,
    )
