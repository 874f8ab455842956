"""A whole relay for a test: in this process, or in one of its own that can be killed."""

import asyncio
import contextlib
import io
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import aiohttp
import psycopg

from relay.clock import Clock, Rest, pause, utc_now
from relay.console import console_of
from relay.web.app import Deadlines
from relay.web.server import run_relay
from tests import servers
from tests.forks import ForkedServe
from tests.postgres import set_clock_ahead

STORE = "RELAY_TEST_STORE"
"""Names the database of the next relays (tests/conftest.py, `each_store`); else each has a file in its folder."""
TOKEN = "a-token-for-tests-0123456789"
DEADLINE = servers.DEADLINE
OFTEN = timedelta(milliseconds=20)
"""Between two looks of a relay that need not spare the processor."""
PATIENT = Deadlines(headers=DEADLINE, body=DEADLINE)
WAITING = """
    SELECT state, count(*) FROM deliveries WHERE state IN ('queued', 'sending') GROUP BY state
"""

RULES = """\
destinations:
  desk: {email: {to: desk@example.com}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
rules:
  - name: Missed chats
    when: {missed: true}
    send_to: [desk, room]
    template: missed
"""


def settings(
    folder: Path, *, rules: str = RULES, smtp: int = 9, http: int = 9, **more: str
) -> dict[str, str]:
    """The environment of a relay whose files are in `folder` and whose servers are on these ports."""
    (folder / "rules.yaml").write_text(rules, encoding="utf-8")
    return {
        "RELAY_RULES": str(folder / "rules.yaml"),
        "RELAY_DATABASE": os.environ.get(STORE) or f"sqlite:///{folder}/relay.db",
        "RELAY_LISTEN": "127.0.0.1:0",
        "RELAY_HOOK_TOKENS": TOKEN,
        "RELAY_SMTP_URL": f"smtp://127.0.0.1:{smtp}",
        "RELAY_MAIL_FROM": "Relay <relay@example.org>",
        "RELAY_ALLOW_PRIVATE_WEBHOOKS": "yes",
        "ROOM_WEBHOOK": f"http://127.0.0.1:{http}/services/T/B/X",
        **more,
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered with."""

    status: int
    json: Any
    headers: Mapping[str, str]


@dataclass(slots=True)
class RunningRelay:
    """A relay in this process."""

    url: str
    folder: Path
    client: aiohttp.ClientSession
    database: str
    """Its URL."""
    clock: Clock = utc_now

    @property
    def hook_url(self) -> str:
        return f"{self.url}/hooks/smartsupp/{TOKEN}"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def post(self, body: bytes, **more: Any) -> Answer:
        # As a file: aiohttp warns of large bytes.
        return await self.ask("POST", self.hook_url, data=io.BytesIO(body), **more)

    async def ask(self, method: str, url: str, **more: Any) -> Answer:
        """`url` may be a path."""
        url = url if url.startswith("http") else self.url + url
        async with self.client.request(method, url, **more) as answer:
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, await answer.json() if is_json else None, answer.headers)

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        if self.database.startswith("sqlite:"):
            return rows(self.folder / "relay.db", question)
        with psycopg.connect(self.database) as beside:
            return beside.execute(question.encode()).fetchall()

    def change(self, statement: str, *values: object) -> None:
        """Beside the relay. `?` stands for a value."""
        if self.database.startswith("sqlite:"):
            with contextlib.closing(sqlite3.connect(self.folder / "relay.db")) as file, file:
                file.execute(statement, values)
        else:
            rows_of = re.match(r"(?:UPDATE|INSERT INTO|DELETE FROM) (\w+)", statement)
            with psycopg.connect(self.database) as beside:
                if rows_of:  # else row by row, which may be a deadlock with what the relay changes
                    beside.execute(f"LOCK TABLE {rows_of[1]} IN EXCLUSIVE MODE".encode())
                beside.execute(statement.replace("?", "%s").encode(), values)

    async def ready(self) -> Any:
        """What `/readyz` says."""
        return (await self.ask("GET", "/readyz")).json

    async def until_still(self, *, queued: int = 0) -> None:
        """Waits until nothing is being sent, and so many deliveries wait for something else than their turn."""
        await self.until(WAITING, *[("queued", queued)][: bool(queued)])

    async def forward(self, *, queued: int = 0, **duration: float) -> None:
        """Moves its clock as `MovableClock.forward` does, once `until_still`.

        An attempt that had just begun would lose its lease, and a delivery that is to be sent at once would be late.
        """
        assert isinstance(self.clock, MovableClock)
        await self.until_still(queued=queued)
        self.clock.forward(**duration)

    async def until(self, question: str, *expected: tuple[Any, ...]) -> None:
        """Waits until the database answers so. It is asked between requests: the relay works meanwhile."""
        found: list[tuple[Any, ...]] = []
        try:
            async with asyncio.timeout(DEADLINE):
                while (found := self.rows(question)) != list(expected):
                    await self.ask("GET", "/healthz")
        except TimeoutError:
            raise AssertionError(f"{question}\n{found}\nand not\n{list(expected)}") from None


def rows(database: Path, question: str) -> list[tuple[Any, ...]]:
    """What the database holds, read beside the relay."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return connection.execute(question).fetchall()
    finally:
        connection.close()


class MovableClock:
    """The system's time, and so much later as a test says."""

    def __init__(self, **ahead: float) -> None:
        self._ahead = timedelta(**ahead)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def forward(self, **duration: float) -> None:
        """A lane that rests notices when the next hook wakes it."""
        self._ahead += timedelta(**duration)


class ClockAt(MovableClock):
    """It shows a moment, and goes on from there; so does the clock of the server that the relay's database is on."""

    def __init__(self, moment: datetime) -> None:
        super().__init__()
        self.set(moment)

    def set(self, moment: datetime) -> None:
        self._ahead = moment - datetime.now(UTC)
        self._set_server()

    def forward(self, **duration: float) -> None:
        super().forward(**duration)
        self._set_server()

    def _set_server(self) -> None:
        if server := os.environ.get(STORE):
            set_clock_ahead(server, self._ahead)


def new_client() -> aiohttp.ClientSession:
    """Its connections that rest are closed sooner than the relay closes them, or a POST could meet the end of one."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(keepalive_timeout=1))


@contextlib.asynccontextmanager
async def running_relay(
    folder: Path,
    *,
    deadlines: Deadlines = PATIENT,
    between_looks: timedelta | None = None,
    clock: Clock = utc_now,
    rest: Rest = pause,
    **more: Any,
) -> AsyncIterator[RunningRelay]:
    """Started, taking hooks, and stopped in order at the end. `more` as for `settings`."""
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stopping = asyncio.Event()
    variables = settings(folder, **more)

    async def ready(url: str) -> None:
        started.set_result(url)

    relay = asyncio.create_task(
        run_relay(
            variables,
            started=ready,
            stopping=stopping,
            pages=console_of,
            deadlines=deadlines,
            between_looks=between_looks,
            clock=clock,
            rest=rest,
        )
    )
    relay.add_done_callback(lambda _: started.done() or started.cancel())
    await asyncio.wait([started])
    if relay.done():
        relay.result()
    async with new_client() as client:
        try:
            yield RunningRelay(started.result(), folder, client, variables["RELAY_DATABASE"], clock)
        finally:
            stopping.set()
            await asyncio.wait_for(relay, DEADLINE)


class RelayProcess:
    """A relay in a process of its own, started again and again on the same folder."""

    def __init__(
        self,
        variables: Mapping[str, str],
        *prefix: str,
        log: Path = Path(os.devnull),
        is_forked: bool = False,
    ) -> None:
        """`prefix`: a command that runs it, such as strace; `log`: where its stderr goes.

        `is_forked`: from a process that has imported everything, which spares each start a second of computing.
        """
        self._is_forked = is_forked
        self._variables = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
        self._command = [*prefix, sys.executable, "-m", "relay", "serve"]
        self._log = log
        self._process: subprocess.Popen[str] | ForkedServe | None = None
        self.url = ""

    def start(self) -> Self:
        """Returns when hooks are taken."""
        self._process = (
            ForkedServe(self._variables, self._log) if self._is_forked else self._popen()
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "takes hooks at" in line, f"it did not start: {line!r}"
        self.url = line.split("takes hooks at ")[1].split("/hooks/")[0]
        return self

    def _popen(self) -> "subprocess.Popen[str]":
        with self._log.open("a") as log:
            return subprocess.Popen(
                self._command, env=self._variables, stdout=subprocess.PIPE, stderr=log, text=True
            )

    @property
    def process(self) -> "subprocess.Popen[str] | ForkedServe":
        assert self._process is not None
        return self._process

    @property
    def hook_url(self) -> str:
        return f"{self.url}/hooks/smartsupp/{TOKEN}"

    async def post(self, body: bytes) -> Answer:
        async with (
            aiohttp.ClientSession() as client,
            client.post(self.hook_url, data=io.BytesIO(body)) as answer,
        ):
            return Answer(answer.status, await answer.json(), answer.headers)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        status = self.process.wait(DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@contextlib.contextmanager
def relay_process(
    variables: Mapping[str, str],
    *prefix: str,
    log: Path = Path(os.devnull),
    is_forked: bool = False,
) -> Iterator[RelayProcess]:
    """Started; killed at the end if it still runs."""
    relay = RelayProcess(variables, *prefix, log=log, is_forked=is_forked).start()
    try:
        yield relay
    finally:
        if relay.process.poll() is None:
            relay.kill()


def let_files_grow_to(relay: RelayProcess, size: int) -> None:
    """A full disk for this process alone: what goes beyond fails, as it does with ENOSPC."""
    resource.prlimit(relay.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
