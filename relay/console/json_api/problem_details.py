"""Errors of the JSON API as problem details (RFC 9457)."""

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
    """A text to put in place of another on the line of a problem. It was tried, and removes the problem."""

    column: int
    """The column in characters, from 1."""
    length: int
    """How many characters it takes the place of."""
    text: str
    """What to put there."""


class FileProblem(Struct, frozen=True, kw_only=True):
    """An error or warning in a rules file."""

    severity: str
    """error or warning; with a warning the file can be used."""
    path: str
    """The path of the file."""
    line: int | None
    """The line, from 1; null for the file as a whole."""
    column: int | None
    """The column in characters, from 1; null for the whole line."""
    what: str
    """The problem, in words."""
    hint: str
    """What is allowed there; may be empty."""
    fixes: tuple[TextFix, ...] = ()
    """Texts that would fix the problem, the likeliest first; only in answers of `/rules/check`."""


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request failed. `detail` says it in words."""

    title: str
    """The usual words for the status."""
    status: int
    """The HTTP status, such as 422."""
    detail: str
    """What was wrong, the value found, and what is allowed, in English."""
    type: str = "about:blank"
    """A URN that distinguishes errors with the same status."""
    instance: str = ""
    """The number of an internal error, which is also in the log."""
    fields: Mapping[str, str] = {}
    """Errors, by the name of the parameter or member."""
    problems: tuple[FileProblem, ...] = ()
    """Errors and warnings in a rules file."""


class Refusal(Exception):
    """An answer to a request that is refused: raised by an operation, and sent as problem details. Nothing was changed."""

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
        """`kind`: distinguishes this error from others with the same status."""
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


def missing(subject: str) -> Refusal:
    """The error for a name or number that does not exist. `subject`: such as "delivery 7"."""
    return Refusal(404, f"There is no {subject}.")


def wrong(name: str, words: str) -> Refusal:
    """The error for an invalid parameter or member of the body."""
    return Refusal(422, f"{name}: {words}", fields={name: words})


def problem(status: int, detail: str = "", instance: str = "") -> bytes:
    """The JSON body of an error; `detail`: what was wrong, in words."""
    words = detail or _WORDS.get(status, "This could not be done.")
    title = HTTPStatus(status).phrase
    return msgspec.json.encode(Problem(title=title, status=status, detail=words, instance=instance))


def problem_answer(
    status: int, *, instance: str = "", headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    """The answer for an error of this status, with the usual words for it."""
    return Response(
        problem(status, instance=instance),
        status_code=status,
        media_type=PROBLEM,
        headers={**_HEADERS.get(status, {}), **(headers or {})},
    )


def refused_answer(refusal: Refusal) -> Response[bytes]:
    """The answer for a refused call."""
    return Response(
        msgspec.json.encode(refusal.problem),
        status_code=refusal.problem.status,
        media_type=PROBLEM,
        headers=dict(refusal.headers),
    )
