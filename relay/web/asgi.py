"""Short JSON answers, sent over bare ASGI: the hook route must not cost more than the hook."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec
from msgspec import Struct

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Answer(Struct, frozen=True):
    """A status and a small JSON body."""

    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    close: bool = False
    """End the connection: some of the request was not read."""


NOT_FOUND = Answer(404, {"error": "not found"})
"""The same for an unknown path and an unknown token, so that neither tells which."""


def refusal(status: int, error: str, *, retry_after: int = 0, close: bool = False) -> Answer:
    """A hook that is not taken; `retry_after` in seconds."""
    headers = {"retry-after": str(retry_after)} if retry_after else {}
    return Answer(status, {"error": error}, headers, close)


def encoded(answer: Answer) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Its headers and its body."""
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
