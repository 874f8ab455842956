"""Problems of a rules file with their places, and libyaml's errors in plain words."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import yaml
from msgspec import Struct

MAX_PROBLEMS = 100
"""The most problems that are reported: nobody reads more, and a hostile file could have a million."""


class Severity(StrEnum):
    """The severity of a problem: with a warning, the file can be used; with an error, it can't."""

    ERROR = "error"
    WARNING = "warning"


class Place(Struct, frozen=True):
    """A position in a file. Line and column count from 1; line 0 means the whole file, column 0 the whole line."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        places = (self.path, *(str(number) for number in (self.line, self.column) if number))
        return ":".join(places) if self.line else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem in a rules file: what was found, and what is allowed."""

    path: str
    line: int
    """The line number, from 1; 0 means the whole file."""
    column: int
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    private: bool = False
    """Whether the line contains a secret and must not be shown."""

    @property
    def place(self) -> Place:
        """The file, line and column of the problem."""
        return Place(self.path, self.line, self.column)

    @property
    def words(self) -> str:
        """The problem and its hint, without the place."""
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __str__(self) -> str:
        return f"{self.place}: {self.words}"


class RulesError(Exception):
    """Raised for a rules file or test file that can't be used.

    `problems` has all problems in the order of the file, `source` the file's bytes, empty if it can't be read.
    """

    def __init__(self, problems: Iterable[Problem], source: bytes = b"") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__("\n".join(map(str, self.problems)))


class UnreadableRules(RulesError):
    """Raised if a file is missing or can't be read."""


class Spot(Protocol):
    """A node or other object with a line and column in the file."""

    @property
    def line(self) -> int:
        """The line; the first is 1."""

    @property
    def column(self) -> int:
        """The column; the first is 1."""


class TooManyProblems(Exception):
    """Raised when the limit of reported problems is reached."""


class Problems:
    """Collects the problems while a file is read, so that all can be reported together."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._problems: dict[Severity, list[Problem]] = {severity: [] for severity in Severity}

    def error(self, spot: Spot, message: str, hint: str = "", *, private: bool = False) -> None:
        """Note an error. `private` hides the line. Raises TooManyProblems at the limit."""
        self._add(spot, message, hint, Severity.ERROR, private=private)

    def warning(self, spot: Spot, message: str, hint: str = "") -> None:
        """Note a warning; warnings beyond the limit are dropped."""
        self._add(spot, message, hint, Severity.WARNING)

    def _add(
        self, spot: Spot, message: str, hint: str, severity: Severity, *, private: bool = False
    ) -> None:
        problem = Problem(
            path=self.path,
            line=spot.line,
            column=spot.column,
            message=message,
            hint=hint,
            severity=severity,
            private=private,
        )
        problems = self._problems[severity]
        if severity is Severity.ERROR or len(problems) < MAX_PROBLEMS:
            problems.append(problem)
        if len(self._problems[Severity.ERROR]) >= MAX_PROBLEMS:
            raise TooManyProblems

    def place(self, spot: Spot) -> Place:
        """Return a place in the file that is read."""
        return Place(self.path, spot.line, spot.column)

    def cut_short(self, source: bytes, hint: str) -> RulesError:
        """Return the error for a file that has more problems than are reported; `hint` says what to do first."""
        more = Problem(path=self.path, line=0, column=0, message="there is more", hint=hint)
        return RulesError([*self.errors, more], source)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The errors so far, in the order of the file."""
        return self._of(Severity.ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The warnings so far, in the order of the file."""
        return self._of(Severity.WARNING)

    def _of(self, severity: Severity) -> tuple[Problem, ...]:
        problems = self._problems[severity]
        return tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))


_QUOTES = "put quotes around a text that holds special characters"

# The start of libyaml's message, the problem, and what to do. The first match is used.
_WORDS = (
    (
        "could not find expected ':'",
        "a ':' is missing after this or the line before",
        "write `key: value`, with a space after the colon",
    ),
    (
        "did not find expected key",
        "this line is not indented like its neighbours",
        "keys that belong together begin in the same column; a quoted text ends with its quote",
    ),
    (
        "did not find expected '-'",
        "this line does not belong to the list above it",
        "each entry of a list begins with '- ' in the same column",
    ),
    (
        "block sequence entries are not allowed",
        "a list can't begin here",
        "begin it on a new line, each entry with '- '",
    ),
    ("did not find expected ',' or ']'", "a ',' or the closing ']' is missing", _QUOTES),
    ("did not find expected ',' or '}'", "a ',' or the closing '}' is missing", _QUOTES),
    (
        "found unexpected end of stream",
        "the file ends inside a quoted text",
        "close it with the quote that it began with",
    ),
    (
        "did not find expected alphabetic or numeric",
        "a text can't begin with * or & here",
        "put quotes around it",
    ),
    ("did not find expected node content", "a value is missing here", _QUOTES),
    (
        "found invalid Unicode character escape code",
        "this escape stands for no character",
        "write the character itself",
    ),
    (
        "found unknown escape character",
        "a backslash in double quotes begins an escape that YAML does not know",
        "use single quotes: '\\d+'",
    ),
    ("found undefined tag handle", "a text can't begin with ! here", "put quotes around it"),
    (
        "did not find expected <document start>",
        "this does not belong to what stands above",
        "is a line not indented like its neighbours?",
    ),
)


def in_plain_words(error: yaml.MarkedYAMLError, text: str) -> tuple[str, str]:
    """Return the problem of a YAML error in plain words, and what to do about it."""
    message = error.problem or error.context or "it can't be read"
    if message.startswith(("found character", "found a tab")):
        return _bad_start(error, text)
    before = _line_before(error.problem_mark, text)
    if message.startswith("mapping values are not allowed"):
        return _colon(before)
    if message.startswith("did not find expected key") and before.rstrip().endswith(("'", '"')):
        return "text goes on after the closing quote", "put all of it between the quotes"
    for beginning, problem, hint in _WORDS:
        if message.startswith(beginning):
            return _with_opening(error, problem), hint
    return f"this is not YAML: {message}", ""


def _line_before(mark: yaml.Mark | None, text: str) -> str:
    """Return the text on a mark's line before the mark."""
    before = text[max(0, mark.index - 1000) : mark.index] if mark else ""
    return before.splitlines()[-1] if before and not before.endswith("\n") else ""


def _colon(before: str) -> tuple[str, str]:
    if ": " in before:
        return (
            "a second ': ' on one line",
            "put quotes around a text that holds ': ', and begin each key on its own line",
        )
    return (
        "this line goes on with the text of the line above",
        "is a ':' missing there, or is this line not indented like its neighbours?",
    )


def _bad_start(error: yaml.MarkedYAMLError, text: str) -> tuple[str, str]:
    mark = error.problem_mark
    character = text[mark.index : mark.index + 1] if mark else ""
    if character == "\t":
        return "there is a tab here", "indent with spaces"
    return f"a text can't begin with {character}", "put quotes around it"


def _with_opening(error: yaml.MarkedYAMLError, problem: str) -> str:
    """Return the problem with the place where the quote or bracket was opened, if that is another line."""
    start, mark = error.context_mark, error.problem_mark
    brackets = ("while parsing a flow", "while scanning a quoted")
    if not start or not mark or not (error.context or "").startswith(brackets):
        return problem
    return f"{problem} (opened on line {start.line + 1})" if start.line != mark.line else problem
