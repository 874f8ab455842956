"""Names of rules and destinations that a person may have meant: those of the rules file, and those of the history.

What several commands need: the rules and the chats that their arguments name, and a way to print.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NoReturn

import click
import sqlalchemy as sa

from relay.chat import Chat
from relay.cli import rules_output as words
from relay.cli.env_file import load_beside
from relay.cli.printing import could_not_run
from relay.outbox.schema import deliveries
from relay.outbox.session import Session
from relay.rules import RuleBook, RulesError, UnreadableRules
from relay.rules.reading.values import did_you_mean, quoted
from relay.runtime.startup import load_rule_book, overlooked_templates, settings_of
from relay.smartsupp import UnreadableHook, read_chat


def objections(session: Session, *, rule: str = "", destination: str = "") -> list[str]:
    """A sentence, with the nearest names, for each of the two that is given and that nothing has that name."""
    rules, destinations = _of_the_rules_file()
    asked = (
        ("rule", rule, rules, deliveries.c.rule),
        ("destination", destination, destinations, deliveries.c.destination),
    )
    found = []
    for kind, name, in_file, column in asked:
        if name and name not in in_file:
            past = session.ask(sa.select(column).distinct()).fetchall()
            known = [*in_file, *sorted({each for (each,) in past} - {*in_file})]
            if name not in known:
                found.append(f"there is no {kind} {quoted(name)}; {did_you_mean(name, known)}")
    return found


def _of_the_rules_file() -> tuple[Iterable[str], Iterable[str]]:
    """Of its rules and of its destinations; none where it can't be used."""
    settings, _ = settings_of(os.environ)
    try:
        book = load_rule_book(settings.rules, settings)
    except RulesError:
        return (), ()
    return [rule.name for rule in book.rules], list(book.destinations)


def _with_settings(
    context: click.Context, _parameter: click.Parameter, path: Path | None
) -> Path | None:
    load_beside(context, path)
    return path


RULES = click.argument(
    "rules", required=False, type=click.Path(path_type=Path), callback=_with_settings
)


def open_rules(path: Path | None) -> RuleBook:
    """The rules of a file, or of the one that RELAY_RULES names; ends the command where they are bad."""
    settings, wrong = settings_of(os.environ)
    try:
        return load_rule_book(path or settings.rules, settings)
    except RulesError as error:
        more = [] if isinstance(error, UnreadableRules) else overlooked_templates(settings)
        refuse(error, [*wrong, *more])


def open_chat(file: BinaryIO) -> Chat:
    """The chat of a hook's bytes; ends the command where they hold none."""
    return open_hook(file)[1]


def open_hook(file: BinaryIO) -> tuple[bytes, Chat]:
    """A hook's bytes and the chat in them; ends the command where they hold none."""
    body = file.read()
    try:
        return body, read_chat(body)
    except UnreadableHook as error:
        name = getattr(file, "name", "the standard input")
        could_not_run([f"{name}: this is not a chat: {error}"])


def refuse(error: RulesError, more: Iterable[str] = ()) -> NoReturn:
    """End the command with what is wrong with a rules file or a test file, then the lines of `more`."""
    could_not_run([*words.problems(error.problems, error.source), *more])
