"""Opens what commands need: the settings, and the rules and chats that they get as arguments."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NoReturn

import click

from relay.chat import Chat
from relay.cli import rules_output as words
from relay.cli.env_file import load_beside
from relay.cli.printing import could_not_run
from relay.rules import RuleBook, RulesError, UnreadableRules
from relay.runtime.startup import load_rule_book, overlooked_templates, settings_of
from relay.settings.table import Settings
from relay.smartsupp import UnreadableHook, read_chat


def good_settings() -> Settings:
    """The settings of the environment; ends the command where they are bad."""
    settings, wrong = settings_of(os.environ)
    if wrong:
        could_not_run(wrong)
    return settings


def good_rules() -> RuleBook | None:
    """The rules of the file that RELAY_RULES names; None where it can't be used."""
    settings, _ = settings_of(os.environ)
    try:
        return load_rule_book(settings.rules, settings)
    except RulesError:
        return None


def _with_settings(
    context: click.Context, _parameter: click.Parameter, path: Path | None
) -> Path | None:
    load_beside(context, path)
    return path


RULES = click.argument(
    "rules", required=False, type=click.Path(path_type=Path), callback=_with_settings
)


def open_rules(path: Path | None) -> RuleBook:
    """The rules of a file, by default the one that RELAY_RULES names; ends the command where they are bad."""
    settings, wrong = settings_of(os.environ)
    try:
        return load_rule_book(path or settings.rules, settings)
    except RulesError as error:
        more = [] if isinstance(error, UnreadableRules) else overlooked_templates(settings)
        refuse(error, [*wrong, *more])


def open_chat(file: BinaryIO) -> Chat:
    """The chat in a hook's file; ends the command where there is none."""
    return open_hook(file)[1]


def open_hook(file: BinaryIO) -> tuple[bytes, Chat]:
    """The bytes of a hook's file and the chat in them; ends the command where there is none."""
    body = file.read()
    try:
        return body, read_chat(body)
    except UnreadableHook as error:
        name = getattr(file, "name", "the standard input")
        could_not_run([f"{name}: this is not a chat: {error}"])


def refuse(error: RulesError, more: Iterable[str] = ()) -> NoReturn:
    """End the command with the problems of a rules file or a test file, followed by the lines of `more`."""
    could_not_run([*words.problems(error.problems, error.source), *more])
