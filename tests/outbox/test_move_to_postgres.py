"""A running installation goes from its file to a server, and goes on there."""

import asyncio
import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from relay.cli import main
from relay.clock import utc_now
from relay.outbox import Gate, Outbox, State, StorageRefused
from relay.outbox.database_copy import move as carry
from relay.transports import Ending
from tests.builders import NOON, later
from tests.cli.commands import relay as command
from tests.outbox.hooks import DELIVERED, LEASE, TRY_LATER, a_new_hook, claim_one, ended
from tests.postgres import PostgresCluster, server
from tests.running import rows

pytestmark = pytest.mark.long

CHATS = 60


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """One that has seen something of everything, and was killed in the middle."""
    path = tmp_path / "relay.db"
    outbox = await Outbox.open(path, now=NOON)
    for chat in range(CHATS):
        await outbox.accept(
            a_new_hook(chat, destinations=("desk", "room"), rating=chat % 6 or None)
        )
    await outbox.settle(await claim_one(outbox), DELIVERED)
    await outbox.settle(await claim_one(outbox), TRY_LATER)
    await outbox.settle(await claim_one(outbox), ended(Ending.REFUSED, State.FAILED))
    await claim_one(outbox)
    await outbox.close_gate("room", Gate(later(minutes=5), NOON, "410 – pryč \U0001f44b"))
    await outbox.keep_aside(b"\x00\xff no chat", "not JSON", NOON)
    await outbox.close()
    return path


@pytest.fixture
def url(cluster: PostgresCluster) -> str:
    return cluster.url(cluster.new_database())


def move(file: Path, url: str, **variables: str) -> Result:
    arguments = ["move", "--from", f"sqlite:///{file}", *(["--to", url] if url else [])]
    return CliRunner(env=variables).invoke(main, arguments)


async def test_what_was_moved_goes_on_where_it_stood(file: Path, url: str) -> None:
    moved = move(file, url)
    assert moved.exit_code == 0, moved.output
    outbox = await Outbox.open(server(url), now=utc_now())
    assert (await outbox.gates())["room"].reason == "410 – pryč \U0001f44b"
    summary = await outbox.summary()
    assert (summary.queued, summary.sending) == ({"desk": CHATS - 2, "room": CHATS}, 0)
    assert (summary.troubled, summary.set_aside) == ({State.FAILED: 1}, 1)
    assert not (await outbox.accept(a_new_hook(7, destinations=("desk", "room"), rating=1))).new
    assert (await outbox.accept(a_new_hook(CHATS + 1))).new  # its number is free
    claim = await outbox.claim("desk", now=later(seconds=40), lease=LEASE, limit=200)
    assert {delivery.attempt for delivery in claim.deliveries} == {1, 2}
    await outbox.close()


async def test_counts_and_digests_are_told_and_the_file_is_put_aside(file: Path, url: str) -> None:
    told = move(file, url).output
    assert re.search(rf"^deliveries +{2 * CHATS} rows  sha256 [0-9a-f]{{16}}$", told, re.MULTILINE)
    assert not file.exists()
    aside = file.with_name("relay.db.moved")
    assert f"The file is kept as {aside}." in told
    assert rows(aside, "SELECT count(*) FROM deliveries") == [(2 * CHATS,)]


async def test_a_relay_whose_settings_still_name_the_file_does_not_begin_a_new_one(
    file: Path, url: str
) -> None:
    """Its rules and its token are the old ones: it would take hooks, and forget that they were told of."""
    move(file, url)
    aside = file.with_name("relay.db.moved")
    with pytest.raises(StorageRefused) as refused:
        await Outbox.open(file, now=NOON)
    assert str(refused.value) == (
        f"{file} was moved to a database server; set RELAY_DATABASE to that server. To begin with an empty file, "
        f"take {aside} away"
    )
    assert not file.exists()
    said = await command({"RELAY_DATABASE": f"sqlite:///{file}"}, "deliveries")
    assert (said.status, said.err) == (2, f"{refused.value}\n")
    aside.rename(file)  # the way back
    outbox = await Outbox.open(file, now=NOON)
    await outbox.close()


async def test_a_move_that_was_done_can_be_asked_for_again(file: Path, url: str) -> None:
    first = move(file, url)
    file.with_name("relay.db.moved").rename(file)
    again = move(file, url)
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert "Everything was there already" in again.output


async def test_a_server_that_holds_other_chats_is_left_alone(file: Path, url: str) -> None:
    outbox = await Outbox.open(server(url), now=NOON)
    await outbox.accept(a_new_hook(1))
    await outbox.close()
    moved = move(file, url)
    assert moved.exit_code == 2
    assert "nothing was moved" in moved.stderr
    assert f"chats: {CHATS} rows in the file, 1 there" in moved.stderr
    assert file.exists()


async def test_a_relay_that_still_runs_is_told_to_stop(file: Path, url: str) -> None:
    outbox = await Outbox.open(file, now=NOON)
    moved = move(file, url)
    await outbox.close()
    assert moved.exit_code == 2
    assert "is in use by another relay" in moved.stderr


async def test_a_server_that_fails_in_the_middle_keeps_nothing(
    file: Path, url: str, cluster: PostgresCluster
) -> None:
    name = url.rpartition("/")[2]
    await (await Outbox.open(server(url), now=NOON)).close()
    with cluster.admin(name) as admin:
        admin.execute("ALTER TABLE attempts ADD CHECK (number < 1)")
    moved = move(file, url)
    assert moved.exit_code == 2
    assert "nothing was moved" in moved.stderr
    assert cluster.rows(name, "SELECT count(*) FROM chats") == [(0,)]
    assert file.exists()


def moving(file: Path, url: str, **more: Any) -> "subprocess.Popen[bytes]":
    """In a process of its own."""
    command = [sys.executable, "-m", "relay", "move", "--from", f"sqlite:///{file}", "--to", url]
    return subprocess.Popen(command, **more)


async def test_a_move_that_is_killed_in_the_middle_is_made_again_from_the_start(
    file: Path, url: str, cluster: PostgresCluster
) -> None:
    name = url.rpartition("/")[2]
    await (await Outbox.open(server(url), now=NOON)).close()
    with cluster.admin(name) as admin, admin.transaction():
        admin.execute("LOCK TABLE attempts")  # the last to be moved
        process = moving(file, url)
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
        )
        while cluster.rows(name, f"{waits} '{name}'") == [(0,)]:
            assert process.poll() is None
        process.kill()
        await asyncio.to_thread(process.wait)
    assert file.exists()
    assert cluster.rows(name, "SELECT count(*) FROM chats") == [(0,)]
    again = move(file, url)
    assert (again.exit_code, "Everything is there now" in again.output) == (0, True)


async def test_a_move_that_was_killed_before_it_put_the_file_aside_is_ended_by_asking_again(
    file: Path, url: str
) -> None:
    target = server(url)
    await asyncio.to_thread(carry, file, target, now=NOON, progress=lambda _: None)
    assert file.exists()
    again = move(file, url)
    assert (again.exit_code, "Everything was there already" in again.output) == (0, True)
    assert not file.exists()


async def test_on_a_terminal_it_says_how_far_it_is(file: Path, url: str) -> None:
    ours, its = pty.openpty()
    process = moving(file, url, stderr=its, stdout=subprocess.PIPE)
    os.close(its)
    shown = b""
    with contextlib.suppress(OSError):  # what Linux says when the other end is closed
        while more := await asyncio.to_thread(os.read, ours, 4096):
            shown += more
    os.close(ours)
    told = (await asyncio.to_thread(process.communicate))[0]
    assert b"moving " in shown
    assert b"100%" in shown
    assert b"Everything is there now" in told


def test_the_server_may_be_named_by_the_settings(tmp_path: Path) -> None:
    moved = move(tmp_path / "nowhere.db", "", RELAY_DATABASE="postgresql://me:s3cret@127.0.0.1:1/x")
    assert (moved.exit_code, "s3cret" in moved.output) == (2, False)
    assert "there is no" in moved.stderr


@pytest.mark.parametrize("url", ["sqlite:///other.db", "mysql://x/y"])
def test_only_a_move_to_a_server_is_known(tmp_path: Path, url: str) -> None:
    moved = move(tmp_path / "relay.db", url)
    assert moved.exit_code == 2
    assert "postgresql://" in moved.stderr
