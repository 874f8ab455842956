"""`relay fields`: what rules may ask about, and what templates can say."""

import shutil
from collections.abc import Iterable, Sequence

import click

from relay.cli import rules_json, template_words
from relay.cli import rules_output as words
from relay.cli.printing import JSON, print_json, print_lines
from relay.rendering.reference import EXAMPLES, NAMES


@click.command()
@click.option(
    "--templates", is_flag=True, help="What a template can say instead: its names and filters."
)
@JSON
def fields(*, templates: bool, as_json: bool) -> None:
    """List what a rule may ask about, and with which operators.

    With --templates it lists what a template can say: every name and every filter, with what a sample chat makes
    of it.
    """
    if as_json:
        print_json(template_words.as_json() if templates else rules_json.fields())
    elif templates:
        _print_table(template_words.NAME_HEADINGS, template_words.name_rows(NAMES))
        click.echo()
        _print_table(template_words.FILTER_HEADINGS, template_words.filter_rows(EXAMPLES))
    else:
        _print_table(words.FIELD_HEADINGS, words.field_rows())
        click.echo()
        _print_table(words.KIND_HEADINGS, words.kinds())
        click.echo()
        _print_table(words.OPERATOR_HEADINGS, words.operator_rows())


def _print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    width = shutil.get_terminal_size((120, 24)).columns
    print_lines(words.table(headings, rows, width))
