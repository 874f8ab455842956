"""The page of users, where an admin invites and removes them and changes their roles."""

from typing import Any

from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from relay.console.hosts import Hosts
from relay.console.page import (
    AnyRequest,
    Number,
    Page,
    Pages,
    form_route,
    page_route,
    redirect,
)
from relay.console.sign_in import SignIn
from relay.console.visit import visit_of
from relay.outbox.people import Role, User, all_users
from relay.services.users import NotDone, Users, Why

ACTS = ("role", "end-sessions", "link", "remove")


def role_of(text: str) -> Role:
    """The role that a form names; VIEWER where it names none."""
    return Role(text) if text in set(Role) else Role.VIEWER


class PeoplePages:
    """The page of all users, for admins: `/people`."""

    def __init__(self, pages: Pages, sign_in: SignIn, hosts: Hosts) -> None:
        self._pages, self._sign_in, self._hosts = pages, sign_in, hosts

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            page_route("/people", Role.ADMIN, self._people),
            form_route("/people", Role.ADMIN, self._invite),
            form_route("/people/{number:int}/{act:str}", Role.ADMIN, self._change),
        ]

    async def _people(self, request: AnyRequest) -> Page:
        return await self._show(request)

    async def _invite(self, request: AnyRequest) -> Page:
        form = visit_of(request.scope).form
        name, role = form.get("name", ""), role_of(form.get("role", ""))
        return await self._act(request, lambda users: users.add(name, role), with_link=True)

    async def _change(self, request: AnyRequest, number: Number, act: FromPath[str]) -> Page:
        role = role_of(visit_of(request.scope).form.get("role", ""))

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
            return await self._show(request, error=Why.NOT_THERE, status=404)
        return await self._act(request, work, with_link=act == "link")

    async def _act(self, request: AnyRequest, work: Any, *, with_link: bool) -> Page:  # noqa: ANN401
        def act(users: Users) -> tuple[User, str]:
            user: User = work(users)
            return user, users.make_link(user) if with_link else ""

        try:
            user, link = await self._sign_in.change(visit_of(request.scope), act)
        except NotDone as error:
            status = 404 if error.why is Why.NOT_THERE else 422
            return await self._show(request, error=error.why, status=status)
        if not link:
            return redirect("/people")
        address = self._hosts.public_url or f"http://{request.headers['host']}"
        return await self._show(request, link=f"{address}/login/{link}", of=user.name)

    async def _show(
        self,
        request: AnyRequest,
        *,
        error: Why | None = None,
        status: int = 200,
        link: str = "",
        of: str = "",
    ) -> Page:
        form = visit_of(request.scope).form
        return await self._pages.show(
            request,
            "people.html",
            status=status,
            nav="people",
            people=await self._sign_in.read(all_users, now=self._sign_in.now()),
            error=error.value if error else "",
            link=link,
            link_of=of,
            name=form.get("name", "")[:100] if error else "",
        )
