"""docs/rules.md says what the code does."""

import re
from pathlib import Path
from textwrap import indent

import pytest

from relay.cli import rules_words
from tests.rules.books import a_book

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text("utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def a_table(heading: str) -> list[tuple[str, ...]]:
    """The rows below a heading, without the marks of Markdown."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [tuple(cell.replace("`", "").strip() for cell in row) for row in rows]


@pytest.mark.parametrize(
    ("heading", "columns", "rows"),
    [
        ("Fields", rules_words.FIELD_HEADINGS, rules_words.field_rows()),
        ("Kinds", rules_words.KIND_HEADINGS, list(rules_words.kinds())),
        ("Operators", rules_words.OPERATOR_HEADINGS, rules_words.operator_rows()),
    ],
)
def test_a_table_has_what_the_code_has(
    heading: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]
) -> None:
    plain = [tuple(cell.replace("`", "") for cell in row) for row in rows]
    assert a_table(heading) == [columns, *plain]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_each_example_can_be_used(block: str) -> None:
    if block.startswith("when:"):
        block = f"rules:\n  - name: It\n    send_to: support\n{indent(block, '    ')}"
    if "rules:" not in block:
        assert block == "a: 1\n"
        return
    if "destinations:" not in block:
        block += "destinations: {support: {email: {to: support@example.com}}}\n"
    assert a_book(block).warnings == ()
