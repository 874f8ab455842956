"""The page of a post that could not be read: why, and its bytes as text; takes it in once it can be read."""

from contextlib import suppress

from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler

from relay.console.logged_acts import ActingSessions, AlreadyDone, act_of, new_key
from relay.console.page import AnyRequest, Number, Page, Pages, form_route, page_route, redirect
from relay.console.request_context import caller_of
from relay.outbox.chat_list import number_of_chat
from relay.outbox.history import SetAside
from relay.outbox.user_accounts import Role
from relay.services.find_deliveries import unreadable_posts
from relay.services.replay import replay
from relay.web.app import Running

SHOWN = 100_000
"""How many bytes are shown."""


class UnreadablePostPage:
    """One post that could not be read, for admins: `/set-aside/{number}`."""

    def __init__(self, running: Running, pages: Pages) -> None:
        self._running, self._pages = running, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/set-aside/{number:int}", Role.ADMIN, self._look),
            form_route("/set-aside/{number:int}", Role.ADMIN, self._take_in),
        ]

    async def _look(self, request: AnyRequest, number: Number) -> Page:
        return await self._show(request, await self._post(number))

    async def _post(self, number: int) -> SetAside:
        sessions = self._running.parts.outbox.sessions
        for post in await unreadable_posts(sessions, ids=[number], limit=1):
            return post
        raise NotFoundException

    async def _show(
        self, request: AnyRequest, post: SetAside, *, problem: str = "", status: int = 200
    ) -> Page:
        return await self._pages.show(
            request,
            "unreadable_post.html",
            status=status,
            nav="deliveries",
            post=post,
            size=len(post.body),
            text=post.body[:SHOWN].decode("utf-8", "replace"),
            is_cut=len(post.body) > SHOWN,
            problem=problem,
            key=new_key(),
        )

    async def _take_in(self, request: AnyRequest, number: Number) -> Response[bytes]:
        post = await self._post(number)
        in_force, now = self._running.parts.in_force, self._running.clock()
        outbox = self._running.parts.outbox
        act = act_of(caller_of(request.scope), "take in", str(post.id))
        with suppress(AlreadyDone):
            done = await replay(
                ActingSessions(outbox.sessions, act, now),
                in_force.rules,
                in_force.mail_domain,
                set_aside=[post.id],
                by=act.by,
                now=now,
            )
            if problem := done.still_unreadable.get(post.id):
                return await self._show(request, post, problem=problem, status=422)
            for judged in done.judged:
                name = judged.hook.chat.account, judged.hook.chat.id
                chat = await outbox.read(lambda read: number_of_chat(read, name))  # noqa: B023
                return redirect(f"/chats/{chat}")
        return redirect("/deliveries")
