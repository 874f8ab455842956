"""Operations of the JSON API, each declared once: its route, parameters, answer, and entry in the OpenAPI document.

A request with an Idempotency-Key that is sent twice acts once, and gets the same answer both times.
"""

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, get_type_hints

import msgspec
from litestar import HttpMethod, Request, Response, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from relay.console.json_api.api_request import (
    BASE,
    JSON,
    Api,
    Call,
    Nothing,
    body_of,
    converted,
    query_of,
)
from relay.console.json_api.problem_details import Refusal, refused_answer, wrong
from relay.console.logged_acts import AlreadyDone
from relay.console.request_context import caller_of
from relay.console.sign_in import PATIENCE
from relay.outbox import StorageUnavailable
from relay.outbox.idempotency import IdempotencyKey, KeptAnswer, find_key, keep_answer
from relay.outbox.user_accounts import Role

Answering = Callable[..., Awaitable[Struct]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method and a path, and the function that answers it."""

    method: HttpMethod
    path: str
    """The path below BASE."""
    role: Role
    tag: str
    answers: Answering
    """A coroutine function that takes a Call and, if it has parameters of these names, `path`, `query` and `body`."""
    kinds: Mapping[str, type[Any]]
    """The types of `path`, `query`, `body` and `return`."""
    status: int = 200
    refusals: tuple[int, ...] = ()
    """Statuses of errors that other operations do not have."""
    once: bool = False
    """Whether it takes an Idempotency-Key."""
    if_match: bool = False
    """Whether it needs an If-Match."""
    has_secret: bool = False
    """Whether its answer contains a secret, which is not stored for a second request with the same key."""

    @property
    def name(self) -> str:
        """The operation's name in OpenAPI, that of its function."""
        return self.answers.__name__

    @property
    def summary(self) -> str:
        """The operation's summary in OpenAPI: the first line of its function's docstring."""
        return (self.answers.__doc__ or "").partition("\n")[0].rstrip(".")

    def handler(self, api: Api) -> HTTPRouteHandler:
        """The route handler of the operation."""
        methods = [self.method, HttpMethod.HEAD] if self.method is HttpMethod.GET else [self.method]

        @route(
            BASE + self.path.replace("}", ":str}"),
            http_method=methods,
            opt={"role": self.role},
            name=self.name,
            status_code=self.status,
        )
        async def handle(request: Request[Any, Any, Any]) -> Response[bytes]:
            try:
                return await self._handle(request, api)
            except Refusal as refusal:
                return refused_answer(refusal)

        return handle

    async def _handle(self, request: Request[Any, Any, Any], api: Api) -> Response[bytes]:
        """The answer to one request. Raises Refusal."""
        caller, query = caller_of(request.scope), request.scope["query_string"]
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(api, caller, headers, self.name, self.path)
        given = {
            "path": lambda kind: converted(_names(request.path_params), kind),
            "query": lambda kind: query_of(query, kind),
            "body": lambda kind: body_of(caller.body, headers.get("content-type", ""), kind),
        }
        if "query" not in self.kinds:
            query_of(query, Nothing)
        read = {name: given[name](kind) for name, kind in self.kinds.items() if name in given}
        if self.once:
            call = replace(call, key=key_of(call, request.method, request.scope["path"]))

        async def answer_call() -> Response[bytes]:
            return self._answer(await self.answers(call, **read))

        if call.key:
            return await answer_once(call, call.key, answer_call, is_kept=not self.has_secret)
        return await answer_call()

    def _answer(self, answer: Struct) -> Response[bytes]:
        headers = {}
        if following := getattr(answer, "next", None):
            headers["link"] = f'<{following}>; rel="next"'
        if place := getattr(answer, "location", None):
            headers["location"] = place
        if etag := getattr(answer, "hash", None):
            headers["etag"] = f'"{etag}"'
        return Response(encoded(answer), status_code=self.status, media_type=JSON, headers=headers)


@dataclass(slots=True)
class Operations:
    """The operations on one subject."""

    tag: str
    all: list[Operation] = field(default_factory=list)

    def operation(
        self,
        method: HttpMethod,
        path: str,
        role: Role,
        *,
        status: int = 200,
        refusals: tuple[int, ...] = (),
        once: bool = False,
        if_match: bool = False,
        has_secret: bool = False,
    ) -> Callable[[Answering], Answering]:
        """A decorator that declares an operation; the first line of the function's docstring is its summary."""

        def declare(function: Answering) -> Answering:
            kinds = get_type_hints(function, include_extras=True)
            del kinds["call"]
            self.all.append(
                Operation(
                    method=method,
                    path=path,
                    role=role,
                    tag=self.tag,
                    answers=function,
                    kinds=kinds,
                    status=status,
                    refusals=refusals,
                    once=once,
                    if_match=if_match,
                    has_secret=has_secret,
                )
            )
            return function

        return declare


def _names(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a path, with slashes in place of NUL, which stands for a slash within a name."""
    return {name: value.replace("\0", "/") for name, value in given.items()}


def encoded(value: object) -> bytes:
    """A value as JSON, with lone surrogates replaced."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
        return text.encode("utf-8", "replace")


KEY_HEADER = "idempotency-key"
LONGEST_KEY = 200
_KEY = re.compile(rf"[\x20-\x7e]{{1,{LONGEST_KEY}}}")
REPEATED = "idempotency-replayed"
"""The header of an answer that was stored and is given again."""

log = logging.getLogger(__name__)


def key_of(call: Call, method: str, path: str) -> IdempotencyKey | None:
    """The idempotency key in a request's headers; None without one. Raises Refusal for an invalid key."""
    key = call.headers.get(KEY_HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        words = f"one to {LONGEST_KEY} letters, digits and signs of ASCII"
        raise wrong("Idempotency-Key", words)
    caller = call.caller
    number = caller.session.user.id if caller.session else 0
    owner = f"token {caller.token.id}" if caller.token else f"user {number}"
    request_hash = hashlib.sha256(f"{method} {path}\n".encode() + caller.body)
    return IdempotencyKey(owner=owner, key=key, request=request_hash.digest())


async def answer_once(
    call: Call,
    key: IdempotencyKey,
    answer_call: Callable[[], Awaitable[Response[bytes]]],
    *,
    is_kept: bool = True,
) -> Response[bytes]:
    """Answer a call with a key; of several calls with the same key, only the first does anything. Raises Refusal.

    `is_kept`: false for an answer with a secret, which is not stored.
    """
    with _only(call, key):
        if kept := await call.api.sign_in.read(find_key, key=key, now=call.now):
            return _repeated(key, kept)
        try:
            answer = await answer_call()
        except AlreadyDone:  # another relay on the same database was faster
            raise _key_in_use() from None
        if is_kept:
            await _keep(call, key, answer)
        return answer


@contextmanager
def _only(call: Call, key: IdempotencyKey) -> Iterator[None]:
    """Raises Refusal where a call with the same key is under way, and lets none begin during the block."""
    name = (key.owner, key.key)
    if name in call.api.under_way:
        raise _key_in_use()
    call.api.under_way.add(name)
    try:
        yield
    finally:
        call.api.under_way.discard(name)


async def _keep(call: Call, key: IdempotencyKey, answer: Response[bytes]) -> None:
    """Store the answer under the key; where the database does not take it, only log that."""
    outbox, status = call.running.parts.outbox, answer.status_code or 200
    try:
        async with asyncio.timeout(PATIENCE):
            await outbox.run(
                lambda cursor: keep_answer(
                    outbox.operations.sql, cursor, key, status, answer.content
                )
            )
    except (StorageUnavailable, TimeoutError) as error:
        log.warning("the answer to a request with an Idempotency-Key is not kept: %s", error)


def _key_in_use() -> Refusal:
    return Refusal(
        409,
        "A request with this Idempotency-Key is under way. Ask again in a moment.",
        kind="under-way",
        headers={"retry-after": "1"},
    )


def _repeated(key: IdempotencyKey, kept: KeptAnswer) -> Response[bytes]:
    """The stored answer. Raises Refusal where the key was used for another request, or the answer is not known."""
    if kept.request != key.request:
        raise Refusal(
            422,
            "This Idempotency-Key was sent with another request before. Choose another key.",
            kind="key-of-another-request",
            fields={"Idempotency-Key": "was sent with another request before"},
        )
    if kept.status is None:
        raise Refusal(
            409,
            "This was done before, and what was answered is not known. Look at what came of it.",
            kind="answer-not-known",
        )
    return Response(
        kept.body,
        status_code=kept.status,
        media_type=JSON,
        headers={REPEATED: "true"},
    )
