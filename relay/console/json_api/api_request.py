"""A request to the JSON API: its query, path and body as Structs, cursors of lists, and types that several operations use."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Meta, Struct

from relay.console.jobs import Jobs
from relay.console.json_api.problem_details import Refusal, wrong
from relay.console.logged_acts import ActingSessions, act_of
from relay.console.request_context import Caller
from relay.console.sign_in import SignIn
from relay.console.throttle import Throttle
from relay.outbox.database_session import Sessions
from relay.outbox.idempotency import IdempotencyKey
from relay.rendering.isolation.worker_pool import RenderPool
from relay.services.wording_preview import WordingPreviews
from relay.web.app import Running

API = "/api/"
BASE = "/api/v1"
JSON = "application/json"
LARGEST = 2**63 - 1
"""The largest integer that a database column holds."""

Number = Annotated[int, Meta(ge=1, le=LARGEST)]
Line = Annotated[str, Meta(max_length=300, pattern=r"^[^\u0000]*$")]
"""A string of one line, such as a name or a filter."""
Reason = Annotated[
    str, Meta(min_length=1, max_length=300, pattern=r"^[^\u0000]*[^\s\u0000][^\u0000]*$")
]
"""The reason for an action; not blank."""
Instant = Annotated[datetime, Meta(tz=True)]


class Nothing(Struct, forbid_unknown_fields=True):
    """No parameters."""


class Numbered(Struct, forbid_unknown_fields=True):
    """A path that ends with a number."""

    number: Number
    """The number, as lists and answers give it."""


@dataclass(frozen=True, slots=True)
class Api:
    """The objects that operations need: the running relay, its sign-in and its jobs."""

    running: Running
    sign_in: SignIn
    jobs: Jobs
    tests: Throttle
    """Limits how often destinations are tested."""
    workers: RenderPool
    """Render drafts, separate from the workers that render deliveries."""
    previews: WordingPreviews
    under_way: set[tuple[str, str]] = field(default_factory=set)
    """Owners and idempotency keys of the requests that are being answered."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to an operation: who sends it, its headers, and the relay that answers it."""

    api: Api
    caller: Caller
    headers: Mapping[str, str]
    operation: str
    """The name of the operation."""
    path: str
    """The path of the operation, below BASE."""
    key: IdempotencyKey | None = None

    @property
    def running(self) -> Running:
        """The running relay."""
        return self.api.running

    @property
    def sessions(self) -> Sessions:
        """Sessions for an operation that only reads."""
        return self.api.running.parts.outbox.sessions

    @property
    def now(self) -> datetime:
        """The present time, aware."""
        return self.api.running.clock()

    def if_match(self, current: str) -> str:
        """The hash that If-Match names; of several `current`, if it is among them. Raises Refusal without the header."""
        given = self.headers.get("if-match", "").strip()
        if not given:
            words = "Say what you have read: If-Match with its ETag, as GET has told it."
            raise Refusal(428, words, kind="if-match-missing")
        hashes = [each.strip().removeprefix('"').removesuffix('"') for each in given.split(",")]
        return current if current in hashes else hashes[0]

    def acting(self, act: str, subject: str, detail: str = "") -> ActingSessions:
        """Sessions whose transaction also logs the act and stores the idempotency key.

        `act`, `subject` and `detail` must contain no words of visitors.
        """
        return ActingSessions(
            self.sessions, act_of(self.caller, act, subject, detail), self.now, self.key
        )


MOST_PARAMETERS = 50
_NUMBER = re.compile(r"[-+.\deE]+")
T = TypeVar("T", bound=Struct)


def copied(kind: type[T], source: object, **others: Any) -> T:  # noqa: ANN401 - each of its own type
    """A Struct of type `kind`: the fields in `others`, and each other field copied from the attribute of `source` with its name."""
    names = (name for name in kind.__struct_fields__ if name not in others)
    return kind(**others, **{name: getattr(source, name) for name in names})


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
    types, parameters = get_type_hints(kind), dict[str, Any]()
    for name, value in pairs:
        if _is_loose(value, types.get(name, str)):
            raise wrong(name, "needs a value as the document describes it, or has to be left out")
        if get_origin(types.get(name)) is tuple:
            parameters.setdefault(name, []).append(value)
        elif name in parameters:
            raise wrong(name, "given twice")
        else:
            parameters[name] = value
    return converted(parameters, kind)


def _is_loose(value: str, kind: Any) -> bool:  # noqa: ANN401 - a type
    """Whether msgspec would read more than the document allows: `null` as no value, or a number as a time."""
    types = get_args(kind) or (kind,)
    is_null = value.lower() == "null" and str not in types and NoneType in types
    return is_null or (datetime in types and _NUMBER.fullmatch(value) is not None)


def converted(values: Mapping[str, object], kind: type[T]) -> T:
    """Strings by name as a `kind`, with numbers and times parsed. Raises Refusal for invalid ones."""
    try:
        return msgspec.convert(values, kind, strict=False)
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
        body = msgspec.json.decode(text, type=kind)
        json.loads(text, object_pairs_hook=_unique_members)
    except msgspec.ValidationError as error:
        raise _unfit(error) from None
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is no JSON that can be read.") from None
    return body


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a JSON object. Raises Refusal for a repeated name, of which it is unclear which value is meant."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise wrong(name, "given twice")
        members[name] = value
    return members


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
