"""What can be wrong with a rules file, and where. Pure values; nothing here prints."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

MAX_PROBLEMS = 100
"""More are not looked for: they would hardly be read, and a hostile file could ask for a million."""


class Severity(StrEnum):
    """Whether the file can be used in spite of it."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in a file. Line and column count from 1; line 0 means the file as a whole, column 0 the line."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        places = (self.path, *(str(number) for number in (self.line, self.column) if number))
        return ":".join(places) if self.line else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a rules file: what was there, and what may be there."""

    path: str
    line: int
    """From 1; 0 where the file as a whole is meant."""
    column: int
    what: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    private: bool = False
    """A secret stands on that line: don't show it."""

    @property
    def place(self) -> Place:
        return Place(self.path, self.line, self.column)

    @property
    def words(self) -> str:
        """What and hint, without the place."""
        return f"{self.what}; {self.hint}" if self.hint else self.what

    def __str__(self) -> str:
        return f"{self.place}: {self.words}"


class RulesError(Exception):
    """A rules file can't be used. `problems` holds all that was found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class UnreadableRules(RulesError):
    """There is no such file, or the system does not let us read it."""


class Spot(Protocol):
    """Anything with a place in the file."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class TooManyProblems(Exception):
    """Enough errors were found; looking on serves nobody."""


class Problems:
    """Collects what is wrong while a file is read, so that all of it can be told at once."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._found: dict[Severity, list[Problem]] = {severity: [] for severity in Severity}

    def error(self, spot: Spot, what: str, hint: str = "", *, private: bool = False) -> None:
        self._add(spot, what, hint, Severity.ERROR, private=private)

    def warning(self, spot: Spot, what: str, hint: str = "") -> None:
        self._add(spot, what, hint, Severity.WARNING)

    def _add(
        self, spot: Spot, what: str, hint: str, severity: Severity, *, private: bool = False
    ) -> None:
        problem = Problem(
            path=self.path,
            line=spot.line,
            column=spot.column,
            what=what,
            hint=hint,
            severity=severity,
            private=private,
        )
        found = self._found[severity]
        if severity is Severity.ERROR or len(found) < MAX_PROBLEMS:
            found.append(problem)
        if len(self._found[Severity.ERROR]) >= MAX_PROBLEMS:
            raise TooManyProblems

    def place(self, spot: Spot) -> Place:
        return Place(self.path, spot.line, spot.column)

    @property
    def errors(self) -> tuple[Problem, ...]:
        return self._of(Severity.ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return self._of(Severity.WARNING)

    def _of(self, severity: Severity) -> tuple[Problem, ...]:
        found = self._found[severity]
        return tuple(sorted(found, key=lambda problem: (problem.line, problem.column)))
