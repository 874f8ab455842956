"""The pages about rules say what the code does, and every example in them works."""

import re
from pathlib import Path
from textwrap import indent

import pytest

from relay.cli import field_list
from tests.rules.books import a_book
from tests.rules.commands import relay

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "rules.md").read_text("utf-8")
RECIPES = (DOCS / "recipes.md").read_text("utf-8").split("\n## ")[1:]
TESTING = (DOCS / "testing-rules.md").read_text("utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def a_table(heading: str) -> list[tuple[str, ...]]:
    """The rows below a heading, without the marks of Markdown."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [tuple(cell.replace("`", "").strip() for cell in row) for row in rows]


def as_a_file(block: str) -> str:
    """An example as a whole rules file; empty for what is none."""
    if block.startswith("when:"):
        block = f"rules:\n  - name: It\n    send_to: support\n{indent(block, '    ')}"
    if "rules:" not in block:
        assert block == "a: 1\n"
        return ""
    if "destinations:" not in block:
        block += "destinations: {support: {email: {to: support@example.com}}}\n"
    return block


@pytest.mark.parametrize(
    ("heading", "columns", "rows"),
    [
        ("Fields", field_list.FIELD_HEADINGS, field_list.field_rows()),
        ("Kinds", field_list.KIND_HEADINGS, list(field_list.kinds())),
        ("Operators", field_list.OPERATOR_HEADINGS, field_list.operator_rows()),
    ],
)
def test_a_table_has_what_the_code_has(
    heading: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]
) -> None:
    plain = [tuple(cell.replace("`", "") for cell in row) for row in rows]
    assert a_table(heading) == [columns, *plain]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_each_example_can_be_used(block: str) -> None:
    if source := as_a_file(block):
        assert a_book(source).warnings == ()


def test_there_are_eleven_recipes() -> None:
    assert len(RECIPES) == 11


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.splitlines()[0])
def test_a_recipe_does_what_its_cases_say(recipe: str, tmp_path: Path) -> None:
    rules, cases = re.findall(r"```yaml\n(.*?)```", recipe, re.DOTALL)
    (tmp_path / "rules.yaml").write_text(rules, "utf-8")
    (tmp_path / "rules.test.yaml").write_text(cases, "utf-8")
    assert a_book(rules).warnings == ()
    result = relay("test", tmp_path / "rules.test.yaml")
    assert result.exit_code == 0, result.output
    # Each rule of a recipe is expected by a case.
    assert "no case expects" not in result.output


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", TESTING, re.DOTALL))
def test_each_test_file_that_is_shown_can_be_read(block: str, tmp_path: Path) -> None:
    rules = (
        "destinations: {support-room: {slack: {webhook: $ROOM}}}\n"
        "rules: [{name: Missed chats, when: {missed: true}, send_to: support-room}]"
    )
    (tmp_path / "rules.yaml").write_text(rules, "utf-8")
    (tmp_path / "rules.test.yaml").write_text(block, "utf-8")
    assert relay("test", tmp_path / "rules.test.yaml").exit_code in {0, 1}
