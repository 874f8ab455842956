"""What all commands share at their end: how they print, and the codes that they exit with."""

import json
import shutil
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

import click

FINE, FOUND, COULD_NOT_RUN = 0, 1, 2
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


def counted(number: int, noun: str) -> str:
    """3, "reply" -> "3 replies"."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else many}"


def terminal_width() -> int:
    """Columns; a pipe gets whole lines."""
    return shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 10_000
