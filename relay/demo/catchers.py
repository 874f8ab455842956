"""Stand-ins for a mail server, Slack and Teams: real protocols on loopback, nothing leaves the computer."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from weakref import WeakSet

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from relay.demo.demo_page import STYLE
from relay.demo.received import CaughtCard, Received
from relay.demo.slack_catcher import SlackCatcher, read_json

LOOPBACK = "127.0.0.1"

# The page may run no script and load nothing but its own style sheet and the mails it frames.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A mail brings its style along. `sandbox` holds for one that is opened on its own, too.
MAIL_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


class Catchers:
    """An async context manager. `page` makes the page at `/` from what was received."""

    def __init__(self, page: Callable[[Received], str], *, http_port: int = 0) -> None:
        self.received = Received()
        self.smtp_port = 0
        self.http_url = ""
        """Without a slash at the end."""
        self._page = page
        self._http_port = http_port
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            self.smtp_port = await stack.enter_async_context(_mail_catcher(self.received))
            port = await self._serve_http(stack)
            self.http_url = f"http://{LOOPBACK}:{port}"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _serve_http(self, stack: contextlib.AsyncExitStack) -> int:
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, LOOPBACK, self._http_port).start()
        except OSError:
            # Somebody else has the port: any other will do, the page's address is printed.
            await web.TCPSite(runner, LOOPBACK, 0).start()
        return int(runner.addresses[0][1])

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=4 * 1024 * 1024)
        application.add_routes(
            [
                web.get("/", self._show_page),
                web.get("/style.css", _show_style),
                web.get("/mails/{number:[0-9]{1,9}}", self._show_mail),
                *SlackCatcher(self.received).routes(),
                web.post("/workflows/{path:.+}", self._teams),
            ]
        )
        return application

    async def _show_page(self, _: web.Request) -> web.Response:
        return _html(self._page(self.received), PAGE_POLICY)

    async def _show_mail(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        mail = next((mail for mail in self.received.mails if mail.number == number), None)
        if not mail:
            raise web.HTTPNotFound(text="There is no such mail, or it is too old to be kept.")
        return _html(mail.html, MAIL_POLICY)

    async def _teams(self, request: web.Request) -> web.Response:
        """A workflow answers before it posts; only what is no JSON is refused at once."""
        wire = await request.read()
        try:
            message, source = read_json(wire)
        except ValueError:
            return web.json_response({"error": {"code": "InvalidRequestContent"}}, status=400)
        self.received.add_card(
            CaughtCard(
                arrived=_now(), place=request.path, message=message, source=source, wire=wire
            )
        )
        return web.Response(status=202)


class _MailHandler:
    """Takes every mail to anybody."""

    def __init__(self, received: Received) -> None:
        self._received = received

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        source = envelope.original_content or b""
        self._received.add_mail(source, tuple(envelope.rcpt_tos), _now())
        return "250 OK"


@contextlib.asynccontextmanager
async def _mail_catcher(received: Received) -> AsyncIterator[int]:
    """Gives the port. aiosmtpd's own Controller can't be asked for a free one."""
    # It logs every command; in the demo that would drown the relay's own log.
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    loop = asyncio.get_running_loop()
    handler = _MailHandler(received)
    sessions: WeakSet[SMTP] = WeakSet()

    def session() -> SMTP:
        made = SMTP(handler, hostname="localhost", enable_SMTPUTF8=True, loop=loop)
        sessions.add(made)
        return made

    server = await loop.create_server(session, LOOPBACK, 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for open_session in sessions:
            if open_session.transport:
                open_session.transport.close()


async def _show_style(_: web.Request) -> web.Response:
    return web.Response(text=STYLE, content_type="text/css", headers=_SAFE_HEADERS)


_SAFE_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def _html(page: str, content_policy: str) -> web.Response:
    return web.Response(
        # A lone surrogate in somebody's JSON is no reason to show nothing.
        body=page.encode("utf-8", "replace"),
        content_type="text/html",
        charset="utf-8",
        headers={**_SAFE_HEADERS, "Content-Security-Policy": content_policy},
    )


def _now() -> datetime:
    return datetime.now(UTC)
