"""`relay backup`: everything that was answered before is in it, and it can be started from."""

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ReceivingServers
from tests.running import rows, running_relay, settings

pytestmark = pytest.mark.long


async def test_a_backup_under_load_holds_all_that_was_answered_before_it(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        answered: list[int] = []
        stop = asyncio.Event()

        async def load(number: int) -> None:
            while not stop.is_set():
                number += 4
                assert (await relay.post(a_hook(number, missed=True))).status == 202
                answered.append(number)

        senders = [asyncio.create_task(load(first)) for first in range(4)]
        while len(answered) < 100:
            await asyncio.wait(senders, timeout=0.01)
        before = set(answered)
        said = await command(settings(tmp_path), "backup", copy)
        stop.set()
        await asyncio.gather(*senders)
        assert (said.status, said.err) == (0, "")
    kept = {int(chat) for (chat,) in rows(copy, "SELECT chat FROM chats")}
    ((deliveries,),) = rows(copy, "SELECT count(*) FROM deliveries")
    assert before <= kept
    assert said.out.startswith(f"{copy}: {len(kept)} chats, {deliveries} deliveries (")
    assert deliveries == 2 * len(kept)
    assert rows(copy, "PRAGMA integrity_check") == [("ok",)]


async def test_a_relay_starts_from_a_backup_and_goes_on_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    async with ReceivingServers() as ends:
        async with running_relay(old, smtp=1, http=1) as relay:
            await relay.post(a_hook(7, missed=True))
            said = await command(settings(old), "backup", new / "relay.db")
        assert said.out.startswith(
            f"{new}/relay.db: 1 chat, 2 deliveries (2 of them still queued), "
        )
        assert sorted(path.name for path in new.iterdir()) == ["relay.db"]
        assert (new / "relay.db").stat().st_mode & 0o077 == 0
        async with running_relay(new, **ends.settings) as relay:
            assert (await relay.post(a_hook(7, missed=True))).status == 200
            await command(settings(new), "resend", 1, 2)
            await ends.mail.received(1)
            await ends.web.received(1)


async def test_nothing_is_ever_replaced(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    async with running_relay(tmp_path):
        said = await command(settings(tmp_path), "backup", copy)
        itself = await command(settings(tmp_path), "backup", tmp_path / "relay.db")
    assert said.status == itself.status == 2
    assert said.err == (
        f"{copy} is there already, and a backup replaces nothing; name another file\n"
    )
    assert copy.read_text() == "precious"


async def test_an_earlier_copy_where_a_folder_is_named_is_said_to_be_a_file(tmp_path: Path) -> None:
    async with running_relay(tmp_path):
        first = await command(settings(tmp_path), "backup", tmp_path / "copies")
        again = await command(settings(tmp_path), "backup", f"{tmp_path}/copies/")
    assert (first.status, again.status) == (0, 2)
    assert again.err == (
        f"{tmp_path}/copies is a file, perhaps an earlier copy: name another folder, or move it away\n"
    )


async def test_a_place_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    async with running_relay(tmp_path):
        said = await command(settings(tmp_path), "backup", tmp_path / "nowhere" / "copy.db")
    assert (said.status, said.err) == (
        2,
        f"{tmp_path}/nowhere/copy.db can't be written: No such file or directory\n",
    )


async def test_a_disk_that_fills_up_leaves_no_half_a_copy(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        await asyncio.gather(*(relay.post(a_hook(number)) for number in range(60)))
        said = await command(
            settings(tmp_path), "backup", tmp_path / "copy.db", prefix=("prlimit", "--fsize=32768")
        )
    assert said.status == 2
    assert said.err.startswith("the copy failed: ")
    assert list(tmp_path.glob("copy.db*")) == []


async def test_a_damaged_database_is_said_to_be_and_no_copy_is_kept(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        await asyncio.gather(*(relay.post(a_hook(number)) for number in range(60)))
    database = tmp_path / "relay.db"
    content = bytearray(database.read_bytes())
    for page in range(4096 * 3, len(content), 4096):
        content[page : page + 64] = b"\xff" * 64
    database.write_bytes(content)
    said = await command(settings(tmp_path), "backup", tmp_path / "copy.db")
    assert said.status == 2
    assert "damaged" in said.err or "malformed" in said.err
    assert list(tmp_path.glob("copy.db*")) == []


async def test_into_a_folder_it_can_be_run_again_and_keeps_so_many(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(1))
        first = await command(settings(tmp_path), "backup", f"{folder}/")
        assert (first.status, first.err) == (0, "")
        (made,) = folder.iterdir()
        assert re.fullmatch(r"relay-\d{8}T\d{6}Z\.db", made.name)
        assert folder.stat().st_mode & 0o777 == 0o700
        mine = [
            "relay-20200101T000000Z.db",
            "relay-20210101T000000Z.db",
            "relay-20210101T000001Z.db.part",
        ]
        others = ["relay-20200101.db", "notes.txt", "relay-20200101T000000Z.db.gz"]
        for name in (*mine, *others):
            (folder / name).write_bytes(b"")
        made.rename(folder / "relay-20220101T000000Z.db")
        again = await command(settings(tmp_path), "backup", "--keep", 2, folder)
    assert again.status == 0
    assert again.out.count("deleted") == 3
    left = sorted(path.name for path in folder.iterdir())
    assert set(others) < set(left)
    copies = [name for name in left if name not in others]
    assert copies[0] == "relay-20220101T000000Z.db"
    assert len(copies) == 2
    assert rows(folder / copies[1], "SELECT chat FROM chats") == [("1",)]


async def test_a_number_to_keep_goes_with_a_folder_only(tmp_path: Path) -> None:
    said = await command(settings(tmp_path), "backup", tmp_path / "copy.db", "--keep", 3)
    assert said.status == 2
    assert "--keep needs a folder: end its name with /" in said.err


def shell_of(heading: str, number: int) -> str:
    """The commands of a section of docs/operating.md, for a folder of ours, without systemd and other users."""
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")
    text = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    commands: list[str] = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return commands[number]


@pytest.mark.parametrize("stopped", ["in order", "killed"])
async def test_the_commands_of_operating_md_restore_a_backup(tmp_path: Path, stopped: str) -> None:
    """After an orderly stop there is no log beside the database; after a crash there is."""
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(1))
        await command(settings(tmp_path), "backup", f"{tmp_path}/backups/")
        await relay.post(a_hook(2))
    (copy,) = (tmp_path / "backups").iterdir()
    if stopped == "killed":
        (tmp_path / "relay.db-wal").write_bytes(b"of the old one")
        (tmp_path / "relay.db-shm").write_bytes(b"of the old one")
    script = shell_of("Restore", 0)
    for shown, ours in {
        "sudo systemctl": ":",
        "sudo -u relay ": "",
        "/var/lib/relay": str(tmp_path),
        "relay-20261122T030000Z.db": copy.name,
    }.items():
        assert shown in script
        script = script.replace(shown, ours)
    done = subprocess.run(["sh", "-e"], input=script, capture_output=True, text=True, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    async with running_relay(tmp_path) as relay:
        assert relay.rows("SELECT chat FROM chats") == [("1",)]
        assert (await relay.post(a_hook(1))).status == 200
