"""Slack's Web API as a bot sees it: keeps what is posted, threads, changes and files, and fails by script."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tests.servers import HttpAnswer, HttpRequest, HttpServer, HttpStep, json_answer
from tests.transports.web_bench import WebBench, texts

Json = dict[str, Any]
CHANNEL = "C0123456789"


@dataclass
class Post:
    """A message in the channel, with what stands below it."""

    ts: str
    message: Json
    replies: list["Post"] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    changes: int = 0

    @property
    def header(self) -> str:
        text: str = self.message["blocks"][0]["text"]["text"]
        return text

    @property
    def words(self) -> str:
        return "\n".join(texts(self.message))


class Workspace:
    """Answers for a server: `HttpServer(usual=workspace)`."""

    def __init__(self) -> None:
        self.server: HttpServer | None = None
        self.posts: list[Post] = []
        self.upload_url = ""
        """Where files shall go; empty for this server."""
        self._script: dict[str, list[HttpStep]] = defaultdict(list)
        self._uploads: dict[str, str] = {}
        self._count = 0

    def at(self, method: str, *steps: HttpStep | None) -> None:
        """What to answer instead, the next times; None is the usual answer."""
        self._script[method] += [step or _USUAL for step in steps]

    def __call__(self, request: HttpRequest) -> HttpStep:
        path, _, _ = request.target.partition("?")
        method = path.rpartition("/")[2] if path.startswith("/api/") else "upload"
        script = self._script[method]
        step = script.pop(0) if script else _USUAL
        return step if step is not _USUAL else self._answers[method](self, request)

    # -- the methods -----------------------------------------------------------------------------------

    def _post(self, request: HttpRequest) -> HttpStep:
        message = request.json()
        if message["channel"] != CHANNEL:
            return refused("channel_not_found")
        self._count += 1
        post = Post(f"1764000000.{self._count * 100:06d}", message)
        if (thread := message.get("thread_ts")) is not None:
            if (root := self.find(thread)) is None:
                return refused("thread_not_found")
            root.replies.append(post)
        else:
            self.posts.append(post)
        return json_answer({"ok": True, "ts": post.ts, "channel": CHANNEL})

    def _history(self, request: HttpRequest) -> HttpStep:
        """A page of two, the newest first."""
        return _page(request, self.posts[::-1])

    def _replies(self, request: HttpRequest) -> HttpStep:
        root = self.find(parse_qs(request.body.decode())["ts"][0])
        return _page(request, [root, *root.replies]) if root else refused("thread_not_found")

    def _update(self, request: HttpRequest) -> HttpStep:
        change = request.json()
        post = self.find(change["ts"])
        if post is None:
            return refused("message_not_found")
        post.message = {**post.message, **change}
        post.changes += 1
        return json_answer({"ok": True, "ts": post.ts, "channel": CHANNEL})

    def _place(self, request: HttpRequest) -> HttpStep:
        fields = parse_qs(request.body.decode())
        assert int(fields["length"][0]) > 0
        assert fields["filename"][0].endswith(".txt")
        name = f"F{len(self._uploads) + 1}"
        assert self.server is not None
        url = self.upload_url or self.server.url(f"/upload/v1/{name}?secret=upSECRET")
        return json_answer({"ok": True, "upload_url": url, "file_id": name})

    def _upload(self, request: HttpRequest) -> HttpStep:
        assert "authorization" not in request.headers
        name = request.target.rpartition("/")[2].partition("?")[0]
        self._uploads[name] = request.body.decode()
        return HttpAnswer(body=f"OK - {len(request.body)}")

    def _complete(self, request: HttpRequest) -> HttpStep:
        done = json.loads(request.body)
        root = self.find(done["thread_ts"])
        if root is None or done["channel_id"] != CHANNEL:
            return refused("channel_not_found")
        root.files += [self._uploads[file["id"]] for file in done["files"]]
        return json_answer({"ok": True, "files": done["files"]})

    _answers: Mapping[str, Any] = {
        "chat.postMessage": _post,
        "conversations.history": _history,
        "conversations.replies": _replies,
        "chat.update": _update,
        "files.getUploadURLExternal": _place,
        "upload": _upload,
        "files.completeUploadExternal": _complete,
    }

    def find(self, ts: str) -> Post | None:
        return next((post for post in self.posts if post.ts == ts), None)


_USUAL = HttpAnswer(body="as usual")


def refused(word: str, status: int = 200, **more: Any) -> HttpAnswer:
    return json_answer({"ok": False, "error": word, **more}, status)


class ChannelBench(WebBench):
    """Here a message is one that begins a thread; what follows it is its own."""

    workspace: Workspace

    def tries(self) -> int:
        return len(self._leads())

    async def heard(self, count: int) -> None:
        await self.server.until(lambda: self.tries() >= count)

    def taken(self) -> list[bytes]:
        return [request.body for request in self._leads()]

    def shown(self) -> str:
        last = self.workspace.posts[-1]
        return "\n".join(post.words for post in (last, *last.replies))

    def methods(self) -> list[str]:
        """What was called, in order."""
        return [
            request.target.removeprefix("/api/").partition("?")[0]
            if request.target.startswith("/api/")
            else "upload"
            for request in self.server.requests
        ]

    def _leads(self) -> list[HttpRequest]:
        return [
            request
            for request in self.server.requests
            if request.target == "/api/chat.postMessage" and "thread_ts" not in request.json()
        ]


def _page(request: HttpRequest, posts: list[Post]) -> HttpStep:
    """Of two messages, with their metadata where that was asked for."""
    asked = parse_qs(request.body.decode())
    assert asked["channel"] == [CHANNEL]
    start = int(asked.get("cursor", ["0"])[0])
    shown = posts[start : start + 2]
    more = str(start + 2) if len(posts) > start + 2 else ""
    known = asked.get("include_all_metadata") == ["true"]
    messages = [
        {"ts": post.ts, **({"metadata": post.message["metadata"]} if known else {})}
        for post in shown
        if "metadata" in post.message
    ]
    about = {"next_cursor": more}
    return json_answer({"ok": True, "messages": messages, "response_metadata": about})
