"""The relay dies at each of its crash points, is started again, and nothing is lost, told twice or miscounted."""

import contextlib
import hashlib
import itertools
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relay.crash_points import CrashPoint
from relay.outbox.leases import MOST_LOST
from tests.builders import a_hook
from tests.cli.commands import relay as relay_command
from tests.console.visiting import PASSWORD, Visitor
from tests.forks import ForkedRelay
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.postgres import PostgresCluster
from tests.running import TOKEN, RunningRelay, new_client, rows, settings
from tests.servers import HttpAnswer

pytestmark = pytest.mark.long

RULES = """\
destinations:
  desk: {email: {to: desk@example.com}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
rules:
  - name: Missed chats
    when: {missed: true}
    send_to: desk
    template: missed
  - name: Offline messages
    when: {offline: true}
    send_to: room
    template: offline
"""


class InFile:
    """An SQLite file, looked into beside the relay."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "relay.db"
        self.url = f"sqlite:///{self._path}"

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        return rows(self._path, question)

    def change(self, statement: str) -> None:
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.execute(statement)


class OnServer:
    """A database on a PostgreSQL server."""

    def __init__(self, cluster: PostgresCluster) -> None:
        self._cluster = cluster
        self._name = cluster.new_database()
        self.url = cluster.url(self._name)

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        return self._cluster.rows(self._name, question)

    def change(self, statement: str) -> None:
        with self._cluster.admin(self._name) as connection:
            connection.execute(statement.encode())


@dataclass(slots=True)
class Installation:
    """Servers, a database, and one relay after the other."""

    ends: ReceivingServers
    variables: Mapping[str, str]
    place: InFile | OnServer
    client: aiohttp.ClientSession

    @contextlib.asynccontextmanager
    async def relay(self, at: CrashPoint | None = None) -> AsyncIterator["Running"]:
        forked = ForkedRelay(self.variables, at)
        try:
            yield Running(forked, await forked.url(), self.client, self.place.ask)
        finally:
            forked.close()

    @contextlib.asynccontextmanager
    async def next_relay(self, at: CrashPoint | None = None) -> AsyncIterator["Running"]:
        """After one that died. On a server its leases go on, for it may only be slow: they are let end."""
        self.place.change("UPDATE deliveries SET lease_until = 0 WHERE state = 'sending'")
        async with self.relay(at) as running:
            yield running

    def mails(self) -> list[int]:
        """How often each message came."""
        return list(Counter(mail.message["Message-ID"] for mail in self.ends.mail.mails).values())

    def tries(self) -> list[tuple[int, str]]:
        """All attempts, each ended, as they are numbered."""
        assert self.place.ask("SELECT attempts FROM deliveries") == self.place.ask(
            "SELECT count(*) FROM attempts GROUP BY delivery_id"
        )
        return [
            (number, ending)
            for number, ending in self.place.ask("SELECT number, ending FROM attempts ORDER BY 1")
        ]


@dataclass(slots=True)
class Running:
    """A relay that takes hooks, unless it has died at its start."""

    forked: ForkedRelay
    url: str
    client: aiohttp.ClientSession
    ask: Callable[[str], list[tuple[Any, ...]]]

    async def post(self, body: bytes) -> int:
        """The status; 0 where it died before it answered."""
        with contextlib.suppress(aiohttp.ClientError):
            url = f"{self.url}/hooks/smartsupp/{TOKEN}"
            async with self.client.post(url, data=body) as answer:
                await answer.read()
                return answer.status
        return 0

    async def first_lost(self) -> bytes:
        """Posts missed chats, each a new one, until the relay dies; returns the one that got no answer."""
        for chat in itertools.count(1):
            if not await self.post(a_hook(chat, missed=True)):
                break
        return a_hook(chat, missed=True)

    async def dies(self) -> None:
        assert await self.forked.end() == -signal.SIGKILL

    async def until(self, question: str, *expected: tuple[Any, ...]) -> None:
        """It is asked between requests, so that it works meanwhile."""
        while self.ask(question) != list(expected):
            async with self.client.get(f"{self.url}/healthz") as answer:
                assert answer.status == 200

    async def tells_all(self) -> None:
        """Stopped in order, once nothing is queued."""
        await self.until("SELECT state FROM deliveries WHERE state IN ('queued', 'sending')")
        assert await self.forked.stop() == 0


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.proof)])
async def here(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Installation]:
    place = (
        InFile(tmp_path)
        if request.param == "sqlite"
        else OnServer(request.getfixturevalue("cluster"))
    )
    async with ReceivingServers() as ends, new_client() as client:
        variables = settings(tmp_path, rules=RULES, **ends.settings, RELAY_DATABASE=place.url)
        yield Installation(ends, variables, place, client)


MISSED, OFFLINE = a_hook(1, missed=True), a_hook(1, offline=True)


async def at_the_start(here: Installation, point: CrashPoint) -> None:
    """Of an installation that is new."""
    async with here.relay(point) as dying:
        await dying.dies()
        assert dying.url == ""
    async with here.relay() as relay:
        assert await relay.post(MISSED) == 202
        await relay.tells_all()
    assert here.mails() == [1]


async def at_accepting(here: Installation, point: CrashPoint) -> None:
    """What was committed is known when the sender, who got no answer, posts it again."""
    async with here.relay(point) as dying:
        answered = await dying.post(MISSED)
        assert answered in ({0, 202} if point is CrashPoint.ANSWERED else {0})
        await dying.dies()
    is_kept = point in {CrashPoint.ACCEPTED, CrashPoint.ANSWERED}
    async with here.next_relay() as relay:
        assert await relay.post(MISSED) == (200 if is_kept else 202)
        await relay.tells_all()
    # After its answer nothing holds up the sending, which may have come to its end too.
    assert here.mails() in ([[1], [2]] if point is CrashPoint.ANSWERED else [[1]])
    assert len(here.tries()) >= here.mails()[0]


async def at_claiming_at_once(here: Installation, point: CrashPoint) -> None:
    """Only a lane that has looked at what was left to it claims so: the first hooks may come too early."""
    async with here.relay(point) as dying:
        lost = await dying.first_lost()
        await dying.dies()
    async with here.next_relay() as relay:
        assert await relay.post(lost) == (200 if point is CrashPoint.CLAIMED_AT_ONCE else 202)
        await relay.tells_all()
    assert set(here.mails()) <= {1, 2}  # those before it may have been under way
    (tries,) = here.place.ask("SELECT attempts FROM deliveries ORDER BY id DESC LIMIT 1")
    assert tries == (2 if point is CrashPoint.CLAIMED_AT_ONCE else 1,)


async def at_setting_aside(here: Installation, point: CrashPoint) -> None:
    async with here.relay(point) as dying:
        assert await dying.post(b"no chat") == 0
        await dying.dies()
    kept = [(int(point is CrashPoint.SET_ASIDE),)]
    assert here.place.ask("SELECT count(*) FROM set_aside") == kept
    async with here.relay() as relay:
        assert await relay.post(b"no chat") == 400
        assert await relay.post(MISSED) == 202
        await relay.tells_all()
    assert here.place.ask("SELECT count(*) FROM set_aside") == [(1,)]


TOLD_ALREADY = {
    CrashPoint.SENT,
    CrashPoint.DECIDED,
    CrashPoint.ATTEMPT_ENDED,
    CrashPoint.SETTLING,
}
"""The server has it, and the relay has not written down that it has."""
NOTHING_BEGUN = {CrashPoint.LEASED, CrashPoint.CLAIMING}


async def at_an_attempt(here: Installation, point: CrashPoint) -> None:
    """At most one copy, and it is the same message; every attempt that was begun is counted."""
    async with here.relay(point) as dying:
        # Of a chat that is known: what is queued for a new one may be claimed as it is kept.
        assert await dying.post(a_hook(1)) == 202
        await dying.post(MISSED)
        await dying.dies()
    async with here.next_relay() as relay:
        assert await relay.post(MISSED) == 200
        await relay.tells_all()
    assert here.mails() == ([2] if point in TOLD_ALREADY else [1])
    if point in NOTHING_BEGUN or point is CrashPoint.SETTLED:
        assert here.tries() == [(1, "delivered")]
    else:
        assert here.tries() == [(1, "lost"), (2, "delivered")]


async def at_taking_up(here: Installation, point: CrashPoint) -> None:
    """What a dead relay held is given back once, however often the next ones die at it."""
    async with here.relay(CrashPoint.RENDERED) as dying:
        await dying.post(MISSED)
        await dying.dies()
    async with here.next_relay(point) as dying:
        await dying.dies()
    lost = "queued" if point is CrashPoint.TAKEN_UP else "sending"
    assert here.place.ask("SELECT state, lost FROM deliveries") == [(lost, 0)]
    async with here.next_relay() as relay:
        await relay.tells_all()
    assert here.mails() == [1]
    assert here.tries() == [(1, "lost"), (2, "delivered")]


async def at_closing_a_gate(here: Installation, point: CrashPoint) -> None:
    """The attempt was settled before: what is not known any more is only how long to wait."""
    here.ends.at(ROOM, HttpAnswer(status=429, body="", headers={"Retry-After": "1"}))
    async with here.relay(point) as dying:
        await dying.post(OFFLINE)
        await dying.dies()
    closed = [(int(point is CrashPoint.GATE_CLOSED),)]
    assert here.place.ask("SELECT count(*) FROM gates") == closed
    async with here.next_relay() as relay:
        await relay.tells_all()
    assert len(here.ends.posts(ROOM)) == 2  # one of which was refused
    assert here.tries() == [(1, "rate limited"), (2, "delivered")]


async def at_opening_a_gate(here: Installation, point: CrashPoint) -> None:
    """A destination that was broken: the next delivery finds out that it works."""
    here.ends.at(ROOM, HttpAnswer(status=410, body="no_service"))
    async with here.relay() as relay:
        await relay.post(OFFLINE)
        await relay.until("SELECT count(*) FROM gates", (1,))
        assert await relay.forked.stop() == 0
    async with here.relay(point) as dying:
        await dying.dies()
    async with here.next_relay() as relay:
        assert await relay.post(a_hook(2, offline=True)) == 202
        await relay.until("SELECT count(*) FROM gates", (0,))
        await relay.tells_all()
    assert len(here.ends.posts(ROOM)) == 3  # the first of which was refused


async def at_erasing(here: Installation, point: CrashPoint) -> None:
    """The next relay erases what is left; what is not a year old stays."""
    async with here.relay() as relay:
        assert await relay.post(MISSED) == 202
        await relay.tells_all()
    here.place.change(
        "UPDATE chats SET first_seen = first_seen - 31622400000, last_seen = last_seen - 31622400000"
    )
    async with here.relay(point) as dying:
        await dying.dies()
    async with here.relay() as relay:
        assert await relay.post(a_hook(2, missed=True)) == 202
        await relay.until("SELECT count(*) FROM hook_bodies", (1,))
        await relay.tells_all()
    assert here.place.ask("SELECT chat FROM chats") == [("2",)]
    assert here.mails() == [1, 1]


async def at_the_end_of_a_pause(here: Installation, point: CrashPoint) -> None:
    """What waited for it is sent once, whoever writes down that it is over."""
    async with here.relay() as relay:
        await relay.tells_all()
    here.place.change(
        "INSERT INTO gates (destination, closed_until, reason, paused_by, paused_until, because) "
        "VALUES ('desk', 0, '', 'Anna', 1, 'demo')"
    )
    async with here.relay(point) as dying:
        await dying.dies()
    is_over = point is CrashPoint.PAUSE_OVER
    assert here.place.ask("SELECT count(*) FROM gates") == [(0 if is_over else 1,)]
    async with here.relay() as relay:
        assert await relay.post(MISSED) == 202
        await relay.until("SELECT count(*) FROM gates", (0,))
        await relay.tells_all()
    assert here.mails() == [1]


MUTES = """\
mutes:
  - because: Warehouse move
    by: Anna
    from: 2020-01-01 08:00
    until: 2099-01-01 08:00
    what: {rule: Missed chats}
"""


async def at_a_mute(here: Installation, point: CrashPoint) -> None:
    """A mute of the rules file is begun and ended whole; what it held back is sent once."""
    file, ends = Path(here.variables["RELAY_RULES"]), point is CrashPoint.MUTE_ENDING
    file.write_text(RULES + MUTES)
    if not ends:
        async with here.relay(point) as dying:
            await dying.dies()
        assert here.place.ask("SELECT count(*) FROM mutes") == [(0,)]
    async with here.relay() as relay:
        assert await relay.post(MISSED) == 202
        assert await relay.forked.stop() == 0
    assert here.place.ask("SELECT state FROM deliveries") == [("scheduled",)]
    file.write_text(RULES)
    if ends:
        async with here.relay(point) as dying:
            await dying.dies()
        assert here.place.ask("SELECT ended_at FROM mutes") == [(None,)]
    async with here.relay() as relay:
        await relay.until("SELECT state FROM deliveries", ("delivered",))
        await relay.tells_all()
    assert here.mails() == [1]


MUTE = ("mute", "Missed chats", "--for", "3h", "--because", "spam", "--also-waiting")
UNMUTE = ("unmute",)
PAUSE = ("pause", "desk", "--because", "demo")
WRITTEN_BY = {
    CrashPoint.MUTED: ((), MUTE, UNMUTE),
    CrashPoint.PAUSED: ((), PAUSE, ("resume", "desk")),
    CrashPoint.MUTE_ENDING: (MUTE, UNMUTE, ()),
    CrashPoint.PAUSE_ENDING: (PAUSE, ("resume", "desk"), ()),
}
"""Of each point at which a command may die: what was done before, the command, and what ends what it begins."""
KEPT = (
    "SELECT id, ended_at FROM mutes",
    "SELECT paused_by FROM gates",
)


async def at_a_command(here: Installation, point: CrashPoint) -> None:
    """Beside a relay that runs. It has done nothing; done again, it does all of it, once."""

    async def does(*command: str, at: CrashPoint | None = None) -> int:
        if command == UNMUTE:  # a server skips the numbers of what was not committed
            command = (*UNMUTE, str(here.place.ask("SELECT max(id) FROM mutes")[0][0]))
        return (await relay_command(here.variables, *command, at=at)).status

    before, command, end = WRITTEN_BY[point]
    async with here.relay() as relay:
        if before:
            assert await does(*before) == 0
        assert await relay.post(MISSED) == 202
        kept = [here.place.ask(question) for question in KEPT]
        assert await does(*command, at=point) == -signal.SIGKILL
        assert [here.place.ask(question) for question in KEPT] == kept
        assert await does(*command) == 0
        assert not end or await does(*end) == 0
        await relay.until("SELECT state FROM deliveries", ("delivered",))
        assert await relay.forked.stop() == 0
    assert here.mails() == [1]


async def at_publishing(here: Installation, point: CrashPoint) -> None:
    """The file holds the one text or the other, whole; both are kept, and the draft until it is published."""
    file = Path(here.variables["RELAY_RULES"])
    new = f"{RULES}# new\n"
    console = {"RELAY_CONSOLE_PASSWORD": PASSWORD, "RELAY_CONSOLE_EDIT": "yes"}
    here = replace(here, variables={**here.variables, **console})
    old = hashlib.sha256(RULES.encode()).hexdigest()

    async def publish(running: Running) -> None:
        url = here.variables["RELAY_DATABASE"]
        visitor = Visitor(RunningRelay(running.url, file.parent, here.client, url))
        assert (await visitor.sign_in()).status == 303
        with contextlib.suppress(aiohttp.ClientError):
            await visitor.submit("/rules/edit", act="publish", text=new, base=old)

    async with here.relay(point) as dying:
        await publish(dying)
        await dying.dies()
    is_replaced = point in {CrashPoint.RULES_REPLACED, CrashPoint.PUBLISHED}
    assert file.read_text() == (new if is_replaced else RULES)
    kept = here.place.ask("SELECT hash, by FROM rules_versions ORDER BY id")
    assert kept == [(old, ""), (hashlib.sha256(new.encode()).hexdigest(), "admin")]
    assert here.place.ask("SELECT count(*) FROM drafts") == [(1,)]
    async with here.next_relay() as relay:
        await publish(relay)
        assert file.read_text() == new
        assert here.place.ask("SELECT count(*) FROM drafts") == [(0,)]
        assert await relay.post(MISSED) == 202
        await relay.tells_all()
    assert [each.name for each in file.parent.glob(".rules*")] == []
    by = here.place.ask("SELECT hash, by FROM rules_versions ORDER BY id DESC LIMIT 1")
    assert by == kept[1:]


WITH_FALLBACK = """\
destinations:
  desk: {email: {to: desk@example.com}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, fallback: desk, fallback_after: 1h}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: room, template: missed}
"""


async def at_reassigning(here: Installation, point: CrashPoint) -> None:
    """It is queued for one of the two, never to none."""
    Path(here.variables["RELAY_RULES"]).write_text(WITH_FALLBACK)
    here.ends.at(ROOM, *[HttpAnswer(status=410, body="no_service")] * 9)
    async with here.relay() as relay:
        await relay.post(MISSED)
        await relay.until("SELECT count(*) FROM gates", (1,))
        assert await relay.forked.stop() == 0
    here.place.change("UPDATE gates SET broken_since = broken_since - 3600000")
    here.place.change("UPDATE deliveries SET created_at = created_at - 3600000")
    async with here.relay(point) as dying:
        await dying.dies()
    async with here.next_relay() as relay:
        await relay.tells_all()
    assert here.mails() == [1]
    assert here.place.ask("SELECT state FROM deliveries ORDER BY id") == [
        ("moved",),
        ("delivered",),
    ]
    here.place.change("DELETE FROM deliveries WHERE state = 'moved'")


async def at_releasing(here: Installation, point: CrashPoint) -> None:
    """It waits on or is queued, never both."""
    here.ends.at(ROOM, HttpAnswer(status=410, body="no_service"))
    async with here.relay() as relay:
        await relay.post(OFFLINE)
        await relay.until("SELECT count(*) FROM gates", (1,))
        assert await relay.forked.stop() == 0
    here.place.change("DELETE FROM gates")
    # A mute's end is not in the rules, and stays where these are read anew.
    here.place.change("UPDATE deliveries SET state = 'scheduled', why = 'muted:1', due_at = 1")
    if point is CrashPoint.REPLANNING:
        here.place.change("UPDATE deliveries SET why = 'hours'")
    async with here.relay(point) as dying:
        await dying.dies()
    state = "queued" if point is CrashPoint.RELEASED else "scheduled"
    assert here.place.ask("SELECT state, due_at > 1 FROM deliveries") == [
        (state, point is CrashPoint.RELEASED)
    ]
    async with here.next_relay() as relay:
        await relay.until("SELECT count(*) FROM deliveries WHERE state = 'delivered'", (1,))
        await relay.tells_all()
    assert len(here.ends.posts(ROOM)) == 2  # the first of which was refused


async def at_closing_a_digest(here: Installation, point: CrashPoint) -> None:
    """Its chats wait on, or are in one digest, never in two."""
    here.ends.at(ROOM, HttpAnswer(status=410, body="no_service"))
    async with here.relay() as relay:
        await relay.post(a_hook(1, offline=True))
        await relay.until("SELECT count(*) FROM gates", (1,))
        for number in (2, 3):
            await relay.post(a_hook(number, offline=True))
        assert await relay.forked.stop() == 0
    refused = len(here.ends.posts(ROOM))
    here.place.change("DELETE FROM gates")
    here.place.change(
        "UPDATE deliveries SET state = 'scheduled', in_digest = true, why = 'muted:1', due_at = 1"
    )
    async with here.relay(point) as dying:
        await dying.dies()
    assert here.place.ask("SELECT state, count(*) FROM deliveries GROUP BY state") == [
        ("scheduled", 3)
    ]
    async with here.next_relay() as relay:
        await relay.until("SELECT count(*) FROM deliveries WHERE state = 'delivered'", (1,))
        await relay.tells_all()
    assert here.place.ask("SELECT counts FROM digests") == [('{"muted:1":3}',)]
    assert len(here.ends.posts(ROOM)) == refused + 1
    assert here.place.ask("SELECT count(*) FROM deliveries WHERE state = 'in digest'") == [(3,)]
    here.place.change("DELETE FROM deliveries WHERE state = 'in digest'")


STORIES: Mapping[str, Callable[[Installation, CrashPoint], Awaitable[None]]] = {
    "open": at_the_start,
    "take up": at_taking_up,
    "accept": at_accepting,
    "set aside": at_setting_aside,
    "claim at once": at_claiming_at_once,
    "claim": at_an_attempt,
    "send": at_an_attempt,
    "settle": at_an_attempt,
    "release": at_releasing,
    "plan anew": at_releasing,
    "close a digest": at_closing_a_digest,
    "reassign": at_reassigning,
    "erase": at_erasing,
    "a destination waits": at_closing_a_gate,
    "a destination is back": at_opening_a_gate,
    "a pause is over": at_the_end_of_a_pause,
    "a mute": at_a_mute,
    "a command": at_a_command,
    "publish": at_publishing,
}
"""By the first words of a crash point."""

NOT_ON_A_SERVER = {
    CrashPoint.DRAFTED: "there is no file",
    CrashPoint.IN_PLACE: "there is no file",
    CrashPoint.TAKEN_UP: "another relay's leases are taken up in one transaction with our own",
}


@pytest.mark.parametrize("point", CrashPoint)
async def test_a_crash_at_any_point_loses_nothing_and_tells_of_nothing_twice_unseen(
    here: Installation, point: CrashPoint
) -> None:
    if point in NOT_ON_A_SERVER and isinstance(here.place, OnServer):
        pytest.skip(NOT_ON_A_SERVER[point])
    await STORIES[point.partition(":")[0]](here, point)
    assert here.place.ask("SELECT DISTINCT state FROM deliveries") == [("delivered",)]
    if isinstance(here.place, InFile):
        assert here.place.ask("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("point", [CrashPoint.MUTE_ENDING, CrashPoint.PAUSE_ENDING])
async def test_a_command_that_is_killed_has_done_nothing_and_can_be_given_again(
    here: Installation, point: CrashPoint
) -> None:
    await at_a_command(here, point)


@pytest.mark.proof
async def test_a_delivery_that_kills_its_relay_at_each_start_is_put_aside_and_the_next_is_told(
    here: Installation,
) -> None:
    """CR-09: the first death blames nobody, and so many more are allowed."""
    async with here.relay(CrashPoint.RENDERED) as dying:
        assert await dying.post(MISSED) in {0, 202}
        await dying.dies()
    for _ in range(MOST_LOST):
        async with here.next_relay(CrashPoint.RENDERED) as dying:
            # What is blamed waits a quarter of a minute; that somebody else wrote is noticed sooner.
            here.place.change("UPDATE deliveries SET due_at = 0 WHERE state = 'queued'")
            await dying.dies()
    async with here.next_relay() as relay:
        assert await relay.post(a_hook(2, missed=True)) == 202
        await relay.tells_all()
    assert here.place.ask("SELECT state, attempts FROM deliveries ORDER BY id") == [
        ("quarantined", MOST_LOST + 1),
        ("delivered", 1),
    ]
    assert here.mails() == [1]
