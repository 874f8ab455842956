"""Checks everything that can be wrong before the relay starts, all at once."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from relay.files import shipped
from relay.languages import Languages
from relay.rendering.template_folders import Folders
from relay.rules import Problem, RuleBook, RulesError, Severity, read_rules
from relay.rules.reading.holidays_file import path_for, read_holidays
from relay.rules.reading.problem import Place
from relay.rules.reading.rules_file import read_bytes
from relay.runtime.file_watch import Digests, digests_of
from relay.runtime.hook_tokens import read_tokens, token_file
from relay.settings.database import PostgresServer
from relay.settings.environment import Environment, SecretValue
from relay.settings.table import (
    CONSOLE_PASSWORD,
    OIDC_SECRET,
    RENEWABLE,
    SETTINGS,
    Settings,
    SettingsError,
    incomplete_oidc,
    placeholders,
    read_settings,
    short_passwords,
)
from relay.text import nearest
from relay.transports.access import Access
from relay.transports.registry import TRANSPORTS, open_transport

OWN_TEMPLATES = "mytemplates"
"""The default name of the folder with a user's own templates, beside the rules file."""


class NotReady(Exception):
    """Raised where the relay can't start. `problems` has a line for each reason; none contains a secret."""

    def __init__(self, problems: list[str], source: bytes = b"") -> None:
        """`source`: the bytes of the rules file, empty where it can't be read."""
        super().__init__("\n".join(problems))
        self.problems = problems
        self.source = source


@dataclass(frozen=True, slots=True)
class Ready:
    """Settings, rules and templates that fit together, and the secrets that the rules name."""

    settings: Settings
    rules: RuleBook
    template_folders: tuple[Path, ...]
    """The first folder that has a file wins."""
    secrets: Mapping[str, SecretValue]
    other_files: Digests
    """The digests of the files of secrets, of holidays.yaml, and of the token file, by path."""
    hook_tokens: tuple[str, ...]
    """The newest first; empty where none was made yet."""
    source: bytes = b""
    """The bytes of the rules file."""


def get_ready(variables: Mapping[str, str], source: bytes | None = None) -> Ready:
    """Read settings, rules and secrets. `source`: read the rules from these bytes instead of the file.

    Raises NotReady with all problems of the settings and of the rules file together.
    """
    environment = Environment(variables)
    # Before reading, so that a change meanwhile is noticed.
    other_files = digests_of(environment.files(RENEWABLE))
    settings, problems = settings_of(variables)
    if path := token_file(settings):
        other_files |= digests_of([path])
    folders = template_folders(settings)
    try:
        other_files |= digests_of([path_for(settings.rules)])
        source = read_bytes(settings.rules) if source is None else source
        rules = read_rule_book(source, str(settings.rules), settings)
    except RulesError as error:
        problems += [str(problem) for problem in error.problems]
        raise NotReady([*problems, *overlooked_templates(settings)], error.source) from None
    other_files |= digests_of(environment.files(rules.secrets))
    problems += [str(problem) for problem in missing_variables(rules, environment)]
    problems += [str(problem) for problem in unusable_values(rules, settings, environment)]
    used = settings_in_use(rules)
    problems += [*placeholders(environment, used), *short_passwords(settings, used)]
    problems += incomplete_oidc(settings)
    named = any("RELAY_HOOK_TOKENS" in problem for problem in problems)
    if isinstance(settings.database, PostgresServer) and not settings.hook_tokens and not named:
        problems.append(
            "RELAY_HOOK_TOKENS is not set: relays on a server share their tokens, so none makes one of its own. "
            "Set it to the token in use: the end of the URL that Smartsupp posts to, in relay.db.token if `relay move` "
            "came from there (RELAY_HOOK_TOKENS_FILE=relay.db.token). Only if Smartsupp has no URL yet, make one by "
            "`openssl rand -hex 24`"
        )
    try:
        tokens = read_tokens(settings)
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise NotReady(problems, source)
    values = {name: environment.secret(name) for name in rules.secrets}
    secrets = {name: value for name, value in values.items() if value is not None}
    return Ready(settings, rules, folders, secrets, other_files, tokens, source)


_ALWAYS_USED = (
    "RELAY_DATABASE",
    "RELAY_HOOK_TOKENS",
    "RELAY_HTTPS_PROXY",
    CONSOLE_PASSWORD,
    OIDC_SECRET,
)
_WITH_MAIL = tuple(name for name in SETTINGS if name.startswith("RELAY_SMTP_OAUTH"))


def settings_in_use(rules: RuleBook) -> list[str]:
    """The names of settings without which hooks can't be accepted, or a destination of the rules can't be reached."""
    with_mail = _WITH_MAIL if "RELAY_SMTP_URL" in rules.needed_settings else ()
    return [*_ALWAYS_USED, *rules.needed_settings, *with_mail]


def settings_of(variables: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings, with defaults in place of unusable ones, and what is wrong with those."""
    try:
        return read_settings(variables), []
    except SettingsError as error:
        return error.settings, list(error.problems)


def template_folders(settings: Settings) -> tuple[Path, ...]:
    """The folders with templates: the user's own, where there is one, before the shipped one."""
    own = (settings.templates,) if settings.templates else ()
    return (*own, shipped("templates"))


def overlooked_templates(settings: Settings) -> list[str]:
    """A sentence about a folder that looks like the user's templates but is not used, as RELAY_TEMPLATES is not set; else empty."""
    folder = settings.rules.parent / OWN_TEMPLATES
    if settings.templates is not None or not folder.is_dir():
        return []
    return [f"{folder}: nothing reads this folder: RELAY_TEMPLATES is not set"]


def template_names(folders: tuple[Path, ...]) -> tuple[str, ...]:
    """The names of all templates that rules may use."""
    return Folders(folders).names()


def read_rule_book(source: bytes, name: str, settings: Settings) -> RuleBook:
    """The rules in a file's bytes, which may use the templates and languages of the settings' folders.

    `name`: the file's name in problems. Raises RulesError with all problems.
    """
    folders = template_folders(settings)
    return read_rules(
        source,
        name,
        transports=TRANSPORTS,
        templates=template_names(folders),
        languages=Languages(folders).names,
        holidays=lambda: read_holidays(path_for(Path(name))),
    )


def load_rule_book(path: Path, settings: Settings) -> RuleBook:
    """The rules of a file. Raises RulesError, or its subclass UnreadableRules where the file can't be read."""
    return read_rule_book(read_bytes(path), str(path), settings)


def missing_variables(rules: RuleBook, environment: Environment) -> list[Problem]:
    """A warning for every variable that a destination needs and that is not set."""
    problems = []
    for name, places in {**rules.secrets, **rules.needed_settings}.items():
        with contextlib.suppress(ValueError):  # reported by `unusable_values` and `settings_of`
            if environment.get(name, lines=True) is None:
                used = {*rules.secrets, *rules.needed_settings}
                near = nearest(name, environment.names() - used, 1) if name in rules.secrets else []
                hint = f" ({near[0]} is set: a typo?)" if near else ""
                words = f"{name} is not set in relay.env or the environment{hint}"
                problems.append(_needed(words, places, Severity.WARNING))
    return sorted(problems, key=lambda problem: problem.line)


def _needed(words: str, places: Sequence[Place], severity: Severity) -> Problem:
    place, more = places[0], f", and {len(places) - 1} more" if len(places) > 1 else ""
    return Problem(
        path=place.path,
        line=place.line,
        column=place.column,
        message=f"{words}; the relay needs it here{more}",
        severity=severity,
    )


def unusable_values(rules: RuleBook, settings: Settings, environment: Environment) -> list[Problem]:
    """A problem for every secret that can't be read, and every value that its transport can't use. No secret is shown."""
    unread = []
    for name, at in rules.secrets.items():
        try:
            environment.get(name)
        except ValueError as error:
            unread.append(_needed(str(error), at, Severity.ERROR))
    return sorted([*unread, *_unusable(rules, settings, environment)], key=lambda each: each.line)


def _unusable(rules: RuleBook, settings: Settings, environment: Environment) -> list[Problem]:
    access = Access(settings, partial(known_secret, environment))
    places = {**rules.secrets, **rules.needed_settings}
    objections: dict[str, Place] = {}
    for destination in rules.destinations.values():
        try:
            objection = open_transport(destination, access).objection
        except ValueError:
            continue  # a missing or unreadable value, which is reported elsewhere
        if objection:
            named = next(
                (name for name in places if name in objection.replace("$", "").split()), ""
            )
            objections[objection] = places[named][0] if named else Place(str(settings.rules))
    return [
        Problem(path=place.path, line=place.line, column=place.column, message=message)
        for message, place in objections.items()
    ]


def known_secret(environment: Environment, name: str) -> str:
    """The value of a variable that the rules file names. Raises ValueError where it is not set."""
    secret = environment.secret(name)
    if secret is None:
        raise ValueError(name)
    return secret.reveal()
