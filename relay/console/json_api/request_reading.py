"""Decodes and checks a request's query, path and body."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from relay.console.json_api.call import JSON
from relay.console.json_api.problem_details import Refusal, wrong

MOST_PARAMETERS = 50
T = TypeVar("T", bound=Struct)


def query_of(text: bytes, kind: type[T]) -> T:
    """The parameters of a URL's query as a `kind`. Raises Refusal for unknown, repeated or invalid ones."""
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
    return converted(found, kind)


def converted(found: Mapping[str, object], kind: type[T]) -> T:
    """Strings by name as a `kind`, with numbers and times parsed. Raises Refusal for invalid ones."""
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _unfit(error) from None


def _unfit(error: msgspec.ValidationError) -> Refusal:
    words, _, place = str(error).partition(" - at `$.")
    return wrong(place.rstrip("`"), words) if place else Refusal(422, words)


def body_of(text: bytes, media_type: str, kind: type[T]) -> T:
    """The JSON of a request's body as a `kind`. Raises Refusal for invalid JSON, and for unknown, repeated or invalid members."""
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
    """The members of a JSON object. Raises Refusal for a repeated name, of which it is unclear which value is meant."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise wrong(name, "given twice")
        found[name] = value
    return found
