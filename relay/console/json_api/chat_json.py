"""The JSON of chats, and of the rules' verdicts on them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from relay.chat import Chat
from relay.console.json_api.api_request import copied
from relay.console.json_api.delivery_json import Delivery, delivery_of
from relay.outbox.history import StoredHook
from relay.rules import Finding, Standing, Verdict, read_record
from relay.services import in_thread
from relay.services.find_chats import StoredChat


class ListedChat(Struct, kw_only=True):
    """A chat in a list. Visitors' texts are unescaped: escape them before showing."""

    number: int
    """The relay's number of the chat."""
    account: str
    """Smartsupp's id of the account."""
    chat: str
    """Smartsupp's id of the chat."""
    visitor: str
    """The visitor's name; may be empty."""
    email: str
    """The email address as the visitor typed it, which may be no address; may be empty."""
    question: str
    """The first message of the visitor."""
    began: datetime | None
    """When the chat began, in UTC; null where the hook does not say."""
    first_hook: datetime
    """When the chat's first hook came in, in UTC."""
    last_hook: datetime
    """When its newest hook came in, in UTC."""
    missed: bool
    """Whether no agent answered the visitor's last message."""
    offline: bool
    """Whether it is a message that was left while no agent was online."""
    rating: float | None
    """1 to 5, as the visitor rated it; null where they did not."""
    rules: list[str]
    """The names of the rules that matched."""
    trouble: str
    """Why the rules could not be evaluated; empty where they could."""
    deliveries: list[Delivery]
    """The deliveries of the chat, oldest first."""


class ToldChat(Chat, kw_only=True, frozen=True):
    """A chat as its newest hook described it, with durations in seconds.

    Visitors' texts are unescaped: escape them before showing.
    """

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
    """The verdict of a rule on a chat, with the result of each of its conditions."""

    rule: str
    """The name of the rule."""
    answer: Standing
    """Whether the rule matches: yes, no, turned off or not asked."""
    stopped_by: str | None
    """The name of the earlier rule because of which this one was not evaluated; else null."""
    findings: tuple[Finding, ...]
    """The result of each condition; empty for a rule that is turned off or was not evaluated."""
    sends: list[SentTo]
    """The destinations to which the rule sends; empty for earlier hooks, whose deliveries say it."""
    left_out: tuple[str, ...]
    """Recipients that can't be used for this chat, in sentences that contain the visitor's words."""
    reaches_nobody: bool
    """Whether the rule matches, but no recipient is left."""


class PlannedDelivery(Struct, kw_only=True):
    """When a notification of a rule is due."""

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
    """Whether it is sent in a digest, not on its own."""


class ExplainedHook(Struct, kw_only=True):
    """A hook, and the rules' verdicts on it."""

    hook: int
    """The relay's number of the hook."""
    received_at: datetime
    """When it came in, in UTC."""
    rules_hash: str
    """SHA-256 in hex of the rules file that was used."""
    trouble: str
    """Why the rules could not be evaluated; empty where they could."""
    rules: list[RuleVerdict]
    """The verdicts of the rules, in the order of the rules file."""
    left_out: int
    """How many rules did not match and were not stored."""
    plans: list[PlannedDelivery]
    """When notifications are due, if not all are sent at once."""


async def chats_listed(chats: Sequence[StoredChat]) -> list[ListedChat]:
    """Chats of a list as JSON. Their hooks are read in a thread, as there may be hundreds."""
    return await in_thread(lambda _: [listed(each) for each in chats])


def listed(chat: StoredChat) -> ListedChat:
    """A chat of a list as JSON; reads its newest hook."""
    about = chat.chat.about
    return copied(
        ListedChat,
        about,
        number=about.id,
        email=chat.email,
        question=chat.question,
        rules=list(chat.rules),
        trouble=chat.trouble,
        deliveries=[delivery_of(each) for each in chat.chat.deliveries],
    )


def described_chat(chat: Chat) -> ToldChat:
    """A chat, as its hook described it, as JSON."""
    values = msgspec.structs.asdict(chat)
    lengths = {
        name: value.total_seconds()
        for name, value in values.items()
        if isinstance(value, timedelta)
    }
    return ToldChat(**{**values, **lengths})


def recorded_explanation(hook: StoredHook) -> ExplainedHook:
    """A hook with the verdicts that were stored when it came in, as JSON."""
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
    """How a hook is judged by the rules with this hash."""
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
    """A verdict as JSON."""
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
