"""`relay` itself: its help, its version, and the exit codes of a command called wrongly."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click import Context

from relay import __version__
from relay.cli import main
from tests.cli.running import relay
from tests.servers import DEADLINE

COMMANDS = main.list_commands(Context(main))


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_command_with_what_it_is_for(flag: str) -> None:
    ran = relay(flag)
    assert ran.status == 0
    assert ran.out.startswith("Usage: ")
    assert re.findall(r"(?m)^  ([a-z][a-z-]+)  +\S", ran.out.split("Commands:")[1]) == COMMANDS
    assert {"serve", "demo", "check", "explain", "fields", "post"} <= set(COMMANDS)
    assert "RELAY_RULES" in ran.out
    assert ran.err == ""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.long
def test_every_command_has_help_of_its_own(command: str) -> None:
    ran = relay(command, "--help")
    assert ran.status == 0
    assert f" {command} " in ran.out.splitlines()[0]
    assert ran.err == ""


@pytest.mark.parametrize(
    "command", [[str(Path(sys.executable).with_name("relay"))], [sys.executable, "-m", "relay"]]
)
def test_the_version_is_printed(command: list[str]) -> None:
    """Both as a shell runs it: other commands of tests come from a process that has imported everything."""
    ran = subprocess.run(
        [*command, "--version"], env={}, capture_output=True, text=True, timeout=DEADLINE
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"relay, version {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["serve", "--nonsense"], ["post"], ["explain"], ["fields", "x"]]
)
@pytest.mark.long
def test_what_can_not_be_understood_ends_with_status_2_and_words_on_stderr(
    arguments: list[str],
) -> None:
    ran = relay(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert "Usage: " in ran.err
    assert "Error: " in ran.err


def test_nothing_at_all_prints_the_help() -> None:
    ran = relay()
    assert "Commands:" in ran.out + ran.err
    assert ran.status in {0, 2}  # click says 2 from 8.2 on


def test_a_command_that_is_misspelt_is_told_the_nearest_one() -> None:
    assert "No such command 'chek'. Did you mean 'check'?" in relay("chek").err
    assert "Did you mean" not in relay("nonsense").err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("start", "serve"), ("send_test", "send-test"), ("Validate", "check"), ("retry", "resend")],
)
def test_a_command_by_another_name_is_told_what_it_is_called_here(typed: str, meant: str) -> None:
    assert f"Did you mean {meant!r}?" in relay(typed).err


@pytest.mark.parametrize(
    "typed",
    ["pause", "erse", "eras", "erease", "ease", "parse", "phase", "ERASE", "delete", "release"],
)
def test_no_misspelt_command_is_led_to_one_that_destroys(typed: str) -> None:
    ran = relay(typed)
    assert ran.status == 2
    assert "Did you mean 'erase'" not in ran.err
