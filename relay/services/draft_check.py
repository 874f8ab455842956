"""Checks a text of the rules file that somebody edits: problems with fixes, whether the relay would accept it, and changes.

A large text that is to be published is read in a process of its own, as that takes seconds, in which hooks would wait.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from relay.rules import Problem, RulesError
from relay.rules.compare_rules import Change, changes, changes_for_admins
from relay.rules.reading.yaml_document import lines_of
from relay.runtime.startup import NotReady, get_ready, read_rule_book, settings_of
from relay.services import in_thread
from relay.services.check import Checked, check_rules, look_over
from relay.services.child_process import ChildFailed, in_child
from relay.settings.table import Settings

T = TypeVar("T")
LARGE = 64_000
"""Bytes from which a text counts as large; it takes a fifth of a second to read."""
MOST_FIXES = 3
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
    for name in _QUOTED.findall(problem.message):
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
        for text in islice(_suggested(problem), MOST_FIXES):
            fix = Fix(problem.column, length, text)
            if self._left > 0 and self._fixes_problem(problem, fix):
                yield fix

    def _fixes_problem(self, problem: Problem, fix: Fix) -> bool:
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
    elif written and _NAMES.match(problem.message):
        yield from re.split(r", | or ", written[1])


# -- before a text is published --------------------------------------------------------------------------------


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a text may not replace the file; empty where it may."""

    unusable: tuple[str, ...] = ()
    """Why the relay would refuse it."""
    for_admins: tuple[Problem, ...] = ()
    """Changed places that only an admin may change."""


async def all_problems(
    source: bytes, path: Path, variables: Mapping[str, str], now: datetime
) -> Checked:
    """The result of `relay check` for a text; for a large one without `book`."""
    if len(source) <= LARGE:
        return await check_rules(source, path, variables, now)
    work = (source, path, dict(variables), now)
    try:
        checked = await in_child(_problems, *work, answers=_Report, report=_nothing)
    except ChildFailed as error:
        return Checked(path=path, source=source, settings=(str(error),))
    return Checked(
        path=path,
        source=source,
        problems=checked.problems,
        warnings=checked.warnings,
        templates=checked.templates,
        settings=checked.settings,
    )


class _Report(Struct, frozen=True):
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    templates: tuple[str, ...]
    settings: tuple[str, ...]


def _problems(
    source: bytes, path: Path, variables: Mapping[str, str], now: datetime, _reporter: object
) -> _Report:
    checked = asyncio.run(check_rules(source, path, variables, now))
    return _Report(checked.problems, checked.warnings, checked.templates, checked.settings)


async def refusal(
    source: bytes, variables: Mapping[str, str], unless: tuple[bytes, ...] | None
) -> Refusal:
    """Whether a text may replace the file.

    `unless`: previous texts of the file, for an author who is no admin: what only admins may change must be as in the
    first of them that can be read. None for an admin.
    """
    work = (source, dict(variables), unless)
    try:
        return await _run(_refusal, *work, answers=Refusal, size=len(source))
    except ChildFailed as error:
        return Refusal(unusable=(str(error),))


def _refusal(
    source: bytes,
    variables: Mapping[str, str],
    unless: tuple[bytes, ...] | None,
    _reporter: object,
) -> Refusal:
    try:
        ready = get_ready(variables, source)
    except NotReady as error:
        return Refusal(unusable=tuple(error.problems))
    if unless is None:
        return Refusal()
    path = str(ready.settings.rules)
    return Refusal(for_admins=tuple(changes_for_admins(unless, source, path)))


async def changes_between(
    before: bytes, after: bytes, variables: Mapping[str, str]
) -> list[Change] | None:
    """The differences between two texts; None where one of them can't be used."""
    size = max(len(before), len(after))
    work = (before, after, dict(variables))
    try:
        return (await _run(_changes, *work, answers=_Changes, size=size)).all
    except ChildFailed:
        return None


class _Changes(Struct, frozen=True):
    all: list[Change] | None


def _changes(
    before: bytes, after: bytes, variables: Mapping[str, str], _reporter: object
) -> _Changes:
    settings = settings_of(variables)[0]
    try:
        books = [read_rule_book(text, str(settings.rules), settings) for text in (before, after)]
    except RulesError:
        return _Changes(None)
    return _Changes(changes(books[0], books[1], before, after))


async def _run(work: Callable[..., T], *arguments: Any, answers: type[T], size: int) -> T:  # noqa: ANN401 - of `work`
    if size <= LARGE:
        return await in_thread(lambda _: work(*arguments, None))
    return await in_child(work, *arguments, answers=answers, report=_nothing)


def _nothing(_: object) -> None:
    """Ignore intermediate reports."""
