"""The page of one chat: where it was sent and why, what happened, and the messages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from relay.chat import Author, Chat
from relay.console.chat_list_page import chat_line
from relay.console.delivery_states import OutcomeWords, is_under_way, mutes_of, outcome_of
from relay.console.logged_acts import new_key
from relay.console.page import AnyRequest, Number, Page, Pages, page_route
from relay.languages import Language
from relay.links import web_link
from relay.outbox.delivery_types import State
from relay.outbox.history import Attempt, Record, StoredHook
from relay.outbox.user_accounts import Role
from relay.rendering.translation import words_in
from relay.rules import Finding, Recorded, Verdict, read_record
from relay.services import in_thread
from relay.services.explanation import Miss, misses, nearest_misses
from relay.services.find_chats import ChatHistory, chat_history
from relay.web.app import Running

MOST_PAGES = 20
"""How many pages of the website that the visitor saw are listed."""


class SentLine(Struct, frozen=True):
    """A destination to which the chat was or will be sent, and why."""

    outcome: OutcomeWords
    recipient: str
    """The recipient; empty where the destination has only itself as one."""
    at: datetime | None
    rule: str
    because: list[Finding]
    """The conditions of the rule that were met."""
    why: str
    """Why it waits or was left out; empty where it is or was sent."""


class Why(Struct, frozen=True):
    """Where a chat was sent, where it was not, and why."""

    sent: list[SentLine]
    for_nobody: list[str]
    """Rules that matched without a notification."""
    unmatched: list[Miss]
    nearest: list[Miss]
    trouble: str
    is_unwanted: bool
    """Whether no rule matched, and nothing failed."""

    @property
    def tone(self) -> str:
        """The colour of the worst outcome."""
        tones = {line.outcome.tone for line in self.sent} | ({"bad"} if self.trouble else set())
        return next((tone for tone in ("bad", "warn", "neutral", "good") if tone in tones), "")


class DeliveryEvent(Struct, frozen=True):
    """A delivery in the timeline."""

    record: Record
    outcome: OutcomeWords
    attempts: list[Attempt]


class HookEvent(Struct, frozen=True):
    """A hook in the timeline, with its verdicts and deliveries."""

    hook: StoredHook
    recorded: Recorded
    deliveries: list[DeliveryEvent]


class MessageLine(Struct, frozen=True):
    """A message of the transcript."""

    side: str
    """`visitor`, `agent`, `automatic` or `system`."""
    name: str
    text: str
    at: datetime | None


class ChatPage:
    """`/chats/{number}`."""

    def __init__(self, running: Running, pages: Pages) -> None:
        self._running, self._pages = running, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/chats/{number:int}", Role.VIEWER, self._chat),
        ]

    async def _chat(self, request: AnyRequest, number: Number) -> Page:
        history = await chat_history(self._running.parts.outbox.sessions, number)
        if history is None:
            raise NotFoundException
        return await self._show(request, history)

    async def _show(self, request: AnyRequest, history: ChatHistory) -> Page:
        language, deliveries = self._pages.language(request), history.chat.chat.deliveries
        return await self._pages.show(
            request,
            "chat.html",
            nav="chats",
            **await in_thread(lambda _: _parts(history, language)),
            mutes=await mutes_of(self._running.parts.outbox, deliveries),
            sent=_unique_deliveries(deliveries),
            is_under_way=any(is_under_way(each, self._running.clock()) for each in deliveries),
            mutable=self._mutable(deliveries),
            key=new_key(),
        )

    def _mutable(self, deliveries: Sequence[Record]) -> list[tuple[str, str]]:
        """What can be muted to hold back similar chats: pairs of a rule and a destination, one of which is empty."""
        rules = self._running.parts.in_force.rules
        known = {rule.name for rule in rules.rules}
        of_rules = dict.fromkeys(each.rule for each in deliveries if each.rule in known)
        to = dict.fromkeys(
            each.destination for each in deliveries if each.destination in rules.destinations
        )
        return [*((rule, "") for rule in of_rules), *(("", name) for name in to)]


def _parts(history: ChatHistory, language: Language) -> dict[str, Any]:
    """Values for the page that are read from hooks and verdicts, of which there may be many: call it in a thread."""
    chat = history.chat
    read = chat.read
    return {
        "chat": chat_line(chat, language),
        "read": read,
        "why": why_of(history, language),
        "hooks": [_hook_event(hook, history, language) for hook in chat.chat.hooks],
        "messages": _transcript_lines(read, language) if read else [],
        "facts": _facts(read, language) if read else [],
    }


def why_of(history: ChatHistory, language: Language) -> Why:
    """Where a chat was sent and why, from the stored verdicts of its hooks and the states of its deliveries."""
    chat = history.chat.chat
    verdicts = [each for hook in chat.hooks for each in _recorded(hook).verdicts]
    matched = {each.rule: each for each in verdicts if each.holds}
    sent = [_sent_line(each, matched.get(each.rule), language) for each in chat.deliveries]
    newest = _recorded(chat.hooks[-1]).verdicts
    delivered_rules = {delivery.rule for delivery in chat.deliveries}
    is_unwanted = not matched and not sent and not history.chat.trouble
    return Why(
        sent=sent,
        for_nobody=[name for name in matched if name not in delivered_rules],
        unmatched=[each for each in misses(newest) if each.rule not in matched],
        nearest=nearest_misses(newest) if is_unwanted else [],
        trouble=history.chat.trouble,
        is_unwanted=is_unwanted,
    )


def _sent_line(delivery: Record, verdict: Verdict | None, language: Language) -> SentLine:
    return SentLine(
        outcome_of(delivery, language),
        "" if delivery.recipient == delivery.destination else delivery.recipient,
        delivery.settled_at,
        delivery.rule,
        [each for each in verdict.findings if each.holds] if verdict else [],
        delivery.why if delivery.state in {State.SCHEDULED, State.LEFT_OUT} else "",
    )


def _recorded(hook: StoredHook) -> Recorded:
    try:
        return read_record(hook.verdicts)
    except ValueError:  # the rules could not be checked
        return Recorded((), 0)


def _hook_event(hook: StoredHook, history: ChatHistory, language: Language) -> HookEvent:
    deliveries = [
        DeliveryEvent(each, outcome_of(each, language), history.attempts.get(each.id, []))
        for each in history.chat.chat.deliveries
        if each.hook_id == hook.id
    ]
    return HookEvent(hook, _recorded(hook), deliveries)


def _unique_deliveries(deliveries: Sequence[Record]) -> list[Record]:
    """One delivery for each destination and rule, as the others look the same."""
    return list({(each.destination, each.rule): each for each in deliveries}.values())


def _transcript_lines(chat: Chat, language: Language) -> list[MessageLine]:
    words = words_in(language.name)
    lines = []
    for message in chat.messages:
        if message.author is Author.SYSTEM:
            text = words.system_message(message.text, message.name)
            lines.append(MessageLine("system", "", text, message.sent_at))
            continue
        names = {
            Author.VISITOR: ("visitor", message.name or chat.visitor.name or words.visitor),
            Author.AGENT: ("agent", message.name or words.agent),
            Author.AUTOMATIC: ("automatic", message.name or words.automatic),
        }
        side, name = names.get(message.author, ("visitor", message.name or words.unknown))
        lines.append(MessageLine(side, name, message.text, message.sent_at))
    return lines


def _facts(chat: Chat, language: Language) -> list[tuple[str, str]]:
    """Labels and values of what is known about the visitor."""
    _, words, visitor = language.gettext, words_in(language.name), chat.visitor
    place = ", ".join(filter(None, (visitor.city, words.country(visitor.country_code))))
    facts = [
        (_("Email address"), visitor.email),
        (_("Note"), visitor.note),
        (_("Group"), visitor.group),
        (_("Place"), place),
        (_("IP address"), visitor.ip),
        (_("Came from"), web_link(visitor.referer)),
        (_("Rating comment"), chat.rating_comment),
        *((each.label or key, str(each.value)) for key, each in visitor.variables.items()),
        *(
            (_("Page"), " ".join(filter(None, (page.title, web_link(page.url)))))
            for page in chat.pages[:MOST_PAGES]
        ),
    ]
    return [(label, value) for label, value in facts if value]
