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
    chat: str
    visitor: str
    email: str
    question: str
    """The visitor's first words."""
    began: datetime | None
    first_hook: datetime
    last_hook: datetime
    missed: bool
    offline: bool
    rating: float | None
    rules: list[str]
    """That matched."""
    trouble: str
    """Why the rules could not be asked; empty where they could."""
    deliveries: list[Delivery]


class ToldChat(Chat, kw_only=True, frozen=True):
    """A chat as its newest hook described it; lengths of time in seconds. Texts of visitors are as they were typed: escape them."""

    duration: float | None = None  # type: ignore[assignment]
    first_response: float | None = None  # type: ignore[assignment]
    average_response: float | None = None  # type: ignore[assignment]


class SentTo(Struct, kw_only=True):
    """A destination to which a rule sends a chat."""

    destination: str
    instead_of: str | None
    template: str
    recipients: tuple[str, ...]


class RuleVerdict(Struct, kw_only=True):
    """What a rule says of a chat, with the answer of each of its conditions."""

    rule: str
    answer: Standing
    stopped_by: str | None
    findings: tuple[Finding, ...]
    sends: list[SentTo]
    """Empty for hooks of the past: their deliveries tell it."""
    left_out: tuple[str, ...]
    reaches_nobody: bool


class PlannedDelivery(Struct, kw_only=True):
    """When what a rule sends is due."""

    rule: str
    destination: str
    state: Literal["queued", "scheduled", "left out"]
    due: datetime | None
    why: str | None
    in_digest: bool


class ExplainedHook(Struct, kw_only=True):
    """A hook, and what the rules say of it."""

    hook: int
    received_at: datetime
    rules_hash: str
    """Of the rules that were asked."""
    trouble: str
    """Why the rules could not be asked; empty where they could."""
    rules: list[RuleVerdict]
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
        rules=[_verdict(each) for each in verdicts],
        left_out=left_out,
        plans=list(plans),
    )


def _verdict(verdict: Verdict) -> RuleVerdict:
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
