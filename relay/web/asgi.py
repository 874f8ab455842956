"""Bare ASGI: a request's body read within limits, and short JSON answers.

Short JSON answers, sent over bare ASGI: the hook route must not cost more than the hook.

Reading a request's body within limits of our own.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

import msgspec
from msgspec import Struct

from relay.clock import Deadline

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


FROM_PROXY = "relay.from_proxy"
"""In a scope: whether the connection comes from a proxy that is believed. Missing where no setting asks for it."""


class Answer(Struct, frozen=True):
    """A status and a small JSON body."""

    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    close: bool = False
    """End the connection: some of the request was not read."""


NOT_FOUND = Answer(404, {"error": "not found"})
"""The answer to an unknown path and to an unknown token: it does not tell which of the two it was."""


def refusal(status: int, error: str, *, retry_after: int = 0, close: bool = False) -> Answer:
    """A hook that is not taken; `retry_after` in seconds."""
    headers = {"retry-after": str(retry_after)} if retry_after else {}
    return Answer(status, {"error": error}, headers, close)


def encoded(answer: Answer) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of an answer, as bytes."""
    body = msgspec.json.encode(answer.body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
        *((name.encode(), value.encode()) for name, value in answer.headers.items()),
    ]
    if answer.close:
        headers.append((b"connection", b"close"))
    return headers, body


async def send_answer(answer: Answer, send: Send) -> None:
    headers, body = encoded(answer)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


MAX_BODY = 2**20


class NotTaken(Exception):
    """Raised where a request gets this answer instead."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.status))
        self.answer = answer


class Disconnected(Exception):
    """The sender went away before the body was whole; nobody waits for an answer."""


class BodyReader:
    """Reads bodies, and lets go of all that are still coming in when the relay stops."""

    def __init__(self, *, max_body: int = MAX_BODY, deadline: float) -> None:
        """`max_body` in bytes, `deadline` in seconds."""
        self._max_body = max_body
        self._deadline = Deadline(deadline)
        self.stopping = False

    def stop(self) -> None:
        """Read nothing more; what is being read ends at once."""
        self.stopping = True
        self._deadline.end_all()

    async def read(
        self, headers: Iterable[tuple[bytes, bytes]], receive: Receive, most: int = 0
    ) -> bytes:
        """The body, of at most `most` bytes, or else of `max_body`. Raises NotTaken or Disconnected."""
        most = most or self._max_body
        if self.stopping:
            raise NotTaken(shutting_down())
        self._refuse_by_headers(headers, most)
        try:
            with self._deadline.start():
                return await self._collect(receive, most)
        except TimeoutError:
            if self.stopping:
                raise NotTaken(shutting_down()) from None
            late = f"the body did not arrive within {self._deadline.seconds:g} s"
            raise NotTaken(refusal(408, late, close=True)) from None

    def _refuse_by_headers(self, headers: Iterable[tuple[bytes, bytes]], most: int) -> None:
        for name, value in headers:
            if name == b"content-length" and value.isdigit() and int(value) > most:
                raise NotTaken(_too_large(most))
            if name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
                raise NotTaken(refusal(415, "send the body without Content-Encoding", close=True))

    async def _collect(self, receive: Receive, most: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            part = message.get("body", b"")
            size += len(part)
            if size > most:
                raise NotTaken(_too_large(most))
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(most: int) -> Answer:
    return refusal(413, f"a hook has at most {most} bytes", close=True)


def shutting_down() -> Answer:
    return refusal(503, "the relay is shutting down", retry_after=10, close=True)
