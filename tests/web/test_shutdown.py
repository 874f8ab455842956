"""The end of a relay: soon, in order, and without losing what it said yes to."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from relay.web.app import STOP_GRACE
from tests.builders import a_hook
from tests.running import (
    DEADLINE,
    RULES,
    TOKEN,
    RelayProcess,
    let_files_grow_to,
    relay_process,
    rows,
    settings,
)
from tests.servers import DROP, HANG, HttpServer, SmtpServer

pytestmark = pytest.mark.long

GRACE = 10.0
"""Seconds. Docker kills after these."""
DESK = """
    SELECT state, unsure, ending, attempts.detail
    FROM deliveries JOIN attempts ON delivery_id = deliveries.id WHERE destination = 'desk'
"""
PATH = f"/hooks/smartsupp/{TOKEN}"


async def ends_by_itself(relay: RelayProcess, number: signal.Signals = signal.SIGTERM) -> int:
    """The exit status after a signal; TimeoutExpired where it takes longer than the grace."""
    relay.process.send_signal(number)
    status = await asyncio.to_thread(relay.process.wait, GRACE)
    assert relay.process.stdout is not None
    relay.process.stdout.close()
    return status


def refused(**variables: str) -> str:
    """What a relay says that does not start."""
    started = subprocess.run(
        [sys.executable, "-m", "relay", "serve"],
        env=variables,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert started.returncode == 2
    assert started.stdout == ""
    return started.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_stuck_upload_does_not_hold_up_the_end(
    tmp_path: Path, number: signal.Signals
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored, by children too
    with relay_process(settings(tmp_path)) as relay:
        port = int(relay.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {PATH} HTTP/1.1\r\nHost: relay\r\nContent-Length: 99\r\n"
        writer.write(f'{head}Expect: 100-continue\r\n\r\n{{"acc'.encode())
        assert b"100" in await reader.readline()  # the body is being waited for
        assert await ends_by_itself(relay, number) == 0
        answer = await reader.read()
        writer.close()
    assert b"HTTP/1.1 503 " in answer
    assert b"the relay is shutting down" in answer
    assert rows(tmp_path / "relay.db", "SELECT count(*) FROM hooks") == [(0,)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_that_comes_while_it_starts_is_heeded(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Such as a wait of seconds for a program that holds the database."""
    with relay_process(settings(tmp_path)) as relay:
        assert relay.stop() == 0
    lock = tmp_path / "relay.db.lock"
    with contextlib.closing(sqlite3.connect(tmp_path / "relay.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        starting = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay", "serve"),
            env={**os.environ, **settings(tmp_path)},
            stdout=subprocess.PIPE,
        )
        while not lock.read_text(encoding="ascii").startswith(f"{starting.pid}\n"):
            assert starting.returncode is None
            await asyncio.sleep(0)
        starting.send_signal(number)
    said, _ = await asyncio.wait_for(starting.communicate(), GRACE)
    assert (starting.returncode, said) == (0, b"")


async def test_a_connection_kept_open_without_a_word_does_not_hold_up_the_end(
    tmp_path: Path,
) -> None:
    with relay_process(settings(tmp_path)) as relay:
        port = int(relay.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /hooks")
        await writer.drain()
        assert await ends_by_itself(relay) == 0
        writer.close()


async def test_a_second_signal_ends_it_at_once_and_writes_down_what_was_cut_off(
    tmp_path: Path,
) -> None:
    async with SmtpServer().at("body", HANG) as mail, HttpServer() as room:
        with relay_process(settings(tmp_path, smtp=mail.port, http=room.port)) as relay:
            await relay.post(a_hook(missed=True))
            await mail.until(lambda: len(mail.bodies) == 1)
            relay.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(aiohttp.ClientError):
                while True:  # it still listens: the first signal has not come through
                    await relay.post(a_hook(2))
            relay.process.send_signal(signal.SIGTERM)
            # Less than what is being sent would get by itself.
            assert await asyncio.to_thread(relay.process.wait, STOP_GRACE - 2) == 0
            assert relay.process.stdout is not None
            relay.process.stdout.close()
    ((state, _, ending, _),) = rows(tmp_path / "relay.db", DESK)
    assert (state, ending) == ("queued", "maybe delivered")


async def test_a_mail_without_an_answer_at_the_end_is_queued_again_and_may_have_arrived(
    tmp_path: Path,
) -> None:
    async with SmtpServer().at("body", HANG) as mail, HttpServer() as room:
        with relay_process(settings(tmp_path, smtp=mail.port, http=room.port)) as relay:
            assert (await relay.post(a_hook(missed=True))).status == 202
            await mail.until(lambda: len(mail.bodies) == 1)
            await room.received(1)
            assert await ends_by_itself(relay) == 0
        database = tmp_path / "relay.db"
        assert rows(database, DESK) == [
            ("queued", 1, "maybe delivered", "the relay was stopped before the answer")
        ]

        with relay_process(settings(tmp_path, smtp=mail.port, http=room.port)) as relay:
            await mail.received(1)
            assert await ends_by_itself(relay) == 0
        first, second = mail.bodies
        assert first == second
    assert [state for state, *_ in rows(database, DESK)] == ["delivered"] * 2  # of two attempts


async def test_a_full_disk_does_not_hold_up_the_end_and_what_could_not_be_written_is_sent_again(
    tmp_path: Path,
) -> None:
    """SD-02 and ST-04 at once: how the mail ended can't be written down before the end, nor after it."""
    async with SmtpServer().at("body", HANG) as mail:
        variables = settings(tmp_path, smtp=mail.port, rules=RULES.replace("[desk, room]", "desk"))
        with relay_process(variables) as relay:
            assert (await relay.post(a_hook(missed=True))).status == 202
            await mail.until(lambda: len(mail.bodies) == 1)
            let_files_grow_to(relay, (tmp_path / "relay.db-wal").stat().st_size)
            assert await ends_by_itself(relay) == 0
        with relay_process(variables) as relay:
            await mail.received(1)
            assert await ends_by_itself(relay) == 0
    assert [(state, ending) for state, _, ending, _ in rows(tmp_path / "relay.db", DESK)] == [
        ("delivered", "lost"),
        ("delivered", "delivered"),
    ]


async def post_until_the_end(
    relay: RelayProcess,
    client: aiohttp.ClientSession,
    sender: int,
    yes: set[str],
    more: asyncio.Event,
) -> None:
    for number in range(1_000_000):
        chat = sender * 1_000_000 + number
        try:
            async with client.post(relay.hook_url, data=a_hook(chat)) as answer:
                assert answer.status in {202, 503}
                if answer.status == 503:
                    return
                yes.add(str(chat))
        except aiohttp.ClientError:
            return
        finally:
            more.set()


async def test_hooks_that_come_while_it_ends_are_kept_or_refused_but_never_lost(
    tmp_path: Path,
) -> None:
    yes: set[str] = set()
    more = asyncio.Event()
    with relay_process(settings(tmp_path)) as relay:
        async with aiohttp.ClientSession() as client:
            senders = [
                asyncio.create_task(post_until_the_end(relay, client, sender, yes, more))
                for sender in range(4)
            ]
            while len(yes) < 40:
                more.clear()
                await more.wait()
            assert await ends_by_itself(relay) == 0
            await asyncio.gather(*senders)
    kept = {chat for (chat,) in rows(tmp_path / "relay.db", "SELECT chat FROM chats")}
    assert yes <= kept


async def test_what_is_under_way_at_the_end_is_finished_and_written_down(tmp_path: Path) -> None:
    async with SmtpServer() as mail, HttpServer(DROP) as room:
        with relay_process(settings(tmp_path, smtp=mail.port, http=room.port)) as relay:
            for chat in range(30):
                assert (await relay.post(a_hook(chat, missed=True))).status == 202
            assert await ends_by_itself(relay) == 0
    database = tmp_path / "relay.db"
    ((delivered,),) = rows(
        database,
        "SELECT count(*) FROM deliveries WHERE state = 'delivered' AND destination = 'desk'",
    )
    assert delivered == len(mail.mails)
    assert rows(database, "SELECT count(*) FROM deliveries WHERE state = 'sending'") == [(0,)]
    assert rows(database, "SELECT count(*) FROM attempts WHERE ending IS NULL") == [(0,)]
    assert rows(database, "SELECT count(*) FROM deliveries") == [(60,)]


async def test_a_second_relay_on_the_same_file_is_refused(tmp_path: Path) -> None:
    variables = settings(tmp_path)
    with relay_process(variables) as relay:
        said = refused(**variables)
        assert said == (
            "The relay can't start:\n"
            f"  {tmp_path}/relay.db is in use by another relay (process {relay.process.pid}); "
            "stop that one first\n"
        )
        assert (await relay.post(a_hook())).status == 202  # the first one goes on


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    async with HttpServer() as other:
        address = f"127.0.0.1:{other.port}"
        said = refused(**settings(tmp_path, RELAY_LISTEN=address))
    assert said == (
        f"The relay can't start:\n  RELAY_LISTEN: {address} can't be used: Address already in use\n"
    )
    assert not (tmp_path / "relay.db").exists()
