"""What `relay check` looks at: the rules file, its templates, and the settings that both rely on.

`relay check --connect`: whether each destination's server is there and lets us in, and whether the database holds
deliveries for destinations that the rules file does not have. Nothing is sent.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import click

from relay.cli.printing import COULD_NOT_RUN, FINE, FOUND
from relay.delivery.retry import stranded
from relay.files import read_file
from relay.languages import mistakes_in
from relay.languages.catalogue import Mistake
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.requeue import waiting
from relay.outbox.session import reading
from relay.rendering.folders import DIGEST
from relay.rendering.isolation.worker_pool import check_templates
from relay.rendering.template_checks import misplaced, never_said, single_braces
from relay.rules import Problem, RuleBook, RulesError, Severity, UnreadableRules
from relay.rules.chat_view import ChatView
from relay.rules.conditions import not_numbers
from relay.rules.reading.problem import Place
from relay.rules.reading.rules_file import read_bytes
from relay.rules.reading.values import quoted, shown
from relay.runtime.startup import (
    known_secret,
    missing_variables,
    overlooked_templates,
    read_rule_book,
    settings_of,
    template_folders,
    unusable_values,
)
from relay.services.public_holidays import closed_days, run_out
from relay.settings.database import Database
from relay.settings.environment import Environment
from relay.settings.table import (
    Settings,
    example_hosts,
    likely_typos,
    placeholders,
    short_passwords,
)
from relay.smartsupp import UnreadableHook, read_chat
from relay.transports.email.smtp_client import SmtpTimeouts
from relay.transports.outcome import Outcome
from relay.transports.registry import Access, cure_of, open_transport

SAMPLES = "samples"
"""A folder of chats beside the rules file, as `relay init` writes it."""
MOST_SAMPLES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """All that was found."""

    path: Path
    source: bytes = b""
    book: RuleBook | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    templates: tuple[str, ...] = ()
    """Problems of templates and catalogues, each with its file and line."""
    settings: tuple[str, ...] = ()
    """Problems of the environment."""
    closed: Mapping[str, Sequence[date]] = field(default_factory=dict)
    """Of each schedule with exceptions: the next days on which it does not hold because of them."""
    lacking: bool = False
    """Whether the environment lacks a variable that the rules need."""
    unreadable: bool = False

    @property
    def exit_code(self) -> int:
        if self.unreadable or self.settings:
            return COULD_NOT_RUN
        return FOUND if self.problems or self.templates else FINE


def check_rules(path: Path | None, variables: Mapping[str, str]) -> Checked:
    """Reads what `path`, or else RELAY_RULES, names; finds all that is wrong at once."""
    settings, wrong = settings_of(variables)
    path = path or settings.rules
    folders = template_folders(settings)
    try:
        source = read_bytes(path)
    except UnreadableRules as error:
        return Checked(path=path, problems=error.problems, settings=tuple(wrong), unreadable=True)
    try:
        book = read_rule_book(source, str(path), settings)
    except RulesError as error:
        return Checked(
            path=path,
            source=source,
            problems=error.problems,
            warnings=tuple(_overlooked(settings)),
            settings=tuple(wrong),
        )
    used = sorted({rule.template for rule in book.rules})
    catalogues = _catalogues(settings)
    harmless = [mistake for mistake in catalogues if mistake.harmless]
    missing = missing_variables(book, Environment(variables))
    today = datetime.now(book.timezone).date()
    return Checked(
        path=path,
        source=source,
        book=book,
        problems=tuple(_values(book, settings, Environment(variables))),
        warnings=(
            *book.warnings,
            *missing,
            *_settings(variables, settings),
            *_misplaced(settings),
            *_overlooked(settings),
            *run_out(book, path, today),
            *_not_numbers(book, path.parent / SAMPLES),
            *(warning(Place(each.file, each.line), each.what) for each in harmless),
        ),
        templates=(
            *(str(mistake) for mistake in catalogues if not mistake.harmless),
            *asyncio.run(check_templates(folders, [*used, *_digest(book, settings)])),
        ),
        settings=tuple(wrong),
        closed={
            name: closed_days(one, today) for name, one in book.schedules.items() if one.closed
        },
        lacking=bool(missing),
    )


def _digest(book: RuleBook, settings: Settings) -> list[str]:
    """The template of digests, where one may be sent, or somebody has changed it."""
    timings = [each.timing for each in book.destinations.values()]
    own = settings.templates is not None and (settings.templates / DIGEST).is_dir()
    return [DIGEST] if own or book.mutes or any(timing.collects for timing in timings) else []


def _misplaced(settings: Settings) -> list[Problem]:
    if settings.templates is None:
        return []
    braces = single_braces(settings.templates)
    return [
        *(warning(Place(str(path)), words) for path, words in misplaced(settings.templates)),
        *(warning(Place(str(path), line), words) for path, line, words in braces),
    ]


def _overlooked(settings: Settings) -> list[Problem]:
    told = (words.partition(": ") for words in overlooked_templates(settings))
    return [warning(Place(folder), what) for folder, _, what in told]


def _never_open(book: RuleBook, now: datetime) -> Iterator[Problem]:
    """Of schedules that are a destination's hours: what waits for them would wait for ever."""
    waited_for = {
        each.timing.hours.name: name
        for name, each in book.destinations.items()
        if each.timing.hours
    }
    for schedule, destination in waited_for.items():
        if book.schedules[schedule].next_opening(now) is None:
            place = book.schedule_places[schedule]
            what = f"{shown(schedule)} does not open within 366 days, and {shown(destination)} has these hours"
            hint = "what comes in would wait for ever; look at `days` and `except`"
            yield Problem(
                path=place.path, line=place.line, column=place.column, what=what, hint=hint
            )


def _not_numbers(book: RuleBook, samples: Path) -> Iterator[Problem]:
    """Of sample chats: a variable such as `1290 Kč` is less and more than nothing, and no rule would say why."""
    for sample in islice(sorted(samples.glob("*.json")), MOST_SAMPLES):
        try:
            view = ChatView(read_chat(read_file(sample)))
        except (OSError, UnreadableHook):
            continue  # whoever uses it is told
        for rule in book.rules:
            for name, value in not_numbers(rule.conditions, view):
                what = f"{shown(rule.name)} compares {name} with a number; in {sample} it is not a number: {quoted(value)}"
                yield warning(rule.place, what)


def _catalogues(settings: Settings) -> list[Mistake]:
    if settings.templates is None:
        return []
    return [*mistakes_in(settings.templates), *never_said(settings.templates)]


_ENVIRONMENT = Place("environment")


def _values(book: RuleBook, settings: Settings, environment: Environment) -> Iterator[Problem]:
    yield from _never_open(book, datetime.now(UTC))
    yield from unusable_values(book, settings, environment)
    for what in (*placeholders(environment), *short_passwords(settings)):
        yield Problem(path=_ENVIRONMENT.path, line=0, column=0, what=what)


def _settings(variables: Mapping[str, str], settings: Settings) -> list[Problem]:
    words = (*likely_typos(variables), *example_hosts(settings))
    return [warning(_ENVIRONMENT, what) for what in words]


def warning(place: Place, what: str) -> Problem:
    return Problem(
        path=place.path,
        line=place.line,
        column=place.column,
        what=what,
        severity=Severity.WARNING,
    )


PATIENCE = 20.0
"""Seconds for each answer of a mail server."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A destination, and what came of connecting to it."""

    destination: str
    transport: str
    detail: str
    well: bool
    cure: tuple[str, ...] = ()
    """What to do, and the command to run then."""


def connect_all(book: RuleBook, settings: Settings, variables: Mapping[str, str]) -> list[Tried]:
    """Connects to all destinations at a time; those of one mail server share a login."""
    return asyncio.run(_connect_all(book, settings, variables))


async def _connect_all(
    book: RuleBook, settings: Settings, variables: Mapping[str, str]
) -> list[Tried]:
    secret = partial(known_secret, Environment(variables))
    access = Access(settings, secret, smtp_timeouts=SmtpTimeouts().at_most(PATIENCE))
    try:
        # One after the other at the mail server: the next one finds the connection that the first one opened.
        mail = asyncio.Lock()
        found = await asyncio.gather(
            *(_connect(book, name, access, mail) for name in book.destinations)
        )
    finally:
        await access.close()
    return list(found)


async def _connect(book: RuleBook, name: str, access: Access, mail: asyncio.Lock) -> Tried:
    destination = book.destinations[name]
    try:
        transport = open_transport(destination, access)
    except ValueError as error:
        # The name of a secret, or a sentence about settings.
        why = str(error) if " " in str(error) else f"{error} is not set"
        return Tried(name, destination.transport, f"not tried: {why}", well=False)
    async with mail if destination.transport == "email" else nullcontext():
        found = await transport.connect()
    if isinstance(found, Outcome):
        row = cure_of(found.detail)
        cure = row.lines(name) if row else ()
        return Tried(name, destination.transport, found.detail, well=False, cure=cure)
    return Tried(name, destination.transport, found, well=True)


def stranded_deliveries(book: RuleBook, database: Database) -> list[Problem]:
    """A warning for each destination that deliveries wait for and the rules file does not have; none without a database."""
    if isinstance(database, Path) and not database.exists():
        return []
    try:
        with reading(database) as session:
            found = stranded(waiting(session), book.destinations)
    except (StorageRefused, StorageUnavailable) as error:
        return [warning(Place("database"), f"what waits can't be looked at: {error}")]
    return [warning(Place("database"), f"{name}: {words}") for name, words in found.items()]


def told(tried: Sequence[Tried]) -> Iterator[str]:
    """A line for each."""
    for one in tried:
        word = click.style("ok", fg="green") if one.well else click.style("no", fg="red", bold=True)
        yield f"{one.destination} ({one.transport}): {word}: {one.detail}"
        yield from (f"  {line}" for line in one.cure)


def as_json(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    return [
        {
            "destination": one.destination,
            "transport": one.transport,
            "ok": one.well,
            "detail": one.detail,
            "cure": " ".join(one.cure),
        }
        for one in tried
    ]
