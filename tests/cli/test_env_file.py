"""`relay --env-file`, and the relay.env beside the rules file."""

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.cli.env_file import BadEnvFile, read_env_file
from tests.cli.commands import Said
from tests.forks import run_command
from tests.running import settings

RULES = """\
destinations: {desk: {slack: {webhook: $DESK_WEBHOOK}}}
rules:
  - {name: All, when: always, send_to: desk}
"""
WEBHOOK = "https://hooks.slack.com/services/T0/B0/x"
ADVICE = "No settings are known here"


def relay(folder: Path, *arguments: object, **variables: str) -> Said:
    """Run in a folder, with nothing in the environment but `variables`."""
    ended = run_command([str(each) for each in arguments], variables, folder=folder)
    return Said(ended.status, ended.out.decode(), ended.err.decode())


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder as `relay init` makes it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    (folder / "relay.env").write_text(f"DESK_WEBHOOK='{WEBHOOK}'\n", encoding="utf-8")
    return folder


# -- which file is used ----------------------------------------------------------------------------------------


def test_the_file_beside_the_rules_is_used_without_being_named(mine: Path) -> None:
    said = relay(mine, "check")
    assert (said.status, said.err) == (0, "")
    assert said.out.endswith("all fine\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "mine/rules.yaml"),
        ("--env-file", "mine/relay.env", "check"),
        ("--env-file=mine/relay.env", "check"),
        ("check", "--env-file", "mine/relay.env"),
        ("check", "--env-file=mine/relay.env", "--json"),
    ],
)
@pytest.mark.long
def test_it_is_found_from_elsewhere_with_the_rules_beside_it(
    mine: Path, arguments: tuple[str, ...]
) -> None:
    said = relay(mine.parent, *arguments)
    assert (said.status, said.err) == (0, "")


@pytest.mark.long
def test_it_lies_beside_the_rules_that_the_environment_names(mine: Path) -> None:
    said = relay(mine.parent, "check", RELAY_RULES=str(mine / "rules.yaml"))
    assert (said.status, said.err) == (0, "")


@pytest.mark.long
def test_what_the_environment_has_goes_first_in_both_its_forms(mine: Path) -> None:
    said = relay(mine, "check", DESK_WEBHOOK="http://plain.example.com/x")
    assert "DESK_WEBHOOK" in said.err
    file = mine / "webhook"
    file.write_text(WEBHOOK, encoding="utf-8")
    (mine / "relay.env").write_text("DESK_WEBHOOK='http://plain.example.com/x'\n")
    said = relay(mine, "check", DESK_WEBHOOK_FILE=str(file))
    assert (said.status, said.err) == (0, "")


@pytest.mark.long
def test_relative_paths_are_those_of_its_folder_where_the_rules_lie_there_too(mine: Path) -> None:
    (mine / "webhook").write_text(WEBHOOK, encoding="utf-8")
    (mine / "words").mkdir()
    (mine / "relay.env").write_text("DESK_WEBHOOK_FILE=webhook\nRELAY_TEMPLATES=words\n")
    for place in (mine, mine.parent):
        said = relay(place, "--env-file", mine / "relay.env", "check")
        assert (said.status, said.err) == (0, ""), place
    said = relay(mine.parent, "--env-file", mine / "relay.env", "deliveries")
    assert f"there is no {mine}/relay.db" in said.err


@pytest.mark.long
def test_elsewhere_they_are_those_of_the_current_folder(mine: Path) -> None:
    apart = mine.parent / "etc"
    apart.mkdir()
    (mine / "relay.env").rename(apart / "relay.env")
    said = relay(mine, "--env-file", "../etc/relay.env", "check")
    assert (said.status, said.err) == (0, "")


@pytest.mark.long
async def test_the_history_of_a_service_is_read_from_any_folder(mine: Path) -> None:
    (mine / "relay.env").write_text(
        "\n".join(f"{name}='{value}'" for name, value in settings(mine).items()), encoding="utf-8"
    )
    said = relay(mine, "deliveries", "--env-file", mine / "relay.env")
    assert said.err.startswith(f"there is no {mine}/relay.db")
    assert ADVICE not in said.err


@pytest.mark.long
def test_the_wrapper_of_running_md_runs_the_services_commands_from_anywhere(mine: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "running.md").read_text("utf-8")
    script = page.partition("/usr/local/bin/relay > /dev/null <<'END'\n")[2].partition("END\n")[0]
    for path, ours in {
        "sudo -u relay ": "",
        "/var/lib/relay": str(mine),
        "/opt/relay/bin/relay": f"{sys.executable} -m relay",
        "/etc/relay.env": str(mine.parent / "relay.env"),
    }.items():
        assert path in script
        script = script.replace(path, ours)
    (mine / "relay.env").rename(mine.parent / "relay.env")
    (mine.parent / "wrapper").write_text(script, encoding="utf-8")
    done = subprocess.run(
        ["sh", mine.parent / "wrapper", "check"],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


# -- what is said where nothing is set -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [("deliveries",), ("serve",), ("resend", "1"), ("backup", "copy")]
)
def test_where_nothing_is_set_it_says_what_to_load(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    said = relay(tmp_path, *arguments)
    assert said.status == 2
    assert (
        f"{ADVICE}: no variable RELAY_... is set, and no relay.env lies beside rules.yaml"
        in said.err
    )
    assert f"relay --env-file /etc/relay.env {arguments[0]}" in said.err


@pytest.mark.long
def test_a_missing_secret_brings_the_advice_too(mine: Path) -> None:
    (mine / "relay.env").rename(mine.parent / "relay.env")
    said = relay(mine, "check")
    assert said.status == 0
    assert "DESK_WEBHOOK is not set in relay.env or the environment" in said.err
    assert ADVICE in said.err


def test_where_settings_are_known_there_is_no_advice(tmp_path: Path) -> None:
    said = relay(tmp_path, "deliveries", RELAY_DATABASE="sqlite:///other.db")
    assert said.status == 2
    assert ADVICE not in said.err


# -- a file that can't be used ---------------------------------------------------------------------------------


@pytest.mark.long
def test_a_file_that_is_named_and_missing_ends_the_command(mine: Path) -> None:
    said = relay(mine, "--env-file", "gone.env", "check", RELAY_RULES="rules.yaml")
    assert said.status == 2
    assert "gone.env can't be read" in said.err


BAD = {
    "DESK_WEBHOOK": "this sets no variable",
    "set -a": "this sets no variable",
    "DESK WEBHOOK=x": "this sets no variable",
    "DESK_WEBHOOK = x": "this sets no variable",
    "DESK_WEBHOOK= x": "the value of DESK_WEBHOOK begins with a space",
    "DESK_WEBHOOK='geheim": "the value of DESK_WEBHOOK begins with a space, has a quote in it, or lacks one",
    "DESK_WEBHOOK='geheim'x": "the value of DESK_WEBHOOK",
    "DESK_WEBHOOK=geh'eim": "the value of DESK_WEBHOOK",
    "DESK_WEBHOOK=geheim$1": "DESK_WEBHOOK: $ means something to a shell",
    'DESK_WEBHOOK="geheim$x"': "DESK_WEBHOOK: $ means something to a shell",
    "DESK_WEBHOOK=geheim`x`": "DESK_WEBHOOK: ` means something to a shell",
    "DESK_WEBHOOK=geheim\\": "DESK_WEBHOOK: \\ means something to a shell",
}


@pytest.mark.parametrize("line", BAD)
def test_a_line_that_programs_would_read_in_different_ways_is_refused(
    tmp_path: Path, line: str
) -> None:
    file = tmp_path / "relay.env"
    file.write_text(f"# one\n\nA='x'\n{line}\n", encoding="utf-8")
    with pytest.raises(BadEnvFile) as bad:
        read_env_file(file)
    assert str(bad.value).startswith(f"{file}:4: {BAD[line]}")
    assert "geheim" not in str(bad.value)


@pytest.mark.long
def test_a_service_that_has_its_settings_starts_beside_a_file_that_can_not_be_used(
    mine: Path,
) -> None:
    (mine / "relay.env").write_text("nonsense\n", encoding="utf-8")
    said = relay(mine, "check")
    assert said.status == 2
    assert said.err.startswith("relay.env:1: this sets no variable")
    said = relay(mine, "check", RELAY_RULES="rules.yaml", DESK_WEBHOOK=WEBHOOK)
    assert (said.status, said.out.endswith("1 destination; all fine\n")) == (0, True)
    assert "going on without it" in said.err


@pytest.mark.long
def test_what_can_not_be_read_is_passed_by_where_there_are_settings(mine: Path) -> None:
    (mine / "relay.env").unlink()
    (mine / "relay.env").mkdir()
    assert relay(mine, "check").status == 2
    said = relay(mine, "check", RELAY_RULES="rules.yaml", DESK_WEBHOOK=WEBHOOK)
    assert said.status == 0
    assert "relay.env can't be read as user" in said.err
    assert "going on without it" in said.err


# -- how it is read --------------------------------------------------------------------------------------------


def by_shell(file: Path) -> Mapping[str, str]:
    """What `set -a; . FILE` sets."""
    script = f"set -a; . {shlex.quote(str(file))}; exec env -0"
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True
    )
    pairs = (pair.partition("=") for pair in done.stdout.decode().split("\0") if pair)
    return {name: value for name, _, value in pairs if name.startswith("N")}


QUOTED = st.text(st.sampled_from(" #=ab$&|<>()*;~%é\\\"`'\n"), max_size=8)
BARE = st.text(st.sampled_from("#=ab$%é\\\"`'\n"), max_size=8)
"""Without quotes a shell makes more of &, < or a blank than a value."""


@st.composite
def lines(draw: st.DrawFn) -> str:
    begin = draw(st.sampled_from(["", "export ", "  "]))
    form = draw(st.sampled_from(["'{}'", '"{}"', "{}"]))
    value = form.format(draw(BARE if form == "{}" else QUOTED))
    return f"{begin}N{draw(st.integers(0, 3))}={value}{draw(st.sampled_from(['', ' ', ' # said']))}"


@given(st.lists(lines(), max_size=5))
def test_what_is_read_is_what_a_shell_reads(
    tmp_path_factory: pytest.TempPathFactory, written: list[str]
) -> None:
    file = tmp_path_factory.mktemp("env") / "relay.env"
    file.write_text("\n".join(written), encoding="utf-8")
    with contextlib.suppress(BadEnvFile):
        assert read_env_file(file) == by_shell(file)


def test_the_forms_that_programs_write_are_read(tmp_path: Path) -> None:
    file = tmp_path / "relay.env"
    file.write_bytes(
        b"\xef\xbb\xbfA='it''s'\r\n".replace(b"''", b" ")
        + b'export B="say \\"hi\\" for \\$5"\r\nC=Chat relay <relay@example.com>  # whom\n'
        b"D=https://x.example.com/?a=b&c=d#e\nE=\nF='two\nlines'"
    )
    assert read_env_file(file) == {
        "A": "it s",
        "B": 'say "hi" for $5',
        "C": "Chat relay <relay@example.com>",
        "D": "https://x.example.com/?a=b&c=d#e",
        "E": "",
        "F": "two\nlines",
    }
