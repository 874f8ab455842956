"""How commands print and end: exit codes, tables and progress bars."""

import contextlib
import functools
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import click

FINE, NOT_FINE, COULD_NOT_RUN = 0, 1, 2
ERASED = "it may be so old that it was erased"
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print each line, on standard output or with `err` on standard error."""
    for line in lines:
        click.echo(line, err=err)


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """Print a value as indented JSON."""
    click.echo(as_json(value))


def as_json(value: Any) -> str:  # noqa: ANN401
    """Return a value as indented JSON; other alphabets stay readable."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def could_not_run(lines: Iterable[str]) -> NoReturn:
    """Print the lines on standard error and end the command with status 2."""
    print_lines(lines, err=True)
    sys.exit(COULD_NOT_RUN)


def counted(number: int, noun: str) -> str:
    """A number with its noun: 3, "reply" -> "3 replies"; 3, "day" -> "3 days"."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeou" else f"{noun}s"
    return f"{number} {noun if number == 1 else many}"


def missing_rows(noun: str, ids: Iterable[int]) -> Iterator[str]:
    """A sentence for each requested row that the database does not have."""
    for number in ids:
        yield f"there is no {noun} {number}; {ERASED}"


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A Progress for a service: a bar on a terminal, from the first report on; elsewhere nothing."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def bar(total: int) -> Any:  # noqa: ANN401 - click does not export its type
            hidden = not sys.stderr.isatty()
            return stack.enter_context(
                click.progressbar(length=total, label=label, file=sys.stderr, hidden=hidden)
            )

        yield lambda done, total: bar(total).update(done - bar(total).pos)


def fitted_widths(rows: Sequence[Sequence[str]], width: int, least: Mapping[int, int]) -> list[int]:
    """The widths of a table's columns, with two blanks in between. Columns in `least` are narrowed, down to the given minimum."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for column, smallest in least.items():
        too_wide = sum(widths) + 2 * (len(widths) - 1) - width
        widths[column] = min(widths[column], max(smallest, widths[column] - too_wide))
    return widths


def terminal_width() -> int:
    """The width of the terminal in columns; for a pipe a number so large that no line is cut."""
    return shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 10_000
