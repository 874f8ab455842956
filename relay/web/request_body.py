"""Reads request bodies within limits of size and time, and writes short JSON answers: plain ASGI, as hooks must be fast."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from relay.clock import Deadline

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


FROM_PROXY = "relay.from_proxy"
"""Key in an ASGI scope: whether the connection comes from a trusted proxy. Missing where no setting needs it."""


class Answer(Struct, frozen=True):
    """A status and a small JSON body."""

    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    close: bool = False
    """Close the connection, because a part of the request was not read."""


NOT_FOUND = Answer(404, {"error": "not found"})
"""The answer to unknown paths and unknown tokens alike, so that it does not reveal which of them it was."""


def refusal(status: int, error: str, *, retry_after: int = 0, close: bool = False) -> Answer:
    """The answer to a hook that is not accepted; `retry_after` in seconds."""
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
    """Send an answer by ASGI."""
    headers, body = encoded(answer)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


MAX_BODY = 2**20


class NotTaken(Exception):
    """Raised where a request is answered with `answer` instead."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.status))
        self.answer = answer


class Disconnected(Exception):
    """Raised where the client closed the connection before the body was complete; nobody waits for an answer."""


class BodyReader:
    """Reads request bodies, and ends all unfinished ones when the relay stops."""

    def __init__(self, *, max_body: int = MAX_BODY, deadline: float) -> None:
        """`max_body` in bytes, `deadline` in seconds."""
        self._max_body = max_body
        self._deadline = Deadline(deadline)
        self.stopping = False

    def stop(self) -> None:
        """Read nothing more; unfinished reads end at once."""
        self.stopping = True
        self._deadline.end_all()

    async def read(
        self, headers: Iterable[tuple[bytes, bytes]], receive: Receive, most: int = 0
    ) -> bytes:
        """The body, of at most `most` bytes, by default `max_body`. Raises NotTaken or Disconnected."""
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
    """The answer while the relay stops: 503, to be posted again in 10 seconds."""
    return refusal(503, "the relay is shutting down", retry_after=10, close=True)
