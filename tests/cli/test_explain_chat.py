"""`relay explain --chat`: why did nobody get this?"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli import main
from tests.builders import a_hook
from tests.running import running_relay, settings


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Of a relay that took a chat which no rule asks for, and ended."""
    async with running_relay(tmp_path) as relay:
        assert (await relay.post(a_hook(7, missed=False))).json["deliveries"] == 0
    return tmp_path


def explain(folder: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["explain", *words], env=settings(folder))
    return done.exit_code, done.output


def test_the_rules_of_that_day_are_quoted_though_the_file_is_another_now(folder: Path) -> None:
    (folder / "rules.yaml").write_text("rules: []", encoding="utf-8")
    code, said = explain(folder, "--chat", "208/7")
    assert code == 0
    assert "Chat 208/7, hook 1 of " in said
    assert "1. Missed chats: no" in said
    assert "missed: no" in said


def test_programs_get_the_same_as_json(folder: Path) -> None:
    code, said = explain(folder, "--chat", "208/7", "--json")
    (hook,) = json.loads(said)
    assert code == 0
    assert (hook["hook"], hook["chat"], hook["left_out"]) == (1, "7", 0)
    assert [rule["rule"] for rule in hook["rules"]] == ["Missed chats"]


def test_a_chat_that_is_not_there_is_named(folder: Path) -> None:
    code, said = explain(folder, "--chat", "208/8")
    assert code == 2
    assert "there is no chat 208/8" in said


def test_a_file_or_a_chat_must_be_named_and_not_both(folder: Path) -> None:
    for words in ((), ("--chat", "208/7", str(folder / "rules.yaml"))):
        code, said = explain(folder, *words)
        assert code == 2
        assert "give either CHAT.json or --chat ACCOUNT/ID" in said
