"""A text of the rules file, checked while it is written: the words of `relay check`, and what to put there instead."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.services.draft_check import DraftCheck, check_draft
from tests.rules.commands import check

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
GOOD = """\
destinations:
  desk: {email: {to: desk@example.com}}
  Big room: {email: {to: room@example.com}}
rules:
  - name: Bad ratings
    when: {rating: {at_most: 2}}
    send_to: desk
"""
MAIL = {"RELAY_SMTP_URL": "smtp://127.0.0.1:2525", "RELAY_MAIL_FROM": "relay@example.com"}


async def checked(text: str) -> DraftCheck:
    return await check_draft(text.encode(), Path("rules.yaml"), MAIL, NOW)


def fixed(text: str, found: DraftCheck, which: int = 0) -> str:
    """The text with a fix of the first error that has one."""
    flaw = next(each for each in found.errors if each.fixes)
    fix, lines = flaw.fixes[which], text.split("\n")
    line = lines[flaw.problem.line - 1]
    lines[flaw.problem.line - 1] = (
        line[: fix.column - 1] + fix.text + line[fix.column - 1 + fix.length :]
    )
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("at_most", "at_mots"),
        ("at_most", '"at_mots"'),
        ("at_most", "lte"),
        ("rating", "ratign"),
        ("send_to: desk", "send_to: dekс".replace("с", "s")),
        ("send_to: desk", "send_to: [Big room, dsek]"),
        ("send_to: desk", "sendto: desk"),
        ("rating: {at_most: 2}", "channel.isMissed: true"),
        ("when: {rating: {at_most: 2}}", "when: {rating: <= 2}"),
        ("when: {rating: {at_most: 2}}", 'when: {visitor.nmae: "é", rating: {at_most: 2}}'),
        ("destinations:", "destinatons:"),
    ],
)
async def test_a_fix_puts_the_problem_right(right: str, wrong: str) -> None:
    text = GOOD.replace(right, wrong)
    found = await checked(text)
    assert found.count
    again = await checked(fixed(text, found))
    flaw = next(each for each in found.errors if each.fixes)
    place = (flaw.problem.line, flaw.problem.message)
    assert place not in {(each.problem.line, each.problem.message) for each in again.errors}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("{rating: {at_most: 2}}", "{duration: {at_most: soon}}"),
        ("at_most: 2", "at_most: many"),
        ("send_to: desk", "send_to: nowhere at all"),
        ("rules:", "rules: ["),
    ],
)
async def test_an_example_is_no_fix(right: str, wrong: str) -> None:
    found = await checked(GOOD.replace(right, wrong))
    assert found.errors
    assert [flaw.fixes for flaw in found.errors] == [() for _ in found.errors]


async def test_a_secret_in_the_file_gets_no_fix(tmp_path: Path) -> None:
    text = GOOD.replace("{email: {to: desk@example.com}}", "{slack: {webhook: https://hooks}}")
    found = await checked(text)
    assert found.errors[0].problem.private
    assert found.errors[0].fixes == ()


async def test_the_length_is_that_of_the_text_in_question() -> None:
    found = await checked(GOOD.replace("at_most", "at_mots"))
    assert [(each.problem.line, each.problem.column, each.length) for each in found.errors] == [
        (6, 21, 7)
    ]


def test_the_words_are_those_of_the_command(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(GOOD.replace("at_most", "at_mots").replace("desk:", "dek:"), "utf-8")
    expected = json.loads(check(path, "--json").stdout)["problems"]
    found = asyncio.run(check_draft(path.read_bytes(), path, MAIL, NOW))
    assert [
        (each.problem.line, each.problem.column, each.problem.message, each.problem.hint)
        for each in found.errors
    ] == [(each["line"], each["column"], each["what"], each["hint"]) for each in expected]


@given(at=st.integers(0, len(GOOD)), text=st.text(max_size=6), drop=st.integers(0, 12))
def test_whatever_is_typed_is_checked(at: int, text: str, drop: int) -> None:
    typed = GOOD[:at] + text + GOOD[at + drop :]
    source = typed.encode("utf-8", "replace")
    found = asyncio.run(check_draft(source, Path("rules.yaml"), MAIL, NOW))
    for flaw in found.errors:
        assert all(fix.length <= flaw.length for fix in flaw.fixes)
