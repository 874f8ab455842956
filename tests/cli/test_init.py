"""`relay init` writes what one begins with, and touches nothing that is there."""

import re
import stat
from pathlib import Path

import pytest

from relay.settings.table import SETTINGS, read_settings
from tests.cli.running import relay

VARIABLES = {
    "RELAY_SMTP_URL": "smtp://127.0.0.1:2525",
    "RELAY_MAIL_FROM": "relay@example.com",
    "RELAY_SLACK_TOKEN": "xoxb-not-a-real-one",
    "SLACK_SUPPORT_WEBHOOK": "https://hooks.slack.com/services/T0/B0/x",
    "TEAMS_MANAGERS_WEBHOOK": "https://x.environment.api.powerplatform.com/flow?sig=x",
}


def test_what_it_writes_can_be_used(tmp_path: Path) -> None:
    begun = relay("init", str(tmp_path / "mine"))
    assert (begun.status, begun.err) == (0, "")
    rules = str(tmp_path / "mine" / "rules.yaml")
    checked = relay("check", rules, variables=VARIABLES)
    assert (checked.status, checked.out.splitlines()[-1]) == (
        0,
        f"{rules}: 5 rules (1 turned off), 4 destinations; all fine",
    )
    tried = relay("test", variables={"RELAY_RULES": rules})
    assert (tried.status, tried.err) == (0, "")
    assert tried.out.endswith("cases as expected\n")
    explained = relay("explain", str(tmp_path / "mine" / "samples" / "missed.json"), rules)
    assert "1. Missed chats: yes" in explained.out


def test_what_it_writes_names_only_files_that_are_there(tmp_path: Path) -> None:
    relay("init", str(tmp_path))
    written = [path for path in tmp_path.iterdir() if path.suffix in {".yaml", ".env"}]
    assert len(written) == 3
    for path in written:
        comments = " ".join(re.findall(r"#(.*)", path.read_text("utf-8")))
        named = re.findall(r"[\w./-]+\.(?:yaml|json|env|md)\b", comments)
        assert [name for name in named if not (tmp_path / name).exists()] == [], path.name


@pytest.mark.long
def test_cases_of_rules_that_were_deleted_say_what_to_do(tmp_path: Path) -> None:
    relay("init", str(tmp_path))
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "destinations: {support: {email: {to: support@example.com}}}\n"
        "rules: [{name: Missed chats, when: {missed: true}, send_to: support}]\n"
    )
    tried = relay("test", variables={"RELAY_RULES": str(rules)})
    assert (tried.status, tried.out) == (2, "")
    assert "no rule is called 'VIP customers'" in tried.err
    assert tried.err.endswith(
        "rules.test.yaml: the rules file has no rules or destinations of some names that cases expect; "
        "if you deleted or renamed them there, delete or change these cases too\n"
    )


def test_the_settings_file_is_ones_own_and_names_only_settings_that_there_are(
    tmp_path: Path,
) -> None:
    relay("init", str(tmp_path))
    path = tmp_path / "relay.env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    named = [
        line.removeprefix("# ").partition("=")
        for line in path.read_text("utf-8").splitlines()
        if line.startswith("# RELAY_")
    ]
    assert {name for name, _, _ in named} <= set(SETTINGS)
    (tmp_path / "mytemplates").mkdir()
    given = {name: value.strip("'") for name, _, value in named}
    read_settings({**given, "RELAY_TEMPLATES": str(tmp_path / "mytemplates")})


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("mine", "utf-8")
    (tmp_path / "relay.env").write_text("mine too", "utf-8")
    (tmp_path / "samples").mkdir()
    begun = relay("init", str(tmp_path))
    assert begun.status == 0
    assert begun.out.count("was there already, and stays") == 3
    assert (tmp_path / "rules.yaml").read_text("utf-8") == "mine"
    assert not (tmp_path / "rules.test.yaml").exists()
    assert (tmp_path / "relay.env").read_text("utf-8") == "mine too"
    assert list((tmp_path / "samples").iterdir()) == []


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    begun = relay("init", str(tmp_path / "file" / "below"))
    assert begun.status == 2
    assert "file" in begun.err
    assert "Traceback" not in begun.err
