"""One operation of the JSON API, declared once: its route, what it reads and answers, and its part of the OpenAPI document."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, TypeVar, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from litestar import HttpMethod, Request, Response, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from relay.console.json_api.problem_details import Refusal, refused_answer, wrong
from relay.console.sign_in import SignIn
from relay.console.visit import Visit, visit_of
from relay.outbox.people import Role
from relay.web.app import Running

API = "/api/"
BASE = "/api/v1"
JSON = "application/json"
MOST_PARAMETERS = 50
LARGEST = 2**63 - 1
"""The largest number that a database holds."""

Number = Annotated[int, Meta(ge=1, le=LARGEST)]
Line = Annotated[str, Meta(max_length=300, pattern=r"^[^\u0000]*$")]
"""A name or a filter."""
Instant = Annotated[datetime, Meta(tz=True)]
T = TypeVar("T", bound=Struct)


class Nothing(Struct, forbid_unknown_fields=True):
    """No parameters."""


class Numbered(Struct, forbid_unknown_fields=True):
    """A path that ends with a number."""

    number: Number


@dataclass(frozen=True, slots=True)
class Call:
    """One request, by whom, and the relay that answers it."""

    running: Running
    sign_in: SignIn
    visit: Visit
    headers: Mapping[str, str]
    operation: "Operation"
    query_text: str


Answering = Callable[..., Awaitable[Struct]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method and a path, and the function that answers it."""

    method: HttpMethod
    path: str
    """Below BASE."""
    role: Role
    tag: str
    answers: Answering
    """A coroutine function of a Call and, where it has parameters of these names, `path`, `query` and `body`."""
    kinds: Mapping[str, type[Any]]
    """The types of `path`, `query`, `body` and `return`."""
    status: int = 200
    refusals: tuple[int, ...] = ()
    """The statuses of problems that are this operation's own."""

    @property
    def name(self) -> str:
        return self.answers.__name__

    @property
    def summary(self) -> str:
        return (self.answers.__doc__ or "").partition("\n")[0].rstrip(".")

    def handler(self, running: Running, sign_in: SignIn) -> HTTPRouteHandler:
        """The route's handler."""
        methods = [self.method, HttpMethod.HEAD] if self.method is HttpMethod.GET else [self.method]

        @route(
            BASE + self.path.replace("}", ":str}"),
            http_method=methods,
            opt={"role": self.role},
            name=self.name,
            status_code=self.status,
        )
        async def handle(request: Request[Any, Any, Any]) -> Response[bytes]:
            return await self._handle(request, running, sign_in)

        return handle

    async def _handle(
        self, request: Request[Any, Any, Any], running: Running, sign_in: SignIn
    ) -> Response[bytes]:
        visit, query = visit_of(request.scope), request.scope["query_string"]
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(running, sign_in, visit, headers, self, query.decode("latin-1"))
        try:
            given = {
                "path": lambda kind: _converted(request.path_params, kind),
                "query": lambda kind: _query(query, kind),
                "body": lambda kind: _body(visit.body, headers.get("content-type", ""), kind),
            }
            if "query" not in self.kinds:
                _query(query, Nothing)
            read = {name: given[name](kind) for name, kind in self.kinds.items() if name in given}
            answer = await self.answers(call, **read)
        except Refusal as refusal:
            return refused_answer(refusal)
        return Response(
            encoded(answer),
            status_code=self.status,
            media_type=JSON,
            headers=_links(answer),
        )


@dataclass(slots=True)
class Operations:
    """Operations about one subject."""

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
    ) -> Callable[[Answering], Answering]:
        """Declare what a function answers; the first line of its docstring is the summary."""

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
                )
            )
            return function

        return declare


def encoded(value: object) -> bytes:
    """As JSON; halves of characters, which no parser need take, are replaced."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
        return text.encode("utf-8", "replace")


def _links(answer: Struct) -> dict[str, str]:
    following = getattr(answer, "next", None)
    return {"link": f'<{following}>; rel="next"'} if following else {}


def _query(text: bytes, kind: type[T]) -> T:
    """Raises Refusal."""
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=MOST_PARAMETERS,
            errors="strict",
        )
    except ValueError:
        raise Refusal(400, "The query can't be read.") from None
    lists = {name for name, of in get_type_hints(kind).items() if get_origin(of) is tuple}
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in lists:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise wrong(name, "given twice")
        else:
            found[name] = value
    return _converted(found, kind)


def _converted(found: Mapping[str, object], kind: type[T]) -> T:
    """Raises Refusal."""
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _unfit(error) from None


def _unfit(error: msgspec.ValidationError) -> Refusal:
    words, _, place = str(error).partition(" - at `$.")
    return wrong(place.rstrip("`"), words) if place else Refusal(422, words)


def _body(text: bytes, media_type: str, kind: type[T]) -> T:
    """Raises Refusal."""
    if media_type.partition(";")[0].strip().lower() != JSON:
        raise Refusal(415, f"Send the body as {JSON}.")
    try:
        found = msgspec.json.decode(text, type=kind)
        json.loads(text, object_pairs_hook=_once_each)
    except msgspec.ValidationError as error:
        raise _unfit(error) from None
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is no JSON that can be read.") from None
    return found


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of two members with one name nobody knows which is meant. Raises Refusal."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise wrong(name, "given twice")
        found[name] = value
    return found
