"""Cursors of lists: each is valid only for the operation and the filters that it was made for."""

import base64
import hashlib
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct

from relay.console.json_api.call import BASE, LARGEST, Call, Number
from relay.console.json_api.problem_details import wrong

MOST_IN_A_LIST = 200
IN_A_LIST = 50
_VERSION = 1


class Listing(Struct, kw_only=True, forbid_unknown_fields=True):
    """Parameters of every list."""

    limit: Annotated[
        int, Meta(ge=1, le=MOST_IN_A_LIST, description="At most so many in one answer.")
    ] = IN_A_LIST
    cursor: Annotated[
        str,
        Meta(max_length=200, description="From `next` of the answer before, with the same filter."),
    ] = ""


class _Cursor(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    digest: str
    before: Number


def position(call: Call, query: Listing) -> int | None:
    """The number before which the page begins; None for the first page. Raises Refusal for an invalid cursor."""
    if not query.cursor:
        return None
    try:
        text = base64.b64decode(query.cursor + "=" * (-len(query.cursor) % 4), b"-_", validate=True)
        cursor = msgspec.json.decode(text, type=_Cursor)
    except (ValueError, RecursionError):
        raise wrong("cursor", "this is no cursor of this relay") from None
    if cursor.version != _VERSION or cursor.digest != _digest(call, query):
        raise wrong("cursor", "this cursor is of a list with another filter")
    return cursor.before


def following(call: Call, query: Listing, before: int | None) -> str | None:
    """The path of the next page, which begins before this number; None where there is none."""
    if before is None or before > LARGEST:
        return None
    made = msgspec.json.encode(_Cursor(_VERSION, _digest(call, query), before))
    cursor = base64.urlsafe_b64encode(made).decode().rstrip("=")
    given = {**msgspec.to_builtins(query), "cursor": ""}
    parameters = {name: value for name, value in given.items() if value not in ("", None, [])}
    parameters["cursor"] = cursor
    return f"{BASE}{call.path}?{urlencode(_as_typed(parameters), doseq=True)}"


def _as_typed(parameters: dict[str, object]) -> dict[str, object]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in parameters.items()
    }


def _digest(call: Call, query: Listing) -> str:
    """A hash of the operation and its filters."""
    given = {**msgspec.to_builtins(query), "cursor": "", "limit": 0, "": call.operation}
    text = msgspec.json.encode(given, order="sorted")
    return hashlib.sha256(text).hexdigest()[:16]
