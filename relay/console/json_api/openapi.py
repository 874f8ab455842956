"""The OpenAPI document, generated from the operations."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from relay.console.json_api.api_request import BASE, JSON
from relay.console.json_api.operation import LONGEST_KEY, Operation, Operations
from relay.console.json_api.problem_details import PROBLEM, Problem
from relay.console.request_context import COOKIE
from relay.outbox.user_accounts import Role

VERSION = "1"
"""The version of the API: within it members and operations are added, but none is renamed, removed, or changes its type."""
ABOUT = (
    "What the pages of the console show and do, for programs. Times are in UTC, as ISO 8601 writes them. "
    "Ignore members that you don't know: more may come. Texts of visitors are as they were typed: escape them."
)
_WORDS = {
    400: "The query or the body can't be read.",
    401: "Nobody has signed in, or the token is unknown or has ended.",
    403: "The role does not allow it.",
    404: "There is no such thing.",
    409: "It does not fit what there is now.",
    412: "It has changed since it was read.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    428: "If-Match is missing.",
    429: "There were too many just now.",
    422: "A parameter or a member of the body can't be used.",
}
_OTHER = "Another error: 421 for an unknown host name, 503 while the relay is busy or its database does not answer."
_Json = dict[str, Any]
_KEY: _Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Chosen by who asks. Of requests with the same key within 24 hours only the first does something; "
    "the others are told what it was told.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]*$"},
}
_IF_MATCH: _Json = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of what is replaced, as `GET` at this path told it; for `/rules/undo` that of `/rules`.",
    "schema": {"type": "string", "minLength": 1},
}


_SECURITY: _Json = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "Made under API tokens in the console.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "Of a browser that has signed in. What changes something also needs the header X-Relay: 1.",
    },
}


def document(subjects: Sequence[Operations]) -> _Json:
    """The OpenAPI 3.1 document of these operations."""
    operations = [each for subject in subjects for each in subject.all]
    refs, components = _schemas(list(dict.fromkeys(_kinds(operations))))
    parameters = {kind for each in operations for kind in _parameter_kinds(each)}
    names = {refs[kind]["$ref"].rpartition("/")[2] for kind in parameters}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Smartsupp relay", "version": VERSION, "description": ABOUT},
        "servers": [{"url": BASE}],
        "security": [{"token": []}, {"session": []}],
        "tags": [{"name": subject.tag} for subject in subjects],
        "paths": _Made(refs, components).paths(operations),
        "components": {
            "securitySchemes": _SECURITY,
            "responses": {
                **{str(status): _problem(words, status) for status, words in _WORDS.items()},
                "default": _problem(_OTHER, 503),
            },
            "schemas": {name: schema for name, schema in components.items() if name not in names},
        },
    }


def _schemas(kinds: Sequence[type[Any]]) -> tuple[dict[type[Any], _Json], dict[str, _Json]]:
    """The schema of each type, which refers to one of the components; and the components by their names."""
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    for kind in _described(kinds):
        _describe(components[kind.__name__], kind)
    return dict(zip(kinds, schemas, strict=True)), components


def _kinds(operations: Sequence[Operation]) -> Iterator[type[Any]]:
    yield Problem
    for each in operations:
        yield from each.kinds.values()


def _described(kinds: Iterable[type[Any]]) -> set[type[Any]]:
    """The Structs and dataclasses among these types, and all that are nested in their fields."""
    described: set[type[Any]] = set()

    def look(info: object) -> None:
        if isinstance(info, (inspect.StructType, inspect.DataclassType)):
            if info.cls in described:
                return
            described.add(info.cls)
            info = info.fields
        if isinstance(info, tuple):
            for each in info:
                look(each)
        elif isinstance(info, (inspect.Type, inspect.Field)):
            look(tuple(getattr(info, name) for name in info.__struct_fields__))

    look(tuple(inspect.multi_type_info(kinds)))
    return described


def _describe(schema: _Json, kind: type[Any]) -> None:
    """Put the docstrings of the type's fields into its schema, where no Meta describes them."""
    docstrings = _docstrings(kind)
    names = {each.encode_name: each.name for each in _fields(kind)}
    for name, described in schema["properties"].items():
        inner = [each.pop("description", "") for each in described.get("anyOf", ())]
        words = docstrings.get(names[name], "") or "".join(inner)
        if words and "description" not in described:
            described["description"] = words


def _fields(kind: type[Any]) -> Sequence[Any]:
    (info,) = inspect.multi_type_info([kind])
    fields: Sequence[Any] = getattr(info, "fields", ())
    return fields


def _docstrings(kind: type[Any]) -> dict[str, str]:
    """The attribute docstrings of a type, by field, with null in place of None."""
    docstrings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        body = _classes(base.__module__).get(base.__name__, [])
        for field, text in pairwise(body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(words))):
                    docstrings[name] = re.sub(r"\bNone\b", "null", " ".join(words.split()))
    return docstrings


@cache
def _classes(module: str) -> Mapping[str, list[ast.stmt]]:
    """The bodies of a module's classes, parsed from its source."""
    if module.partition(".")[0] != "relay":
        return {}
    path = Path(str(sys.modules[module].__file__))
    tree = ast.parse(path.read_text("utf-8"))
    return {each.name: each.body for each in tree.body if isinstance(each, ast.ClassDef)}


def _parameter_kinds(operation: Operation) -> Iterator[type[Any]]:
    yield from (operation.kinds[name] for name in ("path", "query") if name in operation.kinds)


def _problem(words: str, status: int) -> _Json:
    title = HTTPStatus(status).phrase
    return {
        "description": words,
        "content": {
            PROBLEM: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": {"title": title, "status": status, "detail": words},
            }
        },
    }


class _Made:
    def __init__(self, refs: dict[type[Any], _Json], components: _Json) -> None:
        self._refs, self._components = refs, components

    def paths(self, operations: Sequence[Operation]) -> _Json:
        """The operations of each path, by method."""
        paths: _Json = {
            "/openapi.json": {
                "get": {
                    "operationId": "get_openapi",
                    "tags": ["People"],
                    "summary": "This document",
                    "responses": {
                        "200": {
                            "description": "The document.",
                            "content": {JSON: {"schema": {"type": "object"}}},
                        },
                        **_refused({400, 401, 422}),
                    },
                }
            }
        }
        for each in operations:
            paths.setdefault(each.path, {})[each.method.value.lower()] = self._operation(each)
        return paths

    def _operation(self, operation: Operation) -> _Json:
        answer = {"description": "Done.", "content": self._content(operation.kinds["return"])}
        made: _Json = {
            "operationId": operation.name,
            "tags": [operation.tag],
            "summary": operation.summary,
            "description": f"For the role {operation.role.value}{_above(operation.role)}.",
            "responses": {str(operation.status): answer, **_refused(_statuses(operation))},
        }
        parameters = [
            *self._parameters(operation, "path"),
            *self._parameters(operation, "query"),
        ]
        headers = [_KEY] if operation.once else [_IF_MATCH] if operation.if_match else []
        if parameters or headers:
            made["parameters"] = [*parameters, *headers]
        if "body" in operation.kinds:
            content = self._content(operation.kinds["body"])
            made["requestBody"] = {"required": True, "content": content}
        return made

    def _content(self, kind: type[Any]) -> _Json:
        return {JSON: {"schema": self._refs[kind]}}

    def _parameters(self, operation: Operation, place: str) -> Iterator[_Json]:
        if place not in operation.kinds:
            return
        name = self._refs[operation.kinds[place]]["$ref"].rpartition("/")[2]
        schema = self._components[name]
        for each, described in schema["properties"].items():
            made = {"name": each, "in": place, "required": each in schema.get("required", ())}
            details = dict(described)
            if "description" in details:
                made["description"] = details.pop("description")
            yield {**made, "schema": _without_null(details)}


def _without_null(schema: _Json) -> _Json:
    """The schema of a parameter without null: it is left out where it is not wanted."""
    if "anyOf" not in schema:
        return schema
    some = [each for each in schema["anyOf"] if each != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    return {**some[0], **rest} if len(some) == 1 else {**rest, "anyOf": some}


def _above(role: Role) -> str:
    return "" if role is Role.ADMIN else " and those above"


def _statuses(operation: Operation) -> set[int]:
    statuses = {400, 401, 422, *operation.refusals}
    if operation.role is not Role.VIEWER or operation.method.value != "GET":
        statuses.add(403)
    if "path" in operation.kinds:
        statuses.add(404)
    if "body" in operation.kinds:
        statuses |= {413, 415}
    if operation.once:
        statuses.add(409)
    return statuses


def _refused(statuses: set[int]) -> _Json:
    wanted = (*(str(each) for each in sorted(statuses)), "default")
    return {name: {"$ref": f"#/components/responses/{name}"} for name in wanted}
