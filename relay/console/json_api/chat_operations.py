"""Operations on chats: list, show, explain and replay them."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.json_api.api_request import (
    Call,
    Instant,
    Line,
    Listing,
    Numbered,
    copied,
    following,
    position,
)
from relay.console.json_api.chat_json import (
    ExplainedHook,
    ListedChat,
    PlannedDelivery,
    ToldChat,
    chats_listed,
    described_chat,
    explained,
    listed,
    recorded_explanation,
)
from relay.console.json_api.delivery_json import TriedDelivery, tried
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, missing
from relay.outbox.database_session import Sessions
from relay.outbox.history import StoredHook
from relay.outbox.past_chats import WantedChats
from relay.outbox.user_accounts import Role
from relay.services import in_thread
from relay.services.explanation import explain
from relay.services.find_chats import ChatHistory, chat_history, count_chats, list_chats
from relay.services.replay import Judged, replay
from relay.smartsupp import UnreadableHook, read_chat

chats = Operations("Chats")


class Kind(StrEnum):
    """The kind of a chat: missed, or an offline message."""

    MISSED = "missed"
    OFFLINE = "offline"


class Told(StrEnum):
    """A filter by a chat's deliveries: none, failed or waiting."""

    NOBODY = "nobody"
    FAILED = "failed"
    WAITING = "waiting"


class ChatFilter(Listing, kw_only=True):
    """Filters of the list of chats; a filter that is left out does not apply."""

    q: Annotated[
        str,
        Meta(
            max_length=200,
            pattern=r"^[^\u0000]*$",
            description="A part of the visitor's name, an email address, or a chat's id.",
        ),
    ] = ""
    kind: Kind | None = None
    """Only missed chats, or only offline messages."""
    told: Annotated[
        Told | None, Meta(description="nobody: no rule asked for it; failed, waiting: a delivery.")
    ] = None
    rule: Annotated[Line, Meta(description="Only chats with a delivery by this rule.")] = ""
    destination: Annotated[Line, Meta(description="Only chats with a delivery to it.")] = ""
    rating_at_most: Annotated[float, Meta(ge=0, le=5)] | None = None
    """Only chats with this rating or a lower one."""
    since: Annotated[
        Instant | None, Meta(description="Only chats whose newest hook came then or later.")
    ] = None
    until: Annotated[
        Instant | None, Meta(description="Only chats whose newest hook came before then.")
    ] = None
    account: Annotated[Line, Meta(description="With `chat`: the one chat of this name.")] = ""
    chat: Annotated[Line, Meta(description="A chat's id; needs `account`.")] = ""


class ChatList(Struct, kw_only=True):
    """A page of the list of chats, newest first."""

    chats: list[ListedChat]
    """The chats, newest first, at most `limit`."""
    next: str | None
    """The path of the next page; null on the last one."""


class TodayQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Since when to count."""

    since: Annotated[
        Instant | None, Meta(description="Left out: since midnight in the time zone of the rules.")
    ] = None


class ChatCounts(Struct, kw_only=True):
    """Counts of the chats whose first hook came in since a time."""

    since: datetime
    """The time from which chats are counted: as in the query, else in UTC."""
    chats: int
    """How many chats came in."""
    missed: int
    """How many of them were missed."""
    offline: int
    """How many of them are offline messages."""
    low_rated: int
    """How many of them were rated 2 or lower."""
    failed: int
    """How many deliveries ended badly since then."""
    is_more: bool
    """There are more chats than were counted."""


class WholeChat(Struct, kw_only=True):
    """A chat with its hooks and deliveries."""

    about: ListedChat
    """The chat as lists show it."""
    told: ToldChat | None
    """The chat as its newest hook described it; null where that can't be read any more."""
    hooks: list[ExplainedHook]
    """The hooks, oldest first, with the rules' verdicts."""
    deliveries: list[TriedDelivery]
    """The deliveries, oldest first."""


class WhichRules(StrEnum):
    """Which rules explain a chat: those of the day of each hook, or those in force."""

    OF_THAT_DAY = "of_that_day"
    IN_FORCE = "in_force"


class ExplanationQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which rules explain the chat."""

    rules: Annotated[
        WhichRules,
        Meta(
            description="of_that_day: what was said when each hook came; in_force: what is said now."
        ),
    ] = WhichRules.OF_THAT_DAY


class ChatExplanation(Struct, kw_only=True):
    """Why notifications of a chat were sent, or none was."""

    rules: WhichRules
    """The rules that were asked, as the query said."""
    hooks: list[ExplainedHook]
    """The hooks with their verdicts; with the rules in force only the newest hook."""


@chats.operation(HttpMethod.GET, "/chats", Role.VIEWER)
async def find_chats(call: Call, query: ChatFilter) -> ChatList:
    """Chats, the newest first, filtered and searched."""
    if query.chat and not query.account:
        raise Refusal(422, "chat: needs account", fields={"chat": "needs account"})
    wanted = WantedChats(
        since=query.since,
        until=query.until,
        missed=query.kind is Kind.MISSED,
        offline=query.kind is Kind.OFFLINE,
        undelivered=query.told is Told.NOBODY,
        failed=query.told is Told.FAILED,
        waiting=query.told is Told.WAITING,
        rule=query.rule,
        destination=query.destination,
        rated_at_most=query.rating_at_most,
        account=query.account,
        names=[(query.account, query.chat)] if query.chat else None,
    )
    before = position(call, query)
    chat_list = await list_chats(call.sessions, query.q, wanted, before=before, limit=query.limit)
    next_ = following(call, query, chat_list.before)
    return ChatList(chats=await chats_listed(chat_list.chats), next=next_)


@chats.operation(HttpMethod.GET, "/chats/today", Role.VIEWER)
async def count_today(call: Call, query: TodayQuery) -> ChatCounts:
    """How many chats came in today, how many were missed or rated 2 or lower, and how many deliveries failed."""
    local_now = call.now.astimezone(call.running.parts.in_force.rules.timezone)
    midnight = local_now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = query.since or midnight.astimezone(UTC)
    counts = await count_chats(call.sessions, since)
    return copied(ChatCounts, counts, since=since)


@chats.operation(HttpMethod.GET, "/chats/{number}", Role.VIEWER)
async def get_chat(call: Call, path: Numbered) -> WholeChat:
    """A chat with its hooks, the verdicts of the rules, and its deliveries with each attempt."""
    history = await history_of(call, path.number)
    chat = history.chat
    return await in_thread(
        lambda _: WholeChat(
            about=listed(chat),
            told=described_chat(chat.read) if chat.read else None,
            hooks=[recorded_explanation(hook) for hook in chat.chat.hooks],
            deliveries=[
                tried(each, history.attempts.get(each.id, [])) for each in chat.chat.deliveries
            ],
        )
    )


@chats.operation(HttpMethod.GET, "/chats/{number}/explanation", Role.VIEWER)
async def explain_chat(call: Call, path: Numbered, query: ExplanationQuery) -> ChatExplanation:
    """The verdict of each rule on a chat, with the result of each of its conditions."""
    history = await history_of(call, path.number)
    hooks = history.chat.chat.hooks
    if query.rules is WhichRules.OF_THAT_DAY:
        explanations = await in_thread(lambda _: [recorded_explanation(hook) for hook in hooks])
    else:
        explanations = [await in_thread(lambda _: _in_force(call, hooks[-1]))]
    return ChatExplanation(rules=query.rules, hooks=explanations)


class QueuedAnew(Struct, kw_only=True):
    """A delivery that a replay has queued, or would queue."""

    rule: str
    """The name of the rule that asks for it."""
    destination: str
    """The name of the destination."""
    recipient: str
    """An email address; for other transports the name of the destination."""


class ReplayedHook(Struct, kw_only=True):
    """A hook that was evaluated again with the rules in force."""

    hook: int
    """The relay's number of the hook."""
    queued: list[QueuedAnew]
    """The deliveries that did not exist before."""


class ReplayedChat(Struct, kw_only=True):
    """The result of a replay of a chat."""

    hooks: list[ReplayedHook]
    """The hooks that were evaluated, oldest first."""
    unreadable: list[int]
    """The numbers of hooks that this relay can't read."""


@chats.operation(HttpMethod.GET, "/chats/{number}/replay", Role.EDITOR)
async def preview_replay(call: Call, path: Numbered) -> ReplayedChat:
    """The deliveries that a replay of a chat would queue. Nothing is sent."""
    return await _replayed(call, path.number, call.sessions, dry_run=True)


@chats.operation(HttpMethod.POST, "/chats/{number}/replay", Role.EDITOR, status=202, once=True)
async def replay_chat(call: Call, path: Numbered) -> ReplayedChat:
    """Evaluate a chat again with the rules in force, and queue the deliveries that did not exist before."""
    return await _replayed(call, path.number, call.acting("replay", str(path.number)))


async def _replayed(
    call: Call, number: int, sessions: Sessions, *, dry_run: bool = False
) -> ReplayedChat:
    about = (await history_of(call, number)).chat.chat.about
    in_force = call.running.parts.in_force
    done = await replay(
        sessions,
        in_force.rules,
        in_force.mail_domain,
        chats=[about.name],
        by=call.caller.name,
        now=call.now,
        dry_run=dry_run,
    )
    return ReplayedChat(
        hooks=[ReplayedHook(hook=each.id, queued=queued_of(each)) for each in done.judged],
        unreadable=sorted(done.unreadable),
    )


def queued_of(judged: Judged) -> list[QueuedAnew]:
    """The deliveries of a hook that did not exist before."""
    return [copied(QueuedAnew, each) for each in judged.queued]


async def history_of(call: Call, number: int) -> ChatHistory:
    """The chat with this number, its deliveries and their attempts. Raises Refusal where there is none."""
    history = await chat_history(call.sessions, number)
    if history is None:
        raise missing(f"chat {number}; it may have been erased")
    return history


def _in_force(call: Call, hook: StoredHook) -> ExplainedHook:
    book = call.running.parts.in_force.rules
    try:
        chat = read_chat(hook.body, hook.received_at)
    except UnreadableHook as error:
        return explained(hook, book.hash, str(error), ())
    explanation = explain(book, chat, now=call.now)
    plans = [
        copied(
            PlannedDelivery,
            plan,
            rule=match.rule,
            destination=match.destination,
            why=plan.why or None,
        )
        for match, plan in explanation.plans or ()
    ]
    return explained(hook, book.hash, "", explanation.verdicts, plans=plans)
