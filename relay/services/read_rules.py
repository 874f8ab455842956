"""Reads texts of the rules file for editors: problems, whether the relay would accept them, and changes.

A large text is read in a process of its own, as that takes seconds, in which hooks would wait for the interpreter.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from relay.rules import Problem, RulesError
from relay.rules.compare_rules import Change, changes, changes_for_admins
from relay.runtime.startup import NotReady, get_ready, read_rule_book, settings_of
from relay.services import in_thread
from relay.services.check import Checked, check_rules
from relay.services.child_process import ChildFailed, in_child

T = TypeVar("T")
LARGE = 64_000
"""Bytes from which a text counts as large; it takes a fifth of a second to read."""


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
        found = await in_child(_problems, *work, answers=_Found, report=_nothing)
    except ChildFailed as error:
        return Checked(path=path, source=source, settings=(str(error),))
    return Checked(
        path=path,
        source=source,
        problems=found.problems,
        warnings=found.warnings,
        templates=found.templates,
        settings=found.settings,
    )


class _Found(Struct, frozen=True):
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    templates: tuple[str, ...]
    settings: tuple[str, ...]


def _problems(
    source: bytes, path: Path, variables: Mapping[str, str], now: datetime, _telling: object
) -> _Found:
    found = asyncio.run(check_rules(source, path, variables, now))
    return _Found(found.problems, found.warnings, found.templates, found.settings)


async def refusal(
    source: bytes, variables: Mapping[str, str], unless: tuple[bytes, ...] | None
) -> Refusal:
    """Whether a text may replace the file.

    `unless`: previous texts of the file, for an author who is no admin: what only admins may change must be as in the
    first of them that can be read. None for an admin.
    """
    work = (source, dict(variables), unless)
    try:
        return await _apart(_refusal, *work, answers=Refusal, size=len(source))
    except ChildFailed as error:
        return Refusal(unusable=(str(error),))


def _refusal(
    source: bytes,
    variables: Mapping[str, str],
    unless: tuple[bytes, ...] | None,
    _telling: object,
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
        return (await _apart(_changes, *work, answers=_Changes, size=size)).all
    except ChildFailed:
        return None


class _Changes(Struct, frozen=True):
    all: list[Change] | None


def _changes(
    before: bytes, after: bytes, variables: Mapping[str, str], _telling: object
) -> _Changes:
    settings = settings_of(variables)[0]
    try:
        books = [read_rule_book(text, str(settings.rules), settings) for text in (before, after)]
    except RulesError:
        return _Changes(None)
    return _Changes(changes(books[0], books[1], before, after))


async def _apart(work: Callable[..., T], *arguments: Any, answers: type[T], size: int) -> T:  # noqa: ANN401 - of `work`
    if size <= LARGE:
        return await in_thread(lambda _: work(*arguments, None))
    return await in_child(work, *arguments, answers=answers, report=_nothing)


def _nothing(_: object) -> None:
    """Ignore intermediate reports."""
