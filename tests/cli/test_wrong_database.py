"""The database that a command finds, where it is no relay's."""

from pathlib import Path

from tests.cli.commands import relay as command
from tests.running import settings


async def test_a_database_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    said = await command(settings(tmp_path), "deliveries")
    assert said.status == 2
    assert said.err == (
        f"there is no {tmp_path}/relay.db; `relay serve` makes it at its first start, and RELAY_DATABASE says where it is\n"
    )
    assert not (tmp_path / "relay.db").exists()


async def test_another_programs_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "relay.db").write_bytes(b"SQLite format 3\x00" + b"\x00" * 4080)
    said = await command(settings(tmp_path), "deliveries")
    assert said.status == 2
    assert "is an SQLite database, but not a relay's" in said.err
