"""A database that an older relay has left: brought up to date by the first start, whatever happens to that start."""

import contextlib
import signal
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa
from alembic import command

from relay.crash_points import CrashPoint
from relay.outbox.delivery_types import to_ms
from relay.outbox.migrations import KNOWN
from relay.outbox.migrations.alembic_runner import _config
from relay.outbox.sqlite.sqlite_file import APPLICATION_ID
from tests.builders import a_hook
from tests.forks import ForkedRelay
from tests.postgres import PostgresCluster
from tests.running import DEADLINE, settings
from tests.servers import HttpServer, SmtpServer

pytestmark = pytest.mark.long

OLD = KNOWN[:-1]
"""Each schema that some relay out there may have left behind."""
UNDER_WAY: Mapping[int, tuple[str, str, tuple[str | None, ...]]] = {
    1: ("queued", "desk", ()),
    2: ("delivered", "desk", ("delivered",)),
    3: ("queued", "desk", ("later", "later")),
    4: ("sending", "desk", (None,)),
    5: ("failed", "desk", ("refused",)),
    6: ("queued", "room", ()),
}
"""Of each chat: its delivery's state, where it goes, and how its attempts ended. The room is broken."""
COUNTED = ("chats", "hooks", "hook_bodies", "deliveries", "attempts", "gates", "set_aside")


@dataclass(slots=True)
class Left:
    """An older relay's database, and how to look into it."""

    folder: Path
    url: str
    engine: sa.Engine
    revision: str
    mail: SmtpServer
    room: HttpServer

    @property
    def variables(self) -> dict[str, str]:
        mail, room = self.mail.port, self.room.port
        return settings(self.folder, smtp=mail, http=room, RELAY_DATABASE=self.url)

    def ask(self, question: str) -> list[Any]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(question))]

    def counts(self) -> dict[str, int]:
        counting = sa.select(sa.func.count())
        with self.engine.connect() as connection:
            return {
                name: connection.scalar(counting.select_from(sa.table(name))) or 0
                for name in COUNTED
            }

    def version(self) -> str:
        return str(self.ask("SELECT version_num FROM alembic_version")[0][0])


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.proof)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/relay.db"
    cluster: PostgresCluster = request.getfixturevalue("cluster")
    return cluster.url(cluster.new_database())


@pytest.fixture(params=OLD)
async def left(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> AsyncIterator[Left]:
    engine = sa.create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool
    )
    make(engine, request.param)
    async with SmtpServer() as mail, HttpServer() as room:
        yield Left(tmp_path, url, engine, request.param, mail, room)
    engine.dispose()


def make(engine: sa.Engine, revision: str) -> None:
    """As the relay of that time made and filled it."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA auto_vacuum = INCREMENTAL")
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.commit()
        command.upgrade(_config(connection), revision)
        connection.commit()
    tables = sa.MetaData()
    tables.reflect(engine)
    waits = "owed" if revision < "0005" else "queued"
    with engine.begin() as connection:
        for chat, (state, destination, endings) in UNDER_WAY.items():
            as_then = waits if state == "queued" else state
            for table, row in rows_of(chat, as_then, destination, endings):
                if revision >= "0006" and "digest" in row:
                    row["body_hash"] = row.pop("digest")
                connection.execute(sa.insert(tables.tables[table]).values(row))


def rows_of(
    chat: int, state: str, destination: str, endings: Sequence[str | None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of the first schema: later ones have added to it."""
    at = to_ms(datetime.now(UTC))
    body = a_hook(chat, missed=True, visitor={"name": f"Visitor {chat}"})
    tried = len(endings)
    of_chat = {"account": "208", "chat": str(chat), "first_seen": at, "last_seen": at}
    yield "chats", {**of_chat, "visitor": f"Visitor {chat}", "missed": True}
    of_hook = {"chat_id": chat, "digest": bytes([chat] * 32), "received_at": at}
    yield "hooks", {**of_hook, "rules_hash": "abc", "trouble": ""}
    packed = {"body": zlib.compress(body), "verdicts": zlib.compress(b"")}
    yield "hook_bodies", {"hook_id": chat, **packed}
    of_delivery = {"chat_id": chat, "hook_id": chat, "rule": "Missed chats", "template": "missed"}
    recipient = "desk@example.com" if destination == "desk" else destination
    where = {"destination": destination, "recipient": recipient, "detail": "", "receipt": ""}
    lease = {"lease_until": at if state == "sending" else None}
    when = {
        **lease,
        "state": state,
        "created_at": at,
        "due_at": at,
        "attempts": tried,
        "short": False,
    }
    trouble = {"failures": endings.count("later"), "unsure": 0, "suspect": False, "lost": 0}
    names = {"message_id": f"{chat}@example.org"}
    yield "deliveries", {**names, **of_delivery, **where, **when, **trouble}
    for number, ending in enumerate(endings, 1):
        ended = {"started_at": at, "ended_at": at if ending else None, "ending": ending}
        yield "attempts", {"delivery_id": chat, "number": number, "detail": "", **ended}
    aside = {"received_at": at, "digest": bytes([chat]), "reason": "no JSON", "body": b""}
    yield "set_aside", aside
    closed = {"closed_until": at, "broken_since": at, "reason": "away"}
    yield "gates", {"destination": "room" if destination == "room" else f"{chat}", **closed}


@contextlib.asynccontextmanager
async def started(
    left: Left, at: CrashPoint | None = None
) -> AsyncIterator[tuple[ForkedRelay, str]]:
    relay = ForkedRelay(left.variables, at)
    try:
        yield relay, await relay.url()
    finally:
        relay.close()


async def goes_on(left: Left) -> None:
    """All is there, what was queued is sent as the message that it was, and hooks are taken."""
    async with started(left) as (relay, url), aiohttp.ClientSession() as client:
        assert url
        mails = await left.mail.received(3)
        assert sorted(str(mail.message["Message-ID"]) for mail in mails) == [
            "<1@example.org>",
            "<3@example.org>",
            "<4@example.org>",
        ]
        await left.room.received(1)
        hook = f"{url}/hooks/smartsupp/{left.variables['RELAY_HOOK_TOKENS']}"
        async with client.post(hook, data=a_hook(9)) as answer:
            assert answer.status == 202
        assert await relay.stop() == 0
    assert left.version() == KNOWN[-1]
    assert left.ask("SELECT attempts, state FROM deliveries ORDER BY id") == [
        (1, "delivered"),
        (1, "delivered"),
        (3, "delivered"),
        (2, "delivered"),
        (1, "failed"),
        (1, "delivered"),
    ]
    assert left.ask("SELECT count(*) FROM gates WHERE destination = 'room'") == [(0,)]


async def test_an_older_relays_work_is_gone_on_with(left: Left) -> None:
    """UP-01, UP-05."""
    before = left.counts()
    await goes_on(left)
    added = {"chats": 1, "hooks": 1, "hook_bodies": 1, "deliveries": 0, "attempts": 4, "gates": -1}
    assert left.counts() == {name: count + added.get(name, 0) for name, count in before.items()}


async def test_a_kill_in_the_middle_of_an_upgrade_leaves_what_was_and_the_next_start_does_it(
    left: Left,
) -> None:
    """UP-02: all steps are one transaction, which is as far as it can be when the relay dies."""
    before = left.counts()
    async with started(left, CrashPoint.MIGRATED) as (dying, url):
        assert url == ""
        assert await dying.end() == -signal.SIGKILL
    assert (left.version(), left.counts()) == (left.revision, before)
    await goes_on(left)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_disk_that_is_full_at_an_upgrade_is_said_and_leaves_what_was(left: Left) -> None:
    """UP-04."""
    before = left.counts()
    done = subprocess.run(
        # -B: or Python leaves its own files half written, and no test after this one starts.
        ["prlimit", "--fsize=4096", sys.executable, "-B", "-m", "relay", "serve"],
        env=left.variables,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 2, done.stderr
    assert "The relay can't start:" in done.stderr
    assert "is the disk full?" in done.stderr
    assert (left.version(), left.counts()) == (left.revision, before)
    await goes_on(left)
