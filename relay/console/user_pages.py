"""Pages of people: all users and API tokens, for admins, and each user's own account."""

from datetime import timedelta
from typing import Any
from zoneinfo import available_timezones

from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from relay.console.allowed_hosts import Hosts
from relay.console.page import (
    READ,
    AnyRequest,
    Number,
    Page,
    Pages,
    form_route,
    page_route,
    redirect,
)
from relay.console.request_context import caller_of, cookie_header
from relay.console.sign_in import SignIn, SignInRefused
from relay.languages import LANGUAGES
from relay.languages.tags import own_name_of
from relay.outbox.user_accounts import ADMIN, Role, User, all_users, sessions_of
from relay.outbox.user_choices import Choices
from relay.outbox.user_tokens import all_tokens
from relay.services.users import NotDone, Users, Why, is_password

ACTS = ("role", "end-sessions", "link", "remove")


def role_of(text: str) -> Role:
    """The role that a form names; VIEWER where it names none."""
    return Role(text) if text in set(Role) else Role.VIEWER


class PeoplePages:
    """The page of all users, for admins: `/people`."""

    def __init__(self, pages: Pages, sign_in: SignIn, hosts: Hosts) -> None:
        self._pages, self._sign_in, self._hosts = pages, sign_in, hosts

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/people", Role.ADMIN, self._people),
            form_route("/people", Role.ADMIN, self._invite),
            form_route("/people/{number:int}/{act:str}", Role.ADMIN, self._change),
        ]

    async def _people(self, request: AnyRequest) -> Page:
        return await self._show(request)

    async def _invite(self, request: AnyRequest) -> Page:
        form = caller_of(request.scope).form
        name, role = form.get("name", ""), role_of(form.get("role", ""))
        return await self._act(request, lambda users: users.add(name, role), with_link=True)

    async def _change(self, request: AnyRequest, number: Number, act: FromPath[str]) -> Page:
        role = role_of(caller_of(request.scope).form.get("role", ""))

        def work(users: Users) -> User:
            user = users.by_id(number)
            if act == "role":
                users.set_role(user, role)
            elif act == "end-sessions":
                users.end_sessions(user)
            elif act == "remove":
                users.remove(user)
            return user

        if act not in ACTS:
            return await self._show(request, error=Why.UNKNOWN_USER, status=404)
        return await self._act(request, work, with_link=act == "link")

    async def _act(self, request: AnyRequest, work: Any, *, with_link: bool) -> Page:  # noqa: ANN401
        def act(users: Users) -> tuple[User, str]:
            user: User = work(users)
            return user, users.make_link(user) if with_link else ""

        try:
            user, link = await self._sign_in.change(caller_of(request.scope), act)
        except NotDone as error:
            status = 404 if error.why is Why.UNKNOWN_USER else 422
            return await self._show(request, error=error.why, status=status)
        if not link:
            return redirect("/people")
        address = self._hosts.public_url or f"http://{request.headers['host']}"
        return await self._show(request, link=f"{address}/login/{link}", link_of=user.name)

    async def _show(
        self,
        request: AnyRequest,
        *,
        error: Why | None = None,
        status: int = 200,
        link: str = "",
        link_of: str = "",
    ) -> Page:
        form = caller_of(request.scope).form
        return await self._pages.show(
            request,
            "people.html",
            status=status,
            nav="people",
            people=await self._sign_in.read(all_users, now=self._sign_in.now()),
            error=error.value if error else "",
            link=link,
            link_of=link_of,
            name=form.get("name", "")[:100] if error else "",
        )


DAYS = (30, 90, 365)
"""How long a token may last, in days; 0 in a form means for ever."""


class TokenPages:
    """The tokens of programs: `/tokens`."""

    def __init__(self, pages: Pages, sign_in: SignIn) -> None:
        self._pages, self._sign_in = pages, sign_in

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/tokens", Role.ADMIN, self._tokens),
            form_route("/tokens", Role.ADMIN, self._make),
            form_route("/tokens/{number:int}/end", Role.ADMIN, self._end),
        ]

    async def _tokens(self, request: AnyRequest) -> Page:
        return await self._show(request)

    async def _end(self, request: AnyRequest, number: Number) -> Page:
        known = await self._sign_in.read(all_tokens)
        name = next((each.name for each in known if each.id == number), "")
        try:
            await self._sign_in.change(
                caller_of(request.scope), lambda users: users.end_token(number, name)
            )
        except NotDone as error:
            return await self._show(request, error=error.why.value, status=404)
        return redirect("/tokens")

    async def _make(self, request: AnyRequest) -> Page:
        caller = caller_of(request.scope)
        name, role = caller.form.get("name", ""), role_of(caller.form.get("role", ""))
        days = caller.form.get("days", "")
        lasts = (
            None
            if days == "0"
            else timedelta(days=next((d for d in DAYS if str(d) == days), DAYS[0]))
        )

        def work(users: Users) -> str:
            maker = users.by_id(caller.session.user.id if caller.session else 0)
            return users.make_token(maker, name, role, lasts)

        try:
            token = await self._sign_in.change(caller, work)
        except NotDone as error:
            return await self._show(request, error=error.why.value, status=422)
        return await self._show(request, token=token)

    async def _show(
        self, request: AnyRequest, *, error: str = "", token: str = "", status: int = 200
    ) -> Page:
        return await self._pages.show(
            request,
            "tokens.html",
            status=status,
            nav="tokens",
            tokens=await self._sign_in.read(all_tokens),
            days=DAYS,
            new_token=token,
            error=error,
        )


class OwnPage:
    """My account: `/me`."""

    def __init__(self, pages: Pages, sign_in: SignIn) -> None:
        self._pages, self._sign_in = pages, sign_in

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/me", Role.VIEWER, self._me),
            form_route("/me/password", Role.VIEWER, self._set_password),
            form_route("/me/sessions/{number:int}/end", Role.VIEWER, self._end),
            form_route("/me/choices", Role.VIEWER, self._choose),
            page_route("/help/keys", Role.VIEWER, self._keys),
        ]

    async def _me(self, request: AnyRequest) -> Page:
        return await self._show(request)

    async def _end(self, request: AnyRequest, number: Number) -> Page:
        caller = caller_of(request.scope)
        if caller.session:
            user = caller.session.user
            try:
                await self._sign_in.change(caller, lambda users: users.end_session(user, number))
            except NotDone:
                return await self._show(request, error="session", status=404)
        return redirect("/me")

    async def _keys(self, request: AnyRequest) -> Page:
        return await self._pages.show(request, "keyboard_shortcuts.html", nav="me")

    async def _choose(self, request: AnyRequest) -> Page:
        caller = caller_of(request.scope)
        form = {name: caller.form.get(name, "").strip() for name in ("theme", "language", "zone")}
        choices = Choices(**form, keys="keys" in caller.form)
        if not choices.is_possible():
            return await self._show(request, error="choice", status=422)
        if caller.session:
            await self._sign_in.choose(caller.session.user, choices)
        return redirect("/me?chosen=1")

    async def _set_password(self, request: AnyRequest) -> Page:
        caller = caller_of(request.scope)
        old, new = caller.form.get("old", ""), caller.form.get("new", "")
        if not self._has_own_password(request):
            return await self._show(request, error="setting", status=422)
        if not is_password(new):
            return await self._show(request, error="short", status=422)
        try:
            cookie = await self._sign_in.change_password(old, new, caller)
        except SignInRefused as refused:
            status, error = (429, "wait") if refused.wait else (422, "wrong")
            return await self._show(request, error=error, wait=refused.wait, status=status)
        return redirect("/me?changed=1", **{"set-cookie": cookie_header(cookie)})

    def _has_own_password(self, request: AnyRequest) -> bool:
        """Whether the user can change the password here: there is one, and no setting defines it."""
        session = caller_of(request.scope).session
        if session is None or not session.user.password:
            return False
        return session.user.name != ADMIN or not self._sign_in.has_password_of_setting

    async def _show(
        self, request: AnyRequest, *, error: str = "", wait: int = 0, status: int = 200
    ) -> Page:
        session = caller_of(request.scope).session
        number = session.user.id if session else 0
        return await self._pages.show(
            request,
            "account.html",
            status=status,
            nav="me",
            sessions=await self._sign_in.read(sessions_of, user=number, now=self._sign_in.now()),
            own_session=session.id if session else 0,
            can_change=self._has_own_password(request),
            has_changed=request.method in READ and "changed" in request.query_params,
            has_chosen=request.method in READ and "chosen" in request.query_params,
            languages={name: own_name_of(name) for name in LANGUAGES},
            zones=sorted(available_timezones()),
            error=error,
            wait=wait,
        )
