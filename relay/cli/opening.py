"""What several commands need: the rules and the chats that their arguments name, and a way to print."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import click

from relay.chat import Chat
from relay.cli import rules_words as words
from relay.cli.checking import COULD_NOT_RUN
from relay.languages import Languages
from relay.rules import Problem, RuleBook, RulesError, UnreadableRules, read_rules
from relay.rules.reader import read_bytes
from relay.smartsupp import UnreadableHook, read_chat
from relay.startup import overlooked_templates, settings_of, template_folders, template_names
from relay.transports.registry import TRANSPORTS

RULES = click.argument("rules", required=False, type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    for line in lines:
        click.echo(line, err=err)


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    click.echo(as_json(value))


def as_json(value: Any) -> str:  # noqa: ANN401
    return json.dumps(value, indent=2, ensure_ascii=False)


def could_not_run(lines: Iterable[str]) -> NoReturn:
    print_lines(lines, err=True)
    sys.exit(COULD_NOT_RUN)


def open_rules(path: Path | None) -> RuleBook:
    """The rules of a file, or of the one that RELAY_RULES names; ends the command where they are bad."""
    settings, wrong = settings_of(os.environ)
    path = path or settings.rules
    source = b""
    try:
        source = read_bytes(path)
        folders = template_folders(settings)
        return read_rules(
            source,
            str(path),
            transports=TRANSPORTS,
            templates=template_names(folders),
            languages=Languages(folders).names,
        )
    except UnreadableRules as error:
        could_not_run([*map(str, error.problems), *wrong])
    except RulesError as error:
        more = overlooked_templates(settings)
        could_not_run([*words.problems(error.problems, source), *wrong, *more])


def open_chat(file: BinaryIO) -> Chat:
    """The chat of a hook's bytes; ends the command where they hold none."""
    return open_hook(file)[1]


def open_hook(file: BinaryIO) -> tuple[bytes, Chat]:
    """The same with the bytes."""
    body = file.read()
    try:
        return body, read_chat(body)
    except UnreadableHook as error:
        name = getattr(file, "name", "the standard input")
        could_not_run([f"{name}: this is not a chat: {error}"])


def refuse(problems: Iterable[Problem], source: bytes) -> NoReturn:
    could_not_run(words.problems(problems, source))
