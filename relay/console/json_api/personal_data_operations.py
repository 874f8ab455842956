"""Operations that export and erase the personal data of a chat or of its visitor."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.chat_acts import EVERYTHING
from relay.console.json_api.api_request import Call, Line, Numbered, copied
from relay.console.json_api.chat_operations import history_of
from relay.console.json_api.delivery_json import TriedDelivery, tried
from relay.console.json_api.mute_operations import Mute, mute_of
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, wrong
from relay.console.json_api.unreadable_operations import UnreadableBody, unreadable_body
from relay.console.logged_acts import act_of, write_act
from relay.outbox.history import StoredHook
from relay.outbox.user_accounts import Role
from relay.services import in_thread
from relay.services.find_chats import ChatHistory
from relay.services.personal_data import (
    KeptChat,
    Person,
    PersonalData,
    erase,
    export,
    find_mutes,
    find_personal_data,
    hook_as_json,
)

personal_data = Operations("Personal data")
_OLD_SIGN_IN = "You signed in more than ten minutes ago. Sign in again, or use a token."


class WhoseData(StrEnum):
    """Whether the data of a chat or of its visitor is exported or erased."""

    CHAT = "chat"
    VISITOR = "visitor"


Scope = Annotated[
    WhoseData,
    Meta(
        description="chat: the chat alone; visitor: all that is kept of the email address that its visitor gave, "
        "where there is one: chats, unreadable posts and mutes."
    ),
]


class ExportRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """Whose data to export."""

    of: Scope = WhoseData.CHAT


class EraseRequest(ExportRequest, kw_only=True, forbid_unknown_fields=True):
    """Whose data to erase, with a confirmation."""

    confirm: Annotated[
        Line,
        Meta(
            description="The chat as `account/id`, such as `208/910001`, or the email address that its visitor gave."
        ),
    ]


class ExportedHook(Struct, kw_only=True):
    """A hook as Smartsupp sent it."""

    id: int
    """The relay's number of the hook."""
    received_at: datetime
    """When it came in, in UTC."""
    hook: dict[str, Any] | str
    """The JSON that Smartsupp sent; as text where it can't be read any more."""


class ExportedChat(Struct, kw_only=True):
    """A chat with all its stored data."""

    account: str
    """Smartsupp's id of the account."""
    chat: str
    """Smartsupp's id of the chat."""
    hooks: list[ExportedHook]
    """The hooks, oldest first."""
    deliveries: list[TriedDelivery]
    """The deliveries, oldest first."""


class Export(Struct, kw_only=True):
    """All stored data of a chat or of its visitor."""

    chats: list[ExportedChat]
    """The chats, oldest first."""
    unreadable_posts: list[UnreadableBody]
    """Posts that could not be read and hold the visitor's address; empty for a chat alone."""
    mutes: list[Mute]
    """Mutes whose condition or reason names the visitor's address; empty for a chat alone."""


class Erasure(Struct, kw_only=True):
    """The result of an erasure: how much was erased, and what was skipped."""

    chats: int
    """How many chats were erased."""
    hooks: int
    """How many hooks of these chats were erased."""
    deliveries: int
    """How many deliveries of these chats were erased."""
    not_sent: int
    """How many of the deliveries had been waiting, and are no longer sent."""
    unreadable_posts: int
    """How many unreadable posts were erased."""
    mutes: int
    """How many mutes were ended, and had their condition and reason erased."""
    mutes_of_the_file: list[int]
    """The numbers of mutes in the rules file that name the visitor: remove them from the file."""
    being_sent: list[str]
    """Chats as `account/id` that were skipped, because a delivery is being sent: erase them again in a minute."""
    left_in_log: bool
    """Whether another program reads the database, so that erased data may remain in the database's log until it ends."""
    trouble: str
    """Why the database failed before everything was erased; usually empty."""


@personal_data.operation(HttpMethod.POST, "/chats/{number}/export", Role.ADMIN)
async def export_chat(call: Call, path: Numbered, body: ExportRequest) -> Export:
    """Export all stored data of a chat or of its visitor. Changes nothing, but is logged as an act."""
    history = await history_of(call, path.number)
    data, detail = await _data(call, history, body.of)
    act = act_of(call.caller, "export", history.chat.name, detail)
    await write_act(call.sessions, act, call.now)
    chats = await export(call.sessions, data.chats)
    mutes = await find_mutes(call.sessions, data.mutes)
    return Export(
        chats=await in_thread(lambda _: list(map(_chat, chats))),
        unreadable_posts=list(map(unreadable_body, data.set_aside)),
        mutes=[mute_of(call, each) for each in mutes],
    )


@personal_data.operation(
    HttpMethod.POST, "/chats/{number}/erase", Role.ADMIN, once=True, refusals=(403,)
)
async def erase_chat(call: Call, path: Numbered, body: EraseRequest) -> Erasure:
    """Erase all stored data of a chat or of its visitor, for good. Waiting deliveries of it are not sent."""
    history = await history_of(call, path.number)
    name = history.chat.name
    if body.confirm.strip().casefold() not in history.chat.confirmations:
        raise wrong("confirm", f"write {name}, or the visitor's email address")
    if call.caller.session and not await call.api.sign_in.is_recent(call.caller):
        raise Refusal(403, _OLD_SIGN_IN, kind="sign-in-again")
    data, detail = await _data(call, history, body.of)
    acting, rules = call.acting("erase", name, detail), call.running.parts.in_force.rules
    done = await erase(acting, data, by=call.caller.name, rules=rules, now=call.now)
    return copied(
        Erasure,
        done,
        chats=len(done.chats),
        hooks=sum(each.hooks for each in done.chats),
        deliveries=sum(each.deliveries for each in done.chats),
        not_sent=sum(each.queued for each in done.chats),
        unreadable_posts=done.set_aside,
        being_sent=["/".join(each) for each in done.being_sent],
        left_in_log=done.left_in is not None,
    )


async def _data(call: Call, history: ChatHistory, scope: WhoseData) -> tuple[PersonalData, str]:
    """The data of a chat or of its visitor, and the detail for the log of acts."""
    email = history.chat.email if scope is WhoseData.VISITOR else ""
    person = Person.of_chat(history.chat.chat.about.name, email)
    return await find_personal_data(call.sessions, person), EVERYTHING if person.emails else ""


def _chat(kept: KeptChat) -> ExportedChat:
    return ExportedChat(
        account=kept.name[0],
        chat=kept.name[1],
        hooks=list(map(_hook, kept.hooks)),
        deliveries=[tried(each.delivery, each.attempts) for each in kept.deliveries],
    )


def _hook(hook: StoredHook) -> ExportedHook:
    return ExportedHook(id=hook.id, received_at=hook.received_at, hook=hook_as_json(hook.body))
