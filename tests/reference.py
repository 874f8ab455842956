"""Tables of the documentation, made of what the code says: names and filters of templates, and answers with their cures.

`make reference` writes them between their marks, `<!-- made by make reference: chat -->` and `<!-- end -->`.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from relay.cli.field_list import FILTER_HEADINGS, NAME_HEADINGS, filter_rows, name_rows
from relay.console.json_api import api_document
from relay.rendering.template_reference import AROUND, CHAT, ENTRIES, EXAMPLES, JINJAS, VISITOR
from relay.transports.cures import HTTP, Row
from relay.transports.registry import REGISTRATIONS
from relay.transports.webhook.pack import json_schema

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [
    page for page in sorted(DOCS.glob("*.md")) if "<!-- made by make" in page.read_text("utf-8")
]
_MARKED = re.compile(r"(<!-- made by make reference: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tables() -> Mapping[str, str]:
    """By the name in the mark."""
    names = {"around": AROUND, "entries": ENTRIES, "chat": CHAT, "visitor": VISITOR}
    filters = {"filters": [name for name in EXAMPLES if name not in JINJAS], "jinjas": JINJAS}
    return {
        **{mark: names_table(name_rows(group)) for mark, group in names.items()},
        **{mark: filters_table(filter_rows(group)) for mark, group in filters.items()},
        **{
            name: _answers((*each.answers, *(HTTP if each.service else ())))
            for name, each in REGISTRATIONS.items()
        },
    }


def _answers(rows: Iterable[Row]) -> str:
    return _table(
        ("answer", "outcome", "what is wrong, and what to do", "then run"),
        (
            (
                row.answers,
                f"`{row.ending.value}`",
                row.cure,
                _code(row.command.format(destination="NAME")),
            )
            for row in rows
        ),
    )


def names_table(rows: Iterable[Sequence[str]]) -> str:
    return _table(
        NAME_HEADINGS,
        ((_code(name), kind, meaning, _code(value)) for name, kind, meaning, value in rows),
    )


def filters_table(rows: Iterable[Sequence[str]]) -> str:
    return _table(
        FILTER_HEADINGS,
        (
            (_code(name), meaning, _code(example), _code(gives))
            for name, meaning, example, gives in rows
        ),
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(text: str) -> str:
    escaped = text.replace("|", "\\|")
    return f"`{escaped}`" if text else ""


def renewed(page: str) -> str:
    """The page with its tables made again."""
    made = tables()
    return _MARKED.sub(lambda found: f"{found[1]}\n{made[found[2]]}\n{found[3]}", page)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(renewed(page.read_text("utf-8")), "utf-8")
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False)
    (DOCS / "webhook.schema.json").write_text(f"{schema}\n", "utf-8")
    document = json.dumps(json.loads(api_document()), indent=1, ensure_ascii=False)
    (DOCS / "openapi.json").write_text(f"{document}\n", "utf-8")
