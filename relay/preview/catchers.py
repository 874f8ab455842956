"""Stand-ins for a mail server, Slack, Teams and webhooks: real protocols on loopback, so that nothing leaves the computer."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl
from weakref import WeakSet

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from relay.preview.lookalike.markup import Node, node, nodes, words
from relay.preview.received import CaughtBody, CaughtFile, CaughtPost, Received
from relay.transports.registry import REGISTRATIONS

MAX_FILE = 4 * 1024 * 1024
MOST_UPLOADS = 50
"""How many unfinished uploads are kept; older ones are dropped."""

Answer = dict[str, object]


class SlackCatcher:
    """A stand-in for Slack that keeps what is posted and answers as Slack does.

    It has an incoming webhook, and the Web API's methods for bots.
    """

    def __init__(self, received: Received) -> None:
        self._received = received
        self._stamps = count(1)
        self._files = count(1)
        self._uploads: dict[str, CaughtFile] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes that stand in for Slack."""
        return [
            web.post("/services/{path:.+}", self._webhook),
            web.post("/api/{method}", self._api),
            web.post("/uploads/{name}", self._upload),
        ]

    async def _webhook(self, request: web.Request) -> web.Response:
        wire = await request.read()
        try:
            message, source = read_json(wire)
        except ValueError:
            return web.Response(text="invalid_payload", status=400)
        if not _has_text(message):
            return web.Response(text="no_text", status=400)
        self._keep(request.path, message, source, wire)
        return web.Response(text="ok")

    async def _api(self, request: web.Request) -> web.Response:
        method = self._methods.get(request.match_info["method"])
        if method is None:
            return web.json_response(_no("unknown_method"))
        if not request.headers.get("Authorization", "").startswith("Bearer xoxb-"):
            return web.json_response(_no("not_authed"))
        return web.json_response(await method(self, request))

    # -- the methods -----------------------------------------------------------------------------------

    async def _post(self, request: web.Request) -> Answer:
        wire = await request.read()
        try:
            message, source = read_json(wire)
        except ValueError:
            return _no("invalid_json")
        if not _has_text(message):
            return _no("no_text")
        channel = words(message.get("channel"))
        if not channel:
            return _no("channel_not_found")
        thread = words(message.get("thread_ts"))
        if thread and not self._received.thread(thread):
            return _no("thread_not_found")
        stamp = self._keep(channel, message, source, wire)
        return {"ok": True, "channel": channel, "ts": stamp, "message": {**message, "ts": stamp}}

    async def _update(self, request: web.Request) -> Answer:
        try:
            message, source = read_json(await request.read())
        except ValueError:
            return _no("invalid_json")
        stamp = words(message.get("ts"))
        if not stamp or not self._received.change_post(stamp, message, source):
            return _no("message_not_found")
        return {"ok": True, "channel": words(message.get("channel")), "ts": stamp}

    async def _place_for_file(self, request: web.Request) -> Answer:
        fields = await _fields(request)
        name = words(fields.get("filename"))
        if not name or not words(fields.get("length")).isdecimal():
            return _no("invalid_arguments")
        file_id = f"F{next(self._files):06d}"
        self._uploads[file_id] = CaughtFile(name=name, title=name, text="")
        if len(self._uploads) > MOST_UPLOADS:
            del self._uploads[next(iter(self._uploads))]
        url = str(request.url.origin() / "uploads" / file_id)
        return {"ok": True, "upload_url": url, "file_id": file_id}

    async def _upload(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._uploads:
            raise web.HTTPNotFound
        content = await request.content.read(MAX_FILE)
        self._uploads[name] = self._uploads[name].holding(content.decode("utf-8", "replace"))
        return web.Response(text=f"OK - {len(content)}")

    async def _complete_files(self, request: web.Request) -> Answer:
        message = await _fields(request)
        files = [
            self._uploads[words(file.get("id"))].called(words(file.get("title")))
            for file in nodes(message.get("files"))
            if words(file.get("id")) in self._uploads
        ]
        root = self._received.thread(words(message.get("thread_ts")))
        if not files or not root:
            return _no("file_not_found" if not files else "thread_not_found")
        root.files.extend(files)
        return {"ok": True, "files": message.get("files")}

    _methods: Mapping[str, Callable[["SlackCatcher", web.Request], Awaitable[Answer]]] = {
        "chat.postMessage": _post,
        "chat.update": _update,
        "files.getUploadURLExternal": _place_for_file,
        "files.completeUploadExternal": _complete_files,
    }

    def _keep(self, place: str, message: Node, source: str, wire: bytes) -> str:
        now = datetime.now(UTC)
        stamp = f"{int(now.timestamp())}.{next(self._stamps):06d}"
        post = CaughtPost(
            arrived=now, place=place, message=message, source=source, stamp=stamp, wire=wire
        )
        self._received.add_post(post)
        return stamp


async def _fields(request: web.Request) -> Node:
    """A request's fields, sent as JSON, as a form or in the URL, all of which these methods accept."""
    body = await request.read()
    try:
        return read_json(body)[0]
    except ValueError:
        pass
    form = dict(parse_qsl(body.decode("utf-8", "replace")))
    fields: dict[str, object] = {**request.query, **form}
    if "files" in fields:
        try:
            fields["files"] = json.loads(str(fields["files"]))
        except (ValueError, RecursionError):
            fields["files"] = []
    return fields


def _no(error: str) -> Answer:
    return {"ok": False, "error": error}


def _has_text(message: Node) -> bool:
    return any(message.get(key) for key in ("text", "blocks", "attachments"))


def read_json(body: bytes) -> tuple[Node, str]:
    """The JSON object in a request's body, and its indented source. Raises ValueError for anything else or too deep nesting."""
    try:
        message = json.loads(body)
        source = json.dumps(message, indent=2, ensure_ascii=False)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - bad input, not a wrong argument
    return node(message), source


LOOPBACK = "127.0.0.1"


class Catchers:
    """An async context manager: while it is open, it receives emails and posts on loopback."""

    def __init__(self) -> None:
        self.received = Received()
        self.smtp_port = 0
        self.http_url = ""
        """The base URL, without a slash at the end."""
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
        await web.TCPSite(runner, LOOPBACK, 0).start()
        return int(runner.addresses[0][1])

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=4 * 1024 * 1024)
        application.add_routes(
            [
                *SlackCatcher(self.received).routes(),
                web.post("/{transport}/{path:.+}", self._webhook),
            ]
        )
        return application

    async def _webhook(self, request: web.Request) -> web.Response:
        """The webhook of any other service, which answers as its transport's `Registration` says."""
        registration = REGISTRATIONS.get(request.match_info["transport"])
        if registration is None:
            raise web.HTTPNotFound
        wire = await request.read()
        try:
            message, source = read_json(wire)
        except ValueError:
            return web.Response(status=400)
        self.received.add_body(
            CaughtBody(
                transport=registration.spec.name,
                arrived=_now(),
                place=request.path,
                message=message,
                source=source,
                wire=wire,
            )
        )
        status, text = registration.accepts_with
        return web.Response(status=status, text=text)


class _MailHandler:
    """Accepts every email to anybody."""

    def __init__(self, received: Received) -> None:
        self._received = received

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        source = envelope.original_content or b""
        self._received.add_mail(source, tuple(envelope.rcpt_tos), _now())
        return "250 OK"


@contextlib.asynccontextmanager
async def _mail_catcher(received: Received) -> AsyncIterator[int]:
    """Serve SMTP while the context is open, and yield the port. aiosmtpd's own Controller does not support a free port."""
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


def _now() -> datetime:
    return datetime.now(UTC)
