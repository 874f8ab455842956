"""What went wrong, as programs get it: RFC 9457's problem details."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Response
from msgspec import Struct

PROBLEM = "application/problem+json"
_TYPE = "urn:smartsupp-relay:problem:"
_WORDS = {
    401: "Send a token: Authorization: Bearer relay_...",
    403: "Your role does not allow this.",
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    503: "The relay's database does not answer just now. Try again in a moment.",
}
_HEADERS = {401: {"www-authenticate": "Bearer"}, 503: {"retry-after": "5"}}


class TextFix(Struct, frozen=True, kw_only=True):
    """A text to put in the place of another one, on the line of a problem. It was tried: the problem is gone then."""

    column: int
    """In characters, from 1."""
    length: int
    """How many characters it takes the place of."""
    text: str
    """What to put there."""


class FileProblem(Struct, frozen=True, kw_only=True):
    """One thing wrong with a rules file."""

    severity: str
    """error or warning; with a warning the file can be used."""
    path: str
    """The path of the file."""
    line: int | None
    """From 1; null where the file as a whole is meant."""
    column: int | None
    """In characters, from 1; null where the whole line is meant."""
    what: str
    """What is wrong, in words."""
    hint: str
    """What may stand there; may be empty."""
    fixes: tuple[TextFix, ...] = ()
    """Only of `/rules/check`: what would put it right, the likeliest first."""


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request was not answered as asked. `detail` says it in words."""

    title: str
    """The usual words for the status."""
    status: int
    """The HTTP status, such as 422."""
    detail: str
    """What was wrong, what stood there and what may stand there, in English."""
    type: str = "about:blank"
    """A URN for what a program may want to tell from others of the same status."""
    instance: str = ""
    """Of an error of the relay itself: its number, which stands in the log."""
    fields: Mapping[str, str] = {}
    """By the name of a parameter or member: what is wrong with it."""
    problems: tuple[FileProblem, ...] = ()
    """What is wrong with a rules file."""


class Refusal(Exception):
    """The call gets this problem for an answer, and nothing was changed."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "",
        fields: Mapping[str, str] | None = None,
        problems: tuple[FileProblem, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`kind`: by which programs tell it from others of this status."""
        super().__init__(detail)
        more: dict[str, Any] = {"type": _TYPE + kind} if kind else {}
        self.headers = headers or {}
        self.problem = Problem(
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            fields=fields or {},
            problems=problems,
            **more,
        )


def not_there(what: str) -> Refusal:
    """Nothing has this name or number. `what`: "delivery 7"."""
    return Refusal(404, f"There is no {what}.")


def wrong(name: str, words: str) -> Refusal:
    """A parameter or a member of the body can't be used."""
    return Refusal(422, f"{name}: {words}", fields={name: words})


def problem(status: int, detail: str = "", instance: str = "") -> bytes:
    """The body of an error; `detail`: what was wrong, in words."""
    words = detail or _WORDS.get(status, "This could not be done.")
    title = HTTPStatus(status).phrase
    return msgspec.json.encode(Problem(title=title, status=status, detail=words, instance=instance))


def problem_answer(
    status: int, *, instance: str = "", headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    """An error that a program gets in the relay's usual words."""
    return Response(
        problem(status, instance=instance),
        status_code=status,
        media_type=PROBLEM,
        headers={**_HEADERS.get(status, {}), **(headers or {})},
    )


def refused_answer(refusal: Refusal) -> Response[bytes]:
    """The answer to a call that was refused."""
    return Response(
        msgspec.json.encode(refusal.problem),
        status_code=refusal.problem.status,
        media_type=PROBLEM,
        headers=dict(refusal.headers),
    )
