"""What holds secrets, or what visitors wrote, is for the relay's own user, whatever the umask says."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.running import running_relay, settings

FREE_FOR_ALL = ("sh", "-c", 'umask 0; exec "$@"', "sh")
"""A command in front of another: what it makes is open to everybody, unless it says otherwise."""


def open_to_others(folder: Path) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]


@pytest.fixture
def _umask_of_a_careless_service() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask_of_a_careless_service")
async def test_a_relay_that_runs_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "relay.db.lock").write_text("of an older relay")
    async with running_relay(tmp_path, RELAY_HOOK_TOKENS="") as relay:
        await relay.ready()
        assert (tmp_path / "relay.db-wal").exists()
        assert open_to_others(tmp_path) == ["rules.yaml"]


async def test_a_database_that_others_may_read_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_relay(tmp_path):
        pass
    (tmp_path / "relay.db").chmod(0o644)
    async with running_relay(tmp_path):
        words = f"{tmp_path}/relay.db can be read by every user of this computer; chmod 600 keeps"
        assert words in capsys.readouterr().err


async def test_what_commands_write_of_chats_is_ones_own(tmp_path: Path) -> None:
    variables = settings(tmp_path)
    chat = tmp_path / "chat.json"
    chat.write_bytes(a_hook(1, missed=True))
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(1, missed=True))
    for name, arguments in {
        "shown": ("preview", chat, "--out", tmp_path / "shown"),
        "copies": ("backup", f"{tmp_path}/copies/"),
        "copy.db": ("backup", tmp_path / "copy.db"),
    }.items():
        said = await command(variables, *arguments, prefix=FREE_FOR_ALL)
        assert (said.status, said.err) == (0, "")
        made = tmp_path / name
        assert stat.S_IMODE(made.stat().st_mode) == (0o700 if made.is_dir() else 0o600)
        assert open_to_others(tmp_path / name) == []


async def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    chat, shown = tmp_path / "chat.json", tmp_path / "shown"
    chat.write_bytes(a_hook(1, missed=True))
    shown.mkdir(mode=0o755)
    said = await command(settings(tmp_path), "preview", chat, "--out", shown, prefix=FREE_FOR_ALL)
    assert said.status == 0
    assert stat.S_IMODE(shown.stat().st_mode) == 0o755
    assert open_to_others(shown) == []
