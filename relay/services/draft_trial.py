"""Tries rules that are being edited on one chat: what they do beside those in force, and what they would send."""

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from relay.delivery.renderer import Renderer
from relay.destination import Destination
from relay.notification import Notification
from relay.outbox import Delivery
from relay.outbox.chat_list import chat_called, number_of_chat
from relay.outbox.database_session import Session, Sessions
from relay.outbox.history import StoredHook
from relay.rendering.isolation.worker_pool import RenderPool
from relay.rules import RuleBook, Verdict
from relay.services import in_thread, read_in_thread
from relay.services.trial_send import as_queued
from relay.settings.table import Settings
from relay.smartsupp import UnreadableHook, read_chat

LONGEST_NUMBER = 18
"""Digits of a chat's number; databases support no larger numbers."""
MOST_SHOWN = 8
"""How many deliveries of one chat are rendered."""


class RulePair(Struct, frozen=True):
    """The verdicts of a rule on a chat, in force and in the draft."""

    rule: str
    in_force: Verdict | None
    """The verdict of the rule in force; None where the rules in force do not have the rule."""
    draft: Verdict | None

    @property
    def is_changed(self) -> bool:
        """Whether the rule in the draft sends something different from the rule in force."""
        return _sent(self.in_force) != _sent(self.draft)


class Rendered(Struct, frozen=True):
    """A delivery that the rules would make, rendered."""

    delivery: Delivery
    destination: Destination
    notification: Notification
    trouble: str
    """The error in the template, as `file:line: what`; empty without one."""


class ChatTrial(Struct, frozen=True):
    """The result of trying a draft's rules on a chat."""

    hook: StoredHook
    """The chat's newest hook."""
    pairs: tuple[RulePair, ...]
    """The rules, in the order of the draft, then those that only the rules in force have."""
    shown: tuple[Rendered, ...]
    more: int
    """How many further deliveries would be made."""


class NoSuchChat(Exception):
    """Raised where there is no chat of this name, or it can't be read."""


async def find_hook(sessions: Sessions, name: str) -> StoredHook:
    """The newest hook of a chat, given its number or `<account>/<id>`. Raises NoSuchChat, StorageRefused and StorageUnavailable."""
    account, _, id_ = (part.strip() for part in name.strip().partition("/"))

    def work(session: Session) -> StoredHook:
        number = number_of_chat(session, (account, id_)) if id_ else None
        if not id_ and account.isdecimal() and len(account) <= LONGEST_NUMBER:
            number = int(account)
        chat = None if number is None else chat_called(session, number=number)
        if chat is None:
            raise NoSuchChat
        return chat.hooks[-1]

    return await read_in_thread(sessions, work)


async def try_on_chat(
    hook: StoredHook,
    in_force: RuleBook,
    draft: RuleBook,
    settings: Settings,
    workers: RenderPool,
) -> ChatTrial:
    """Check the chat of a hook with both rules, and render what the draft's would send. Nothing is sent.

    `workers` must not be those of deliveries, as a template that is being edited may hang. Raises NoSuchChat.
    """
    domain = settings.mail_from.domain if settings.mail_from else "localhost"
    pairs, queued = await in_thread(lambda _: _compared(hook, in_force, draft, domain))
    renderer = Renderer(workers, settings.public_url)
    rendered = (_rendered(each, draft, renderer) for each in queued[:MOST_SHOWN])
    shown = await asyncio.gather(*rendered)
    return ChatTrial(hook, tuple(pairs), tuple(shown), max(0, len(queued) - MOST_SHOWN))


def _compared(
    hook: StoredHook, in_force: RuleBook, draft: RuleBook, mail_domain: str
) -> tuple[list[RulePair], list[Delivery]]:
    """The verdicts of both rules, and the deliveries that the draft's would make. Raises NoSuchChat."""
    try:
        chat = read_chat(hook.body, hook.received_at)
    except UnreadableHook:
        raise NoSuchChat from None
    after = draft.explain(chat)
    matches = [match for verdict in after for match in verdict.matches]
    queued = as_queued(chat, hook.body, matches, mail_domain, hook.received_at)
    return _pairs(in_force.explain(chat), after), queued


async def _rendered(delivery: Delivery, book: RuleBook, renderer: Renderer) -> Rendered:
    destination = book.destinations[delivery.destination]
    notification, trouble = await renderer.try_out(delivery, destination, bodies=True)
    return Rendered(delivery, destination, notification, trouble)


def _pairs(before: Sequence[Verdict], after: Sequence[Verdict]) -> list[RulePair]:
    old = {each.rule: each for each in before}
    new = {each.rule: each for each in after}
    return [RulePair(name, old.get(name), new.get(name)) for name in {**new, **old}]


def _sent(verdict: Verdict | None) -> tuple[bool, frozenset[tuple[str, str, tuple[str, ...]]]]:
    if verdict is None or not verdict.holds:
        return False, frozenset()
    return True, frozenset(
        (each.destination, each.template, each.recipients) for each in verdict.matches
    )
