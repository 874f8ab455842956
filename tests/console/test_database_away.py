"""Trouble below: pages answer with the reason and what is known, and all is well again by itself."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.console.reading import Read
from tests.console.visiting import PASSWORD, Got, Visitor, signed_in
from tests.postgres import postgres_cluster
from tests.running import running_relay

RULES = """\
destinations:
  desk: {email: {to: desk@example.com}}
rules:
  - {name: Missed, when: {missed: true}, send_to: desk}
"""


def told(got: Got, status: int, *words: str) -> None:
    page = Read(got.text)
    assert (got.status, page.wrong) == (status, [])
    for each in words:
        assert each in page.text, page.text


async def until_well(visitor: Visitor, path: str) -> Got:
    while (got := await visitor.get(path)).status != 200:
        await visitor.get("/healthz")
    return got


async def test_a_database_that_was_moved_away_is_told_of_with_what_is_known(
    tmp_path: Path,
) -> None:
    async with running_relay(tmp_path, rules=RULES, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        visitor = await signed_in(relay)
        form = {"token": await visitor.token(), "rule": "Missed", "until": "1h", "because": "x"}
        file, away = tmp_path / "relay.db", tmp_path / "away.db"
        file.rename(away)
        why = "the database file was moved, deleted or replaced"
        for path in ("/chats", "/deliveries", "/destinations", "/mutes", "/chats/1", "/me"):
            told(await visitor.get(path), 503, why, "What is known without it")
        told(await visitor.get("/health"), 200, why, "desk works", "Rules file")
        told(await visitor.post("/mutes", None, **form), 503, why, "Nothing that you sent")
        edited = {"token": form["token"], "act": "publish", "text": "an hour of work"}
        told(await visitor.post("/rules/edit", None, **edited), 503, why, "an hour of work")
        stranger = await Visitor(relay, cookie="x" * 43).get("/health")
        assert stranger.status == 503
        assert "moved" not in stranger.text
        away.rename(file)
        await until_well(visitor, "/chats")
        told(await until_well(visitor, "/health"), 200)


@pytest.mark.long  # waits for a lock as long as somebody would
async def test_a_locked_database_is_read_and_says_that_it_is_locked(tmp_path: Path) -> None:
    async with running_relay(tmp_path, rules=RULES, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        assert (await relay.post(a_hook(1, missed=True))).status == 202
        visitor = await signed_in(relay)
        form = {"token": await visitor.token(), "rule": "Missed", "until": "1h", "because": "x"}
        with contextlib.closing(sqlite3.connect(tmp_path / "relay.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            for path in ("/chats", "/chats/1", "/deliveries", "/destinations", "/health"):
                told(await visitor.get(path), 200)
            told(await visitor.post("/mutes", None, **form), 503, "locked", "Nothing that you sent")
            other.rollback()
        assert (await visitor.post("/mutes", None, **form)).status == 303


@pytest.mark.long  # a server of its own, which is stopped
async def test_a_stopped_server_is_told_of_until_it_is_back(tmp_path: Path) -> None:
    with postgres_cluster() as server:
        url = server.url(server.new_database(with_tables=True))
        async with running_relay(
            tmp_path, rules=RULES, RELAY_DATABASE=url, RELAY_CONSOLE_PASSWORD=PASSWORD
        ) as relay:
            visitor = await signed_in(relay)
            await visitor.get("/chats")
            server.stop()
            told(await visitor.get("/chats"), 503, "connection failed")
            told(await visitor.get("/health"), 200, "desk works")
            server.start()
            await until_well(visitor, "/chats")
