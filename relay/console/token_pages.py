"""The page of the API tokens for programs."""

from datetime import timedelta

from litestar.handlers import HTTPRouteHandler

from relay.console.page import (
    AnyRequest,
    Number,
    Page,
    Pages,
    form_route,
    page_route,
    redirect,
)
from relay.console.people_pages import role_of
from relay.console.sign_in import SignIn
from relay.console.visit import visit_of
from relay.outbox.people import Role
from relay.outbox.people_tokens import all_tokens
from relay.services.users import NotDone, Users

DAYS = (30, 90, 365)
"""How long a token may last, in days; 0 in a form means for ever."""


class TokenPages:
    """The tokens of programs: `/tokens`."""

    def __init__(self, pages: Pages, sign_in: SignIn) -> None:
        self._pages, self._sign_in = pages, sign_in

    def routes(self) -> list[HTTPRouteHandler]:
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
                visit_of(request.scope), lambda users: users.end_token(number, name)
            )
        except NotDone as error:
            return await self._show(request, error=error.why.value, status=404)
        return redirect("/tokens")

    async def _make(self, request: AnyRequest) -> Page:
        visit = visit_of(request.scope)
        name, role = visit.form.get("name", ""), role_of(visit.form.get("role", ""))
        days = visit.form.get("days", "")
        lasts = (
            None
            if days == "0"
            else timedelta(days=next((d for d in DAYS if str(d) == days), DAYS[0]))
        )

        def work(users: Users) -> str:
            maker = users.by_id(visit.session.user.id if visit.session else 0)
            return users.make_token(maker, name, role, lasts)

        try:
            token = await self._sign_in.change(visit, work)
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
