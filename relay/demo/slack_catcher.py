"""A stand-in for Slack: an incoming webhook, and of the Web API what a bot needs for threads and files."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from urllib.parse import parse_qsl

from aiohttp import web

from relay.demo.received import CaughtFile, CaughtPost, Received
from relay.preview.lookalike.markup import Node, node, nodes, words

MAX_FILE = 4 * 1024 * 1024
MOST_UPLOADS = 50
"""Begun and not completed; older ones are forgotten."""

Answer = dict[str, object]


class SlackCatcher:
    """Keeps what is posted. Its answers are those of Slack."""

    def __init__(self, received: Received) -> None:
        self._received = received
        self._stamps = count(1)
        self._files = count(1)
        self._uploads: dict[str, CaughtFile] = {}

    def routes(self) -> list[web.RouteDef]:
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
        if not _says_something(message):
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
        if not _says_something(message):
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
    """As JSON, as a form or in the address: these methods take all three."""
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


def _says_something(message: Node) -> bool:
    return any(message.get(key) for key in ("text", "blocks", "attachments"))


def read_json(body: bytes) -> tuple[Node, str]:
    """The object and its indented source. Raises ValueError where there is none, or it is nested too deep."""
    try:
        message = json.loads(body)
        source = json.dumps(message, indent=2, ensure_ascii=False)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - somebody's input, not our argument
    return node(message), source
