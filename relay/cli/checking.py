"""What `relay check` looks at: the rules file, its templates, and the settings that both rely on."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from relay.cli.printing import COULD_NOT_RUN, FINE, FOUND
from relay.files import read_file
from relay.languages import Languages, mistakes_in
from relay.languages.catalogue import Mistake
from relay.rendering.isolation.worker_pool import check_templates
from relay.rendering.template_checks import misplaced, never_said, single_braces
from relay.rules import Problem, RuleBook, RulesError, Severity, UnreadableRules, read_rules
from relay.rules.chat_view import ChatView
from relay.rules.conditions import not_numbers
from relay.rules.reading.problem import Place
from relay.rules.reading.rules_file import read_bytes
from relay.rules.reading.values import quoted, shown
from relay.runtime.startup import (
    missing_variables,
    overlooked_templates,
    settings_of,
    template_folders,
    template_names,
    unusable_values,
)
from relay.settings.environment import Environment
from relay.settings.placeholders import example_hosts, placeholders, short_passwords
from relay.settings.table import Settings, likely_typos
from relay.smartsupp import UnreadableHook, read_chat
from relay.transports.registry import TRANSPORTS

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
        book = read_rules(
            source,
            str(path),
            transports=TRANSPORTS,
            templates=template_names(folders),
            languages=Languages(folders).names,
        )
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
            *_not_numbers(book, path.parent / SAMPLES),
            *(warning(Place(each.file, each.line), each.what) for each in harmless),
        ),
        templates=(
            *(str(mistake) for mistake in catalogues if not mistake.harmless),
            *asyncio.run(check_templates(folders, used)),
        ),
        settings=tuple(wrong),
        lacking=bool(missing),
    )


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
