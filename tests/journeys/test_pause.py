"""`relay pause`: nothing is sent to a destination until the pause ends, whatever else happens meanwhile."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import a_hook
from tests.cli.commands import Said
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.running import OFTEN, MovableClock, RunningRelay, running_relay, settings
from tests.servers import HttpAnswer

pytestmark = pytest.mark.usefixtures("each_store_at_length")

RULES = """\
timezone: Europe/Prague
destinations:
  desk: {email: {to: desk@example.com}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited, fallback: desk, fallback_after: 1m}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: room, template: missed}
  - {name: Offline messages, when: {offline: true}, send_to: desk, template: offline}
"""
STATES = "SELECT destination, state, count(*) FROM deliveries GROUP BY destination, state ORDER BY destination, state"
PAUSED = "SELECT count(*) FROM gates WHERE paused_by <> ''"


@pytest.fixture
async def ends() -> AsyncIterator[ReceivingServers]:
    async with ReceivingServers() as ends:
        yield ends


async def said(folder: Path, *arguments: str, rules: str = RULES) -> Said:
    return await command(settings(folder, rules=rules), *arguments)


def started(folder: Path, ends: ReceivingServers, **more: Any) -> Any:
    return running_relay(folder, rules=RULES, between_looks=OFTEN, **ends.settings, **more)


async def until_state(relay: RunningRelay, state: str) -> dict[str, Any]:
    """What /readyz says of the room, once it says so."""
    while True:
        room: dict[str, Any] = (await relay.ready())["destinations"]["room"]
        if room["state"] == state:
            return room


async def until_queued(relay: RunningRelay, number: int) -> None:
    await relay.until(STATES, ("room", "queued", number))


async def test_what_is_to_be_sent_waits_until_somebody_resumes_it(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    async with started(tmp_path, ends) as relay:
        done = await said(tmp_path, "pause", "room", "--because", "demo", "--by", "Anna")
        assert done.status == 0
        assert "room is paused until `relay resume`" in done.out
        assert (await until_state(relay, "paused"))["paused_until"] is None
        for number in (1, 2):
            await relay.post(a_hook(number, missed=True))
        await relay.post(a_hook(3, offline=True))
        await relay.until(STATES, ("desk", "delivered", 1), ("room", "queued", 2))
        listed = await said(tmp_path, "deliveries", "--destination", "room")
        assert " until somebody resumes it by Anna: demo" in listed.out
        assert "by Anna: demo; deliveries that wait: 2" in (await said(tmp_path, "resume")).out
        assert (await said(tmp_path, "resume", "room")).out == "room is no longer paused\n"
        await relay.until(STATES, ("desk", "delivered", 1), ("room", "delivered", 2))
        assert len(ends.posts(ROOM)) == 2
        assert relay.rows("SELECT count(*) FROM gates") == [(0,)]
        assert (await said(tmp_path, "resume", "room")).status == 1


@pytest.mark.parametrize(("until", "days"), [((), (1.01, 1.01)), (("--for", "30d"), (7.01,))])
async def test_somebody_is_reminded_of_a_pause_that_lasts(
    tmp_path: Path, ends: ReceivingServers, until: tuple[str, ...], days: tuple[float, ...]
) -> None:
    """Each day of one without an end, each week of another; a new pause begins anew."""
    rules = RULES.replace("rules:", "alerts_to: desk\nrules:", 1)
    count = "SELECT count(*) FROM chats WHERE chat LIKE 'still paused%'"
    async with running_relay(
        tmp_path, rules=rules, clock=MovableClock(), between_looks=OFTEN, **ends.settings
    ) as relay:
        pause = ("pause", "room", "--because", "demo", "--by", "Anna", *until)
        done = await said(tmp_path, *pause, rules=rules)
        assert done.status == 0
        room = await until_state(relay, "paused")
        assert room["paused_since"] is not None
        assert "room is paused since " in (await said(tmp_path, "resume", rules=rules)).out
        await relay.post(a_hook(1, missed=True))
        assert relay.rows(count) == [(0,)]
        for number, more in enumerate(days, 1):
            await relay.forward(queued=1, days=more)
            await relay.until(count, (number,))
        (mail, *_) = await ends.mail.received(len(days))
        assert mail.message["Subject"] == "Still paused: room"
        text = mail.message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        assert "1 notification waits for it. `relay resume room` sends what waits." in text
        assert "Anna: demo" in text


async def test_it_ends_by_itself_and_is_kept_over_a_restart(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = MovableClock()
    async with started(tmp_path, ends, clock=clock) as relay:
        done = await said(tmp_path, "pause", "room", "--for", "3h", "--because", "demo")
        assert done.status == 0
        await until_state(relay, "paused")
        await relay.post(a_hook(1, missed=True))
    async with started(tmp_path, ends, clock=clock) as relay:
        await until_state(relay, "paused")
        await relay.post(a_hook(2, missed=True))
        await until_queued(relay, 2)
        await relay.forward(queued=2, hours=2.9)
        await relay.post(a_hook(3, missed=True))
        await until_queued(relay, 3)
        assert ends.posts(ROOM) == []
        await relay.forward(queued=3, hours=0.2)
        await relay.until(STATES, ("room", "delivered", 3))
        await relay.until(PAUSED, (0,))
        # As if it had come in at the end: it has not failed for three hours.
        assert relay.rows("SELECT count(*) FROM deliveries WHERE released_at > created_at") == [
            (3,)
        ]


async def test_a_server_that_works_again_opens_its_gate_and_not_the_pause(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    """The other destination leads to the same webhook, and finds out that it works."""
    rules = RULES.replace(
        "rules:", "  same: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}\nrules:"
    ).replace("send_to: desk", "send_to: same")
    ends.at(ROOM, HttpAnswer(status=404, body="no_service"))
    async with running_relay(tmp_path, rules=rules, between_looks=OFTEN, **ends.settings) as relay:
        await relay.post(a_hook(1, missed=True))
        await relay.until("SELECT count(*) FROM gates WHERE broken_since IS NOT NULL", (1,))
        paused = ("pause", "room", "--because", "demo")
        assert (await command(settings(tmp_path, rules=rules), *paused)).status == 0
        await until_state(relay, "paused")
        await relay.post(a_hook(2, offline=True))
    # A start looks at once whether a broken destination works.
    async with running_relay(tmp_path, rules=rules, between_looks=OFTEN, **ends.settings) as relay:
        await relay.until(STATES, ("room", "queued", 1), ("same", "delivered", 1))
        await relay.until(
            "SELECT paused_by <> '', closed_until, broken_since FROM gates", (True, 0, None)
        )
        assert (await until_state(relay, "paused"))["queued"] == 1
        await relay.post(a_hook(3, missed=True))
        await relay.until(STATES, ("room", "queued", 2), ("same", "delivered", 1))
        await command(settings(tmp_path, rules=rules), "resume", "room")
        await relay.until(STATES, ("room", "delivered", 2), ("same", "delivered", 1))


async def test_what_waits_because_of_a_pause_is_neither_late_nor_sent_to_the_fallback(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    rules = RULES.replace("rules:", "alerts_to: [room, desk]\nrules:")
    ends.at(ROOM, *[HttpAnswer(status=404, body="no_service")] * 5)
    async with running_relay(
        tmp_path, rules=rules, clock=MovableClock(), between_looks=OFTEN, **ends.settings
    ) as relay:
        await command(settings(tmp_path, rules=rules), "pause", "room", "--because", "demo")
        await until_state(relay, "paused")
        await relay.post(a_hook(1, missed=True))
        await relay.forward(queued=1, hours=2)
        await relay.post(a_hook(2, offline=True))
        await relay.until(STATES, ("desk", "delivered", 1), ("room", "queued", 1))
        looked = (await relay.ready())["alerts"]
        assert looked["open"] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("room",), "Missing option '--because'"),
        (("room", "--because", " "), "write why"),
        (("rooom", "--because", "demo"), "there is no destination “rooom”; did you mean room?"),
        (("room", "--because", "demo", "--until", "2020-01-01 08:00"), "is past"),
        (("room", "--because", "demo", "--until", "soon"), "'soon' is not a time"),
        (("room", "--because", "demo", "--for", "soon"), "expected a duration, got 'soon'"),
        (("room", "--because", "demo", "--for", "0s"), "ends when it begins"),
        (("room", "--because", "x", "--for", "2h", "--until", "17:00"), "can't be used together"),
    ],
)
async def test_what_can_not_be_meant_is_refused(
    tmp_path: Path, ends: ReceivingServers, arguments: tuple[str, ...], says: str
) -> None:
    async with started(tmp_path, ends) as relay:
        done = await said(tmp_path, "pause", *arguments)
        assert done.status == 2
        assert says in done.err
        assert relay.rows(PAUSED) == [(0,)]
