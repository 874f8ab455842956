"""The page of a user's own choices, password and sessions."""

from zoneinfo import available_timezones

from litestar.handlers import HTTPRouteHandler

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
from relay.console.sign_in import SignIn, SignInRefused
from relay.console.visit import cookie_header, visit_of
from relay.languages import LANGUAGES
from relay.languages.tags import own_name_of
from relay.outbox.people import ADMIN, Role, sessions_of
from relay.outbox.user_choices import Choices
from relay.services.users import NotDone, is_password


class OwnPage:
    """My account: `/me`."""

    def __init__(self, pages: Pages, sign_in: SignIn) -> None:
        self._pages, self._sign_in = pages, sign_in

    def routes(self) -> list[HTTPRouteHandler]:
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
        visit = visit_of(request.scope)
        if visit.session:
            user = visit.session.user
            try:
                await self._sign_in.change(visit, lambda users: users.end_session(user, number))
            except NotDone:
                return await self._show(request, error="session", status=404)
        return redirect("/me")

    async def _keys(self, request: AnyRequest) -> Page:
        return await self._pages.show(request, "keys.html", nav="me")

    async def _choose(self, request: AnyRequest) -> Page:
        visit = visit_of(request.scope)
        form = {name: visit.form.get(name, "").strip() for name in ("theme", "language", "zone")}
        choices = Choices(**form, keys="keys" in visit.form)
        if not choices.is_possible():
            return await self._show(request, error="choice", status=422)
        if visit.session:
            await self._sign_in.choose(visit.session.user, choices)
        return redirect("/me?chosen=1")

    async def _set_password(self, request: AnyRequest) -> Page:
        visit = visit_of(request.scope)
        old, new = visit.form.get("old", ""), visit.form.get("new", "")
        if not self._has_own_password(request):
            return await self._show(request, error="setting", status=422)
        if not is_password(new):
            return await self._show(request, error="short", status=422)
        try:
            cookie = await self._sign_in.change_password(old, new, visit)
        except SignInRefused as refused:
            status, error = (429, "wait") if refused.wait else (422, "wrong")
            return await self._show(request, error=error, wait=refused.wait, status=status)
        return redirect("/me?changed=1", **{"set-cookie": cookie_header(cookie)})

    def _has_own_password(self, request: AnyRequest) -> bool:
        """Whether the user can change the password here: there is one, and no setting defines it."""
        session = visit_of(request.scope).session
        if session is None or not session.user.password:
            return False
        return session.user.name != ADMIN or not self._sign_in.has_password_of_setting

    async def _show(
        self, request: AnyRequest, *, error: str = "", wait: int = 0, status: int = 200
    ) -> Page:
        session = visit_of(request.scope).session
        number = session.user.id if session else 0
        return await self._pages.show(
            request,
            "own.html",
            status=status,
            nav="me",
            sessions=await self._sign_in.read(sessions_of, user=number, now=self._sign_in.now()),
            this=session.id if session else 0,
            can_change=self._has_own_password(request),
            has_changed=request.method in READ and "changed" in request.query_params,
            has_chosen=request.method in READ and "chosen" in request.query_params,
            languages={name: own_name_of(name) for name in LANGUAGES},
            zones=sorted(available_timezones()),
            error=error,
            wait=wait,
        )
