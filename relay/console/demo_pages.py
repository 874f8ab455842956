"""Pages of a demo's console only: the link that signs in, the messages that the stand-ins received, and sample chats to post."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from markupsafe import Markup

from relay.clock import Clock
from relay.console.delivery_pages import framed_mail
from relay.console.page import AnyRequest, Number, Page, Pages, form_route, page_route, redirect
from relay.console.request_context import caller_of, cookie_header
from relay.console.sign_in import LinkEnded, SignIn, SignInRefused
from relay.console.sign_in_page import HOME
from relay.demo import Demo
from relay.outbox.user_accounts import Role
from relay.preview.lookalike import LOOKALIKES
from relay.preview.lookalike.markup import Node
from relay.smartsupp.hook_json import as_of_now

RECEIVED = "/received"
MOST_OF_A_KIND = 30


class DemoPages:
    """`/received`, and the link that signs in to a demo."""

    def __init__(self, demo: Demo, pages: Pages, sign_in: SignIn, clock: Clock) -> None:
        self._demo, self._pages, self._sign_in, self._clock = demo, pages, sign_in, clock
        self._numbers = count()

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/login/demo/{secret:str}", None, self._welcome),
            form_route("/login/demo/{secret:str}", None, self._come_in),
            page_route(RECEIVED, Role.VIEWER, self._received),
            page_route(f"{RECEIVED}/new", Role.VIEWER, self._news),
            page_route(f"{RECEIVED}/mails/{{number:int}}", Role.VIEWER, self._mail),
            form_route(f"{RECEIVED}/send", Role.EDITOR, self._send_sample),
            form_route(f"{RECEIVED}/guide", Role.VIEWER, self._guide),
        ]

    async def _news(self, request: AnyRequest) -> Page:
        known = request.query_params.get("after", "")
        new = self._demo.received.total - (int(known) if known.isdecimal() else 0)
        if new <= 0:
            return Response(b"", status_code=204)
        return await self._pages.show(request, "received_new.html", count=new)

    async def _mail(self, number: Number) -> Page:
        mails = self._demo.received.mails
        return framed_mail(next((each.html for each in mails if each.number == number), ""))

    async def _send_sample(self, request: AnyRequest) -> Page:
        await self._send(caller_of(request.scope).form.get("sample", ""))
        return redirect(RECEIVED)

    async def _guide(self, request: AnyRequest) -> Page:
        self._demo.is_guide_shown = caller_of(request.scope).form.get("show", "") == "yes"
        return redirect(HOME)

    async def _welcome(self, request: AnyRequest, secret: FromPath[str]) -> Page:
        if caller_of(request.scope).session:
            return redirect(HOME)
        try:
            await self._sign_in.owner_of_link(secret)
        except LinkEnded:
            return await self._pages.show(request, "link_ended.html", status=404)
        return await self._pages.show(request, "welcome.html")

    async def _come_in(self, request: AnyRequest, secret: FromPath[str]) -> Page:
        """Sign in. Only this form uses up the link, not opening it, as some programs open links to check them."""
        try:
            cookie = await self._sign_in.enter_by_link(secret, caller_of(request.scope))
        except (LinkEnded, SignInRefused):
            return await self._pages.show(request, "link_ended.html", status=404)
        await self.open_link()
        return redirect(HOME, **{"set-cookie": cookie_header(cookie)})

    async def open_link(self) -> None:
        """Make a link, and let the demo print it."""
        self._demo.note_link(f"/login/demo/{await self._sign_in.link_for('demo')}")

    async def _send(self, name: str) -> None:
        hook = self._demo.samples.get(name)
        if hook is None:
            raise NotFoundException
        before = self._demo.received.total
        now = self._clock()
        hook = as_of_now(hook, now, chat=int(now.timestamp()) + next(self._numbers))
        posted = await self._demo.post(name, hook)
        await self._demo.arrived(before + posted.deliveries, self._demo.page_patience)

    async def _received(self, request: AnyRequest) -> Page:
        received = self._demo.received
        return await self._pages.show(
            request,
            "received.html",
            nav="received",
            total=received.total,
            mails=_newest(received.mails),
            posts=_newest(received.posts),
            cards=_newest([each for each in received.bodies if each.transport == "teams"]),
            bodies=_newest([each for each in received.bodies if each.transport != "teams"]),
            posted=_newest(self._demo.posted),
            lookalike=lookalike,
        )


def lookalike(message: Node, transport: str, time: str) -> Markup:
    """A message as its service shows it; empty where its JSON says enough."""
    html = LOOKALIKES[transport](message, time=time) if transport in LOOKALIKES else ""
    return Markup(html)  # noqa: S704 - lookalikes escape what they are given


def _newest(caught: Sequence[Any]) -> list[Any]:
    return list(caught)[::-1][:MOST_OF_A_KIND]
