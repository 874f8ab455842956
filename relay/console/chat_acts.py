"""Pages that act on one chat: check the rules again, export the stored data, or erase it."""

from contextlib import suppress
from functools import partial
from typing import Any

from litestar import Response
from litestar.exceptions import ClientException, NotFoundException
from litestar.handlers import HTTPRouteHandler

from relay.console.file_access import rules_file
from relay.console.logged_acts import ActingSessions, AlreadyDone, act_of, new_key, write_act
from relay.console.page import AnyRequest, Number, Page, Pages, form_route, page_route, redirect
from relay.console.request_context import caller_of
from relay.console.sign_in import SignIn, SignInRefused
from relay.console.spreadsheet import csv_file
from relay.outbox.audit_log import Act
from relay.outbox.database_session import Sessions
from relay.outbox.rules_versions import Version
from relay.outbox.user_accounts import Role
from relay.rules import RuleBook, RulesError
from relay.runtime.startup import read_rule_book
from relay.services import in_thread
from relay.services.explanation import compare_verdicts
from relay.services.find_chats import ChatHistory, chat_history, count_of_email
from relay.services.find_deliveries import delivery_json
from relay.services.personal_data import (
    KeptChat,
    Person,
    PersonalData,
    erase,
    export,
    exported,
    find_mutes,
    find_personal_data,
)
from relay.services.replay import Replayed, replay
from relay.settings.table import Settings
from relay.web.app import Running

EVERYTHING = "visitor"
"""A form's value that means all chats of the visitor, not only this one."""
_FIELDS = ("state", "created_at", "settled_at", "rule", "destination", "recipient", "attempts")
_COLUMNS = ("chat", "visitor", "id", *_FIELDS, "detail", "why", "message_id")


class ChatActs:
    """The pages and forms below `/chats/{number}`: verdicts, replay, export and erasing."""

    def __init__(self, running: Running, pages: Pages, sign_in: SignIn) -> None:
        self._running, self._pages, self._sign_in = running, pages, sign_in

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/chats/{number:int}/verdicts", Role.VIEWER, self._verdicts),
            page_route("/chats/{number:int}/replay", Role.EDITOR, self._before_replay),
            form_route("/chats/{number:int}/replay", Role.EDITOR, self._replay),
            form_route("/chats/{number:int}/export", Role.ADMIN, self._export),
            page_route("/chats/{number:int}/erase", Role.ADMIN, self._confirm),
            form_route("/chats/{number:int}/erase", Role.ADMIN, self._erase),
        ]

    async def _chat(self, number: int) -> ChatHistory:
        history = await chat_history(self._running.parts.outbox.sessions, number)
        if history is None:
            raise NotFoundException
        return history

    def _acting(self, act: Act) -> ActingSessions:
        return ActingSessions(self._running.parts.outbox.sessions, act, self._running.clock())

    async def _verdicts(self, request: AnyRequest, number: Number) -> Page:
        history = await self._chat(number)
        hooks = history.chat.chat.hooks
        wanted = request.query_params.get("hook", "")
        hook = next((each for each in hooks if str(each.id) == wanted), hooks[-1])
        rules, settings = self._running.parts.in_force.rules, self._running.ready.settings
        version = await rules_file(self._running).history.version(hook.rules_hash)
        past_rules = partial(_read_version, version, settings)
        return await self._pages.show(
            request,
            "verdicts.html",
            is_kept=version is not None,
            nav="chats",
            chat=history.chat,
            hook=hook,
            today=rules.hash,
            compared=await compare_verdicts(hook, rules, past_rules),
        )

    # -- the rules asked again -----------------------------------------------------------------------------

    async def _before_replay(self, request: AnyRequest, number: Number) -> Page:
        history = await self._chat(number)
        sessions = self._running.parts.outbox.sessions
        done = await self._run_replay(sessions, history, "", dry_run=True)
        queued = [delivery for judged in done.judged for delivery in judged.queued]
        return await self._pages.show(
            request,
            "replay.html",
            nav="chats",
            chat=history.chat,
            queued=queued,
            unreadable=list(done.unreadable.values()),
            key=new_key(),
        )

    async def _replay(self, request: AnyRequest, number: Number) -> Page:
        history = await self._chat(number)
        act = act_of(caller_of(request.scope), "replay", history.chat.name)
        with suppress(AlreadyDone):
            await self._run_replay(self._acting(act), history, act.by)
        return redirect(f"/chats/{history.chat.chat.about.id}")

    async def _run_replay(
        self, sessions: Sessions, history: ChatHistory, by: str, *, dry_run: bool = False
    ) -> Replayed:
        in_force = self._running.parts.in_force
        return await replay(
            sessions,
            in_force.rules,
            in_force.mail_domain,
            chats=[history.chat.chat.about.name],
            by=by,
            now=self._running.clock(),
            dry_run=dry_run,
        )

    # -- whose data it is ----------------------------------------------------------------------------------

    async def _export(self, request: AnyRequest, number: Number) -> Response[bytes]:
        history = await self._chat(number)
        caller, sessions = caller_of(request.scope), self._running.parts.outbox.sessions
        kind = caller.form.get("as", "")
        if kind not in {"json", "csv"}:
            raise ClientException
        data, is_all = await self._data(request, history)
        detail = EVERYTHING if is_all else ""
        act = act_of(caller, "export", history.chat.name, detail, each_time=True)
        await write_act(sessions, act, self._running.clock())
        chats = await export(sessions, data.chats)
        name = f"chat-{history.chat.chat.about.id}"
        if kind == "csv":
            return await in_thread(
                lambda _: csv_file(f"{name}.csv", _COLUMNS, map(_row, _deliveries(chats)))
            )
        mutes = await find_mutes(sessions, data.mutes)
        return Response(
            await in_thread(lambda _: exported(chats, data.set_aside, mutes).encode()),
            media_type="application/json",
            headers={"content-disposition": f'attachment; filename="{name}.json"'},
        )

    async def _data(self, request: AnyRequest, history: ChatHistory) -> tuple[PersonalData, bool]:
        """The data that a form is about: this chat, or all data of its visitor; and whether it is all."""
        is_all = caller_of(request.scope).form.get("of") == EVERYTHING
        email = history.chat.email if is_all else ""
        person = Person.of_chat(history.chat.chat.about.name, email)
        data = await find_personal_data(self._running.parts.outbox.sessions, person)
        return data, bool(person.emails)

    async def _confirm(self, request: AnyRequest, number: Number) -> Page:
        return await self._before_erasing(request, await self._chat(number))

    async def _before_erasing(
        self, request: AnyRequest, history: ChatHistory, error: str = "", wait: int = 0
    ) -> Page:
        caller, email = caller_of(request.scope), history.chat.email
        sessions = self._running.parts.outbox.sessions
        user = caller.session.user if caller.session else None
        asks_password = bool(user and user.password) and not await self._sign_in.is_recent(caller)
        return await self._pages.show(
            request,
            "erase.html",
            status=_ERASE_STATUS[error],
            nav="chats",
            chat=history.chat,
            email=email,
            of_email=await count_of_email(sessions, email) if email else 0,
            asks_password=asks_password,
            error=error,
            wait=wait,
            key=new_key(),
        )

    async def _erase(self, request: AnyRequest, number: Number) -> Page:
        history = await self._chat(number)
        caller, name = caller_of(request.scope), history.chat.name
        typed = caller.form.get("typed", "").strip().casefold()
        if typed not in history.chat.confirmations:
            return await self._before_erasing(request, history, "typed")
        if not await self._sign_in.is_recent(caller):
            try:
                await self._sign_in.confirm(caller.form.get("password", ""), caller)
            except SignInRefused as refused:
                error = "wait" if refused.wait else "password"
                return await self._before_erasing(request, history, error, refused.wait)
        data, is_all = await self._data(request, history)
        act = act_of(caller, "erase", name, EVERYTHING if is_all else "")
        rules, now = self._running.parts.in_force.rules, self._running.clock()
        try:
            done = await erase(self._acting(act), data, by=act.by, rules=rules, now=now)
        except AlreadyDone:
            return redirect("/chats")
        return await self._pages.show(request, "erased.html", nav="chats", done=done)


_ERASE_STATUS = {"": 200, "typed": 422, "password": 422, "wait": 429}
"""The HTTP status of the form that asks before erasing, by the error that it shows."""


def _read_version(version: tuple[Version, bytes] | None, settings: Settings) -> RuleBook | None:
    """The rules of a stored version; None where it is not stored or can't be used."""
    if version and not version[0].problems:
        with suppress(RulesError):  # of an older relay
            return read_rule_book(version[1], str(settings.rules), settings)
    return None


def _deliveries(chats: list[KeptChat]) -> list[dict[str, Any]]:
    return [delivery_json(each.delivery) for chat in chats for each in chat.deliveries]


def _row(delivery: dict[str, Any]) -> list[Any]:
    return [delivery[name] for name in _COLUMNS]
