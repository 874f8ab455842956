"""`relay fields`: the fields that rules may use, and with --templates the names that templates may use, with examples."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from textwrap import wrap
from typing import Any
from zoneinfo import ZoneInfo

import click
from jinja2 import DictLoader

from relay.cli.printing import JSON, print_json, print_lines
from relay.destination import VISITOR
from relay.files import shipped
from relay.languages import LANGUAGES, SOURCE
from relay.notification import Excerpt
from relay.rendering.filters import Filters
from relay.rendering.sandbox import Sandbox
from relay.rendering.template_data import Plain, describe, describe_excerpt, describe_texts
from relay.rendering.template_reference import EXAMPLES, JINJAS, NAMES, Name, value_of
from relay.rendering.templates import Templates
from relay.rendering.transcript import story_of
from relay.rendering.translation import words_in
from relay.rules.field_type import Field, Kind
from relay.rules.fields import FIELDS
from relay.rules.operators import ANY_VARIABLE, OPERATORS, operators_for
from relay.smartsupp import read_chat

NAME_HEADINGS = ("name", "kind", "meaning", "example")
FILTER_HEADINGS = ("filter", "meaning", "example", "gives")

ZONE = ZoneInfo("Europe/Prague")
RULES = {"missed": "Missed chats", "low_rating_vip": "Bad ratings"}
"""The rule that matches each sample chat of the examples. The first sample that has a field gives its example."""
PUBLIC_URL = "https://relay.example.com"
_LONGEST = 60


def sample_data(sample: str = "missed") -> dict[str, Plain]:
    """The values of all names in an email's body for a sample chat, in English."""
    chat = read_chat((files("relay.demo") / "samples" / f"{sample}.json").read_bytes())
    words, rule = words_in(SOURCE), RULES[sample]
    mail = Templates(shipped("templates")).render(
        "chat", chat, rule=rule, language=SOURCE, zone=ZONE, bodies=False
    )
    story = story_of(chat, ZONE, words)
    return {
        **describe(
            chat, story, words, zone=ZONE, rule=rule, public_url=PUBLIC_URL, reply_to=VISITOR
        ),
        **describe_texts(mail.subject, mail.summary, mail.facts, mail.facts_left_out),
        "footer": mail.footer,
        **describe_excerpt(Excerpt(mail.transcript, 0, ())),
    }


def name_rows(names: tuple[Name, ...]) -> list[tuple[str, ...]]:
    """A row of texts for each name that templates may use, in the order of NAME_HEADINGS."""
    samples = [sample_data(sample) for sample in RULES]
    return [(each.name, each.kind, each.doc, _example(each.name, samples)) for each in names]


def _example(name: str, samples: list[dict[str, Plain]]) -> str:
    """The value of a name in the first sample that has one, as text."""
    for value in (value_of(name, data) for data in samples):
        if value in (None, "", []):
            continue
        if isinstance(value, dict):
            return ", ".join(value)
        if isinstance(value, list):
            texts = [each for each in value if isinstance(each, str)]
            return ", ".join(texts) or f"{len(value)} of them"
        text = Filters(words_in(SOURCE), html=False).shown(value)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()}…"
    return ""


def filter_rows(names: Iterable[str]) -> list[tuple[str, ...]]:
    """A row of texts for each filter, in the order of FILTER_HEADINGS; other languages are shown where they differ."""
    docs, data = filter_docs(), sample_data()
    return [
        (name, docs[name], f"{{{{ {EXAMPLES[name]} }}}}", "; ".join(_gives(EXAMPLES[name], data)))
        for name in names
    ]


def filter_docs() -> dict[str, str]:
    """What each filter of templates makes, in one line, by name."""
    own = {name: each for name, each in _sandbox(SOURCE).filters.items() if name not in JINJAS}
    first_lines = {name: (each.__doc__ or "").partition("\n")[0] for name, each in own.items()}
    return {name: line.removesuffix(".") for name, line in first_lines.items()} | JINJAS


def _gives(example: str, data: dict[str, Plain]) -> Iterator[str]:
    written = {
        language: _sandbox(language).from_string(f"{{{{ {example} }}}}").render(data)
        for language in LANGUAGES
    }
    english = written.pop(SOURCE)
    yield english.replace("\n", "⏎") or "nothing"
    yield from (f"{name}: {text}" for name, text in written.items() if text != english)


def _sandbox(language: str) -> Sandbox:
    return Sandbox(DictLoader({}), words_in(language), autoescape=False)


def names_json() -> dict[str, Any]:
    """The names and filters that templates may use, each as a dict by heading, for `relay fields --json`."""
    return {
        "names": [dict(zip(NAME_HEADINGS, row, strict=True)) for row in name_rows(NAMES)],
        "filters": [dict(zip(FILTER_HEADINGS, row, strict=True)) for row in filter_rows(EXAMPLES)],
    }


FIELD_HEADINGS = ("field", "in Smartsupp's hook", "kind", "meaning")
KIND_HEADINGS = ("kind", "operators")
OPERATOR_HEADINGS = ("operator", "meaning", "example")


def all_fields() -> tuple[Field, ...]:
    """All fields that rules may use, with one that stands for all variables."""
    return (*FIELDS.values(), ANY_VARIABLE)


def field_rows() -> list[tuple[str, ...]]:
    """A row of texts for each field that rules may use, in the order of FIELD_HEADINGS."""
    return [
        (field.name, field.wire or "(derived)", field.kind.value, field.doc)
        for field in all_fields()
    ]


def operator_rows() -> list[tuple[str, ...]]:
    """A row for each operator, in the order of OPERATOR_HEADINGS."""
    return [(each.name, each.doc, each.example) for each in OPERATORS.values()]


def kinds() -> Iterator[tuple[str, str]]:
    """The kinds of fields, each with the names of its operators."""
    for kind in Kind:
        yield kind.value, ", ".join(operators_for(kind))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> Iterator[str]:
    """The lines of a table with headings; its widest column is wrapped to the width of the terminal."""
    cells = [tuple(headings), *map(tuple, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    widest = widths.index(max(widths))
    rest = sum(widths) - widths[widest] + 2 * (len(widths) - 1)
    widths[widest] = min(widths[widest], max(24, width - rest))
    for index, row in enumerate(cells):
        for line in _row(row, widths):
            yield click.style(line, bold=True) if index == 0 else line


def _row(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    columns = [wrap(cell, room) or [""] for cell, room in zip(row, widths, strict=True)]
    for index in range(max(map(len, columns))):
        parts = [lines[index] if index < len(lines) else "" for lines in columns]
        padded = (part.ljust(room) for part, room in zip(parts, widths, strict=True))
        yield "  ".join(padded).rstrip()


def fields_json() -> dict[str, Any]:
    """All fields with their operators, and the names and filters of templates, as `relay fields --json` prints them."""
    return {
        "fields": [
            {
                "name": field.name,
                "smartsupp": field.wire,
                "kind": field.kind.value,
                "operators": list(operators_for(field.kind)),
                "meaning": field.doc,
            }
            for field in all_fields()
        ],
        "operators": [
            {"name": each.name, "meaning": each.doc, "example": each.example}
            for each in OPERATORS.values()
        ],
    }


@click.command()
@click.option(
    "--templates", is_flag=True, help="What a template can say instead: its names and filters."
)
@JSON
def fields(*, templates: bool, as_json: bool) -> None:
    """List the fields that rules may use, and the operators of each.

    With --templates, list the names and filters that templates may use, each with its value for a sample chat.
    """
    if as_json:
        print_json(names_json() if templates else fields_json())
    elif templates:
        _print_table(NAME_HEADINGS, name_rows(NAMES))
        click.echo()
        _print_table(FILTER_HEADINGS, filter_rows(EXAMPLES))
    else:
        _print_table(FIELD_HEADINGS, field_rows())
        click.echo()
        _print_table(KIND_HEADINGS, kinds())
        click.echo()
        _print_table(OPERATOR_HEADINGS, operator_rows())


def _print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    width = shutil.get_terminal_size((120, 24)).columns
    print_lines(table(headings, rows, width))
