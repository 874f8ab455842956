"""`relay check`: everything that is wrong with the rules file, its templates, and the settings that they need.

With --connect also whether each destination's server can be reached and accepts the login, and whether deliveries
wait for destinations that the rules file does not have. Nothing is sent.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import chain, islice
from pathlib import Path

from relay.alerts.problem_detection import stranded
from relay.destination import OptionKind
from relay.files import read_file
from relay.languages import mistakes_in
from relay.languages.catalogue import Mistake
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.database_session import Session, Sessions
from relay.outbox.requeue import waiting
from relay.rendering.isolation.worker_pool import RenderPool
from relay.rendering.template_checks import misplaced, single_braces, unused_translations
from relay.rendering.template_folders import DIGEST
from relay.rules import Problem, RuleBook, RulesError, Severity, UnreadableRules
from relay.rules.compared_values import ChatView
from relay.rules.conditions import not_numbers
from relay.rules.reading.problem import Place, Problems
from relay.rules.reading.rules_file import read_bytes
from relay.rules.reading.value_parsers import quoted, shown
from relay.rules.reading.yaml_document import Node, Text, member, read_document, texts_in
from relay.runtime.startup import (
    missing_variables,
    overlooked_templates,
    read_rule_book,
    settings_of,
    template_folders,
    unusable_values,
)
from relay.services import in_thread, read_in_thread
from relay.services.public_holidays import closed_days, run_out
from relay.settings.environment import Environment
from relay.settings.table import (
    Settings,
    example_hosts,
    incomplete_oidc,
    likely_typos,
    placeholders,
    short_passwords,
)
from relay.smartsupp import UnreadableHook, read_chat
from relay.transports.registry import TRANSPORTS

SAMPLES = "samples"
"""The folder with sample chats beside the rules file, written by `relay init`."""
MOST_SAMPLES = 100
_NOT_FILLED_IN = "`json:` can't be filled in, so the relay's own form would be sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The result of a check."""

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
    """For each schedule with exceptions, the next days on which it is closed because of them."""
    lacking: bool = False
    """Whether a variable that the rules need is not set."""
    unreadable: bool = False


async def check_file(path: Path | None, variables: Mapping[str, str], now: datetime) -> Checked:
    """Check the rules file `path`, by default the one that RELAY_RULES names. `now`: aware."""
    settings, wrong = settings_of(variables)
    path = path or settings.rules
    try:
        source = await in_thread(lambda _: read_bytes(path))
    except UnreadableRules as error:
        return Checked(path=path, problems=error.problems, settings=tuple(wrong), unreadable=True)
    return await check_rules(source, path, variables, now)


async def check_rules(
    source: bytes, path: Path, variables: Mapping[str, str], now: datetime
) -> Checked:
    """Check the bytes of a rules file, its templates, and the settings that they need.

    `path`: the file's path for problems; sample chats are looked for beside it.
    """
    settings, wrong = settings_of(variables)
    checked = await in_thread(lambda _: look_over(source, path, variables, now))
    checked = replace(checked, settings=tuple(wrong))
    if checked.book is None:
        return checked
    forms, broken = await _tried_out(checked.book, settings, source, str(path))
    problems, templates = (*checked.problems, *forms), (*checked.templates, *broken)
    return replace(checked, problems=problems, templates=templates)


async def _tried_out(
    book: RuleBook, settings: Settings, source: bytes, path: str
) -> tuple[list[Problem], list[str]]:
    """The problems of the rules' own texts, and those of the templates that they name, with made-up chats."""
    pool = RenderPool(template_folders(settings))
    try:
        used = sorted({rule.template for rule in book.rules})
        used += _digest(book, settings)
        broken = [problem for name in used for problem in await pool.check(name)]
        filled = [await _filled_in(form, pool, path) for form in _forms(book, source, path)]
    finally:
        await pool.close()
    return list(chain.from_iterable(filled)), broken


@dataclass(frozen=True, slots=True)
class _Form:
    """The user's own JSON for a destination, and the place of each of its texts in the rules file."""

    transport: str
    template: str
    whole: str
    node: Node
    texts: Mapping[str, Text]
    """The texts of the form, by their path within it, such as `contact.email`."""


def _forms(book: RuleBook, source: bytes, path: str) -> Iterator[_Form]:
    destinations = member(read_document(source, Problems(path)), "destinations")
    for name, destination in book.destinations.items():
        used = (rule.template for rule in book.rules if name in rule.send_to)
        template = next(used, "chat")
        options = member(member(destinations, name), destination.transport)
        for option, spec in TRANSPORTS[destination.transport].options.items():
            if spec.kind is OptionKind.JSON and (node := member(options, option)):
                whole = str(destination.options[option])
                yield _Form(destination.transport, template, whole, node, dict(texts_in(node)))


async def _filled_in(form: _Form, pool: RenderPool, path: str) -> list[Problem]:
    """Problems of a form when made-up chats are filled in, each at the text that has it, or else at the form."""
    texts = [json.dumps({at: text.value}) for at, text in form.texts.items()]
    tried = (*texts, form.whole)
    problems = await pool.check(form.template, transport=form.transport, forms=tried)
    broken: list[tuple[Node, str]] = []
    if len(problems) == len(tried):  # else it took too long and was ended
        of_texts = zip(form.texts.values(), problems[:-1], strict=True)
        broken += ((text, why) for text, why in of_texts if why)
    if problems[-1] and not broken:
        broken.append((form.node, problems[-1]))
    return [
        Problem(path=path, line=node.line, column=node.column, message=f"{_NOT_FILLED_IN}: {why}")
        for node, why in broken
    ]


def look_over(source: bytes, path: Path, variables: Mapping[str, str], now: datetime) -> Checked:
    """Check a rules file like `check_rules`, but without rendering templates. Blocks: call it in a thread."""
    settings, environment = settings_of(variables)[0], Environment(variables)
    try:
        book = read_rule_book(source, str(path), settings)
    except RulesError as error:
        return Checked(
            path=path,
            source=source,
            problems=error.problems,
            warnings=tuple(_overlooked(settings)),
        )
    catalogues = _catalogues(settings)
    harmless = [mistake for mistake in catalogues if mistake.harmless]
    missing = missing_variables(book, environment)
    today = now.astimezone(book.timezone).date()
    return Checked(
        path=path,
        source=source,
        book=book,
        problems=(*_never_open(book, now), *_values(book, settings, environment)),
        warnings=(
            *book.warnings,
            *missing,
            *_settings(variables, settings),
            *_misplaced(settings),
            *_overlooked(settings),
            *run_out(book, path, today),
            *_not_numbers(book, path.parent / SAMPLES),
            *(warning(Place(each.file, each.line), each.message) for each in harmless),
        ),
        templates=tuple(str(mistake) for mistake in catalogues if not mistake.harmless),
        closed={
            name: closed_days(each, today) for name, each in book.schedules.items() if each.closed
        },
        lacking=bool(missing),
    )


def _digest(book: RuleBook, settings: Settings) -> list[str]:
    """The digest's template, for checking, if a digest may be sent or the user has changed it."""
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
    sentences = (words.partition(": ") for words in overlooked_templates(settings))
    return [warning(Place(folder), message) for folder, _, message in sentences]


def _never_open(book: RuleBook, now: datetime) -> Iterator[Problem]:
    """A problem for each schedule that is a destination's hours and never opens again, so that deliveries would wait for ever."""
    waited_for = {
        each.timing.hours.names: (each.timing.hours, name)
        for name, each in book.destinations.items()
        if each.timing.hours
    }
    for names, (schedule, destination) in waited_for.items():
        if schedule.next_opening(now) is None:
            place = book.schedule_places[schedule.name]
            message = f"{shown(names)} does not open within 366 days, and {shown(destination)} has these hours"
            hint = "what comes in would wait forever; look at `days` and `except`"
            yield Problem(
                path=place.path, line=place.line, column=place.column, message=message, hint=hint
            )


def _not_numbers(book: RuleBook, samples: Path) -> Iterator[Problem]:
    """A warning for each variable of sample chats that a rule compares with a number and that is none, such as `1290 Kč`."""
    for sample in islice(sorted(samples.glob("*.json")), MOST_SAMPLES):
        try:
            view = ChatView(read_chat(read_file(sample)))
        except (OSError, UnreadableHook):
            continue  # reported where it is used
        for rule in book.rules:
            for name, value in not_numbers(rule.conditions, view):
                message = f"{shown(rule.name)} compares {name} with a number; in {sample} it is not a number: {quoted(value)}"
                yield warning(rule.place, message)


def _catalogues(settings: Settings) -> list[Mistake]:
    if settings.templates is None:
        return []
    return [*mistakes_in(settings.templates), *unused_translations(settings.templates)]


_ENVIRONMENT = Place("environment")


def _values(book: RuleBook, settings: Settings, environment: Environment) -> Iterator[Problem]:
    yield from unusable_values(book, settings, environment)
    for message in (
        *placeholders(environment),
        *short_passwords(settings),
        *incomplete_oidc(settings),
    ):
        yield Problem(path=_ENVIRONMENT.path, line=0, column=0, message=message)


def _settings(variables: Mapping[str, str], settings: Settings) -> list[Problem]:
    words = (*likely_typos(variables), *example_hosts(settings))
    return [warning(_ENVIRONMENT, message) for message in words]


def warning(place: Place, message: str) -> Problem:
    """A warning at a place of a file."""
    return Problem(
        path=place.path,
        line=place.line,
        column=place.column,
        message=message,
        severity=Severity.WARNING,
    )


async def stranded_deliveries(book: RuleBook, sessions: Sessions) -> list[Problem]:
    """A warning for each destination for which deliveries wait and that the rules file does not have."""

    def work(session: Session) -> dict[str, str]:
        return stranded(waiting(session), book.destinations)

    try:
        warnings = await read_in_thread(sessions, work)
    except (StorageRefused, StorageUnavailable) as error:
        return [warning(Place("database"), f"what waits can't be looked at: {error}")]
    return [warning(Place("database"), f"{name}: {words}") for name, words in warnings.items()]
