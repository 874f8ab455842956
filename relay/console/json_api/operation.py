"""Operations of the JSON API, each declared once: its route, its parameters, its answer, and its entry in the OpenAPI document."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_type_hints

import msgspec
from litestar import HttpMethod, Request, Response, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from relay.console.json_api.call import BASE, JSON, Api, Call, Nothing
from relay.console.json_api.idempotency_key import answered_once, key_of
from relay.console.json_api.problem_details import Refusal, refused_answer
from relay.console.json_api.request_reading import body_of, converted, query_of
from relay.console.visit import visit_of
from relay.outbox.people import Role

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
    tells_secret: bool = False
    """Whether its answer contains a secret, which is not stored for a second request with the same key."""

    @property
    def name(self) -> str:
        return self.answers.__name__

    @property
    def summary(self) -> str:
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
            return await self._handle(request, api)

        return handle

    async def _handle(self, request: Request[Any, Any, Any], api: Api) -> Response[bytes]:
        visit, query = visit_of(request.scope), request.scope["query_string"]
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(api, visit, headers, self.name, self.path)
        try:
            given = {
                "path": lambda kind: converted(_names(request.path_params), kind),
                "query": lambda kind: query_of(query, kind),
                "body": lambda kind: body_of(visit.body, headers.get("content-type", ""), kind),
            }
            if "query" not in self.kinds:
                query_of(query, Nothing)
            read = {name: given[name](kind) for name, kind in self.kinds.items() if name in given}
            if self.once:
                call = replace(call, key=key_of(call, request.method, request.scope["path"]))

            async def answered() -> Response[bytes]:
                return self._answer(await self.answers(call, **read))

            if call.key:
                return await answered_once(call, call.key, answered, is_kept=not self.tells_secret)
            return await answered()
        except Refusal as refusal:
            return refused_answer(refusal)

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
        tells_secret: bool = False,
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
                    tells_secret=tells_secret,
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
