"""Checks a text of the rules file while it is edited, and suggests fixes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path

from msgspec import Struct

from relay.rules import Problem, RulesError
from relay.rules.reading.yaml_document import lines_of
from relay.runtime.startup import read_rule_book, settings_of
from relay.services import in_thread
from relay.services.check import Checked, look_over
from relay.settings.table import Settings

MOST_OF_ONE = 3
"""How many fixes one problem may have."""
MOST_READ = 200_000
"""Limit of characters read while fixes are tried, as each try reads the whole text again."""
_IN_TICKS = re.compile(r"`([^`]+)`")
_MEANT = re.compile(r"did you mean (.+?)\?")
_WRITE = re.compile(r"(?:^|; )write (?:it as )?([^`;]+?)(?:, if .*)?$")
_NAMES = re.compile(r"unknown |.*' is Smartsupp's name$|.*' needs the key")
"""Problems whose hint is the text to write, not only an example of its form."""
_QUOTED = re.compile(r"'([^']+)'")
_TOKEN = re.compile(r"[^\s,{}\[\]#]+")


class Fix(Struct, frozen=True):
    """A text that replaces another one on the line of a problem."""

    column: int
    """The column in characters, from 1."""
    length: int
    """How many characters are replaced."""
    text: str


class Flaw(Struct, frozen=True):
    """A problem, with the length of the text that has it, and fixes."""

    problem: Problem
    length: int
    """How many characters from the problem's column on; 0 where that is not known."""
    fixes: tuple[Fix, ...] = ()
    """Each was tried: with it, the problem's line has no problem."""


class DraftCheck(Struct, frozen=True):
    """The result of `relay check` for a text, without rendering templates."""

    checked: Checked
    errors: tuple[Flaw, ...]
    """Problems of the rules file; empty where the rules could be used."""
    warnings: tuple[Flaw, ...]

    @property
    def count(self) -> int:
        """How many errors there are, in the rules and in the settings."""
        return len(self.errors) + len(self.checked.settings)


async def check_draft(
    source: bytes, path: Path, variables: Mapping[str, str], now: datetime
) -> DraftCheck:
    """Check a text that is to be written to the file `path`. `now`: aware."""
    return await in_thread(lambda _: _check(source, path, variables, now))


def _check(source: bytes, path: Path, variables: Mapping[str, str], now: datetime) -> DraftCheck:
    checked = look_over(source, path, variables, now)
    lines = lines_of(source)
    settings = settings_of(variables)[0]
    fixes = _Fixes(source, lines, path, settings)
    return DraftCheck(
        checked,
        tuple(_flaw(each, lines, path, fixes) for each in checked.problems),
        flaws_of(checked.warnings, source, path),
    )


def flaws_of(problems: Sequence[Problem], source: bytes, path: Path) -> tuple[Flaw, ...]:
    """Problems of a text of the file `path`, with how long the text is that each is about, and without fixes."""
    lines = lines_of(source)
    return tuple(_flaw(each, lines, path, None) for each in problems)


def _flaw(problem: Problem, lines: list[str], path: Path, fixes: "_Fixes | None") -> Flaw:
    if problem.path != str(path) or not 0 < problem.line <= len(lines) or not problem.column:
        return Flaw(problem, 0)
    length = _length(problem, lines[problem.line - 1])
    return Flaw(problem, length, tuple(fixes.of(problem, length)) if fixes else ())


def _length(problem: Problem, line: str) -> int:
    """The length of the text at a problem's column."""
    rest = line[problem.column - 1 :]
    quote = rest[:1] if rest[:1] in {"'", '"'} else ""
    for name in _QUOTED.findall(problem.what):
        if rest.startswith(quote + name):
            return len(name) + 2 * len(quote)
    token = _TOKEN.match(rest)
    return len(token[0].rstrip(":")) if token else 0


class _Fixes:
    """Finds fixes for problems from their hints."""

    def __init__(self, source: bytes, lines: list[str], path: Path, settings: Settings) -> None:
        self._source = source
        self._lines = lines
        self._read = partial(read_rule_book, name=str(path), settings=settings)
        self._left = MOST_READ // max(len(source), 1)

    def of(self, problem: Problem, length: int) -> Iterator[Fix]:
        if problem.private or not length:
            return
        for text in islice(_suggested(problem), MOST_OF_ONE):
            fix = Fix(problem.column, length, text)
            if self._left > 0 and self._puts_right(problem, fix):
                yield fix

    def _puts_right(self, problem: Problem, fix: Fix) -> bool:
        self._left -= 1
        lines = self._lines.copy()
        line, begins = lines[problem.line - 1], fix.column - 1
        lines[problem.line - 1] = line[:begins] + fix.text + line[begins + fix.length :]
        try:
            self._read("\n".join(lines).encode())
        except RulesError as error:
            return all(each.line != problem.line for each in error.problems)
        return True


def _suggested(problem: Problem) -> Iterator[str]:
    """The texts that a problem's hint says to write; none where it only gives an example."""
    if meant := _MEANT.search(problem.hint):
        yield from re.split(r", | or ", meant[1])
    written = _IN_TICKS.search(problem.hint) or _WRITE.search(problem.hint)
    if written and "{" in written[1]:
        yield written[1]
    elif written and _NAMES.match(problem.what):
        yield from re.split(r", | or ", written[1])
