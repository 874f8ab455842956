"""`relay backup`: everything that was answered before is in it, and it can be started from."""

import asyncio
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.journeys.far_ends import FarEnds
from tests.running import rows, running_relay, settings

pytestmark = pytest.mark.long


async def test_a_backup_under_load_holds_all_that_was_answered_before_it(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with FarEnds() as ends, running_relay(tmp_path, **ends.settings) as relay:
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
    async with FarEnds() as ends:
        async with running_relay(old, smtp=1, http=1) as relay:
            await relay.post(a_hook(7, missed=True))
            said = await command(settings(old), "backup", new / "relay.db")
        assert said.out.startswith(f"{new}/relay.db: 1 chat, 2 deliveries (2 of them still owed), ")
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
