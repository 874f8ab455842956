"""`relay move-deliveries`: a destination was renamed or removed while deliveries waited for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.running import RULES, running_relay, settings
from tests.servers import HttpAnswer

pytestmark = [pytest.mark.usefixtures("each_store"), pytest.mark.long]

ROOM_ONLY = RULES.replace("[desk, room]", "room")
RENAMED = RULES.replace("room:", "team room:").replace("[desk, room]", '[desk, "team room"]')
BY_CHAT = RENAMED.replace(
    "desk: {email: {to: desk@example.com}}",
    'desk: {email: {to: desk@example.com}}\n  owner: {email: {to: "{{ visitor.variables.owner }}"}}',
)
BY_CHAT = f"recipient_domains: [example.com]\n{BY_CHAT}"
BUSY = HttpAnswer(status=429, body="", headers={"Retry-After": "3000"})
STATES = "SELECT destination, state FROM deliveries ORDER BY id"
IN_VAIN = (
    "room: 2 deliveries wait for it, and the rules file does not have it: put it back, or send what waits elsewhere "
    "with `relay move-deliveries room NEW`"
)
NONE = "Nothing waits for a destination that is not in the rules file.\n"


@pytest.fixture
async def ends(tmp_path: Path) -> AsyncIterator[ReceivingServers]:
    """Two deliveries wait for the room."""
    async with ReceivingServers() as ends:
        ends.at(ROOM, BUSY)
        async with running_relay(tmp_path, rules=ROOM_ONLY, **ends.settings) as relay:
            await relay.post(a_hook(1, missed=True))
            await relay.until("SELECT count(*) FROM gates", (1,))
            await relay.post(a_hook(2, missed=True))
            await relay.until(STATES, ("room", "queued"), ("room", "queued"))
        yield ends


async def test_what_waits_for_the_old_name_is_sent_to_the_new_one_by_a_running_relay(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    async with running_relay(tmp_path, rules=RENAMED, **ends.settings) as relay:
        own = settings(tmp_path, rules=RENAMED, **ends.settings)
        said = await command(own, "move-deliveries")
        assert (said.status, said.out) == (1, f"{IN_VAIN}\n")
        said = await command(own, "move-deliveries", "room", "team room", "--yes")
        assert (said.status, said.err) == (0, "")
        assert said.out == (
            "2 deliveries wait for room; team room gets each of them\n"
            "2 deliveries moved from room to team room\n"
        )
        await relay.until(
            STATES,
            *(("room", "moved"), ("room", "moved")),
            *(("team room", "delivered"), ("team room", "delivered")),
        )
        assert len(ends.posts(ROOM)) == 3  # the first was refused
        told = relay.rows("SELECT DISTINCT detail FROM deliveries WHERE state = 'moved'")
        assert told == [("team room gets it instead: relay move-deliveries",)]
        assert (await command(own, "move-deliveries")).out == NONE
        again = await command(own, "move-deliveries", "room", "desk", "--yes")
        assert (again.status, again.err) == (1, "nothing waits for room\n")


async def test_without_a_yes_nothing_moves_and_bad_names_and_mutes_are_heeded(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    own = settings(tmp_path, rules=RENAMED, **ends.settings)
    said = await command(own, "move-deliveries", "room", "desk")
    assert (said.status, said.out.splitlines()[0]) == (
        1,
        "2 deliveries wait for room; desk is desk@example.com",
    )
    said = await command(own, "move-deliveries", "room", "dek", "--yes")
    assert (said.status, said.err) == (
        2,
        "the rules file has no destination “dek”; did you mean desk?\n",
    )
    said = await command(own, "move-deliveries", "desk", "desk", "--yes")
    assert said.status == 2
    said = await command(own, "move-deliveries", "roon", "desk", "--yes")
    assert (said.status, "did you mean room?" in said.err) == (1, True)
    assert (await command(own, "move-deliveries")).out == f"{IN_VAIN}\n"
    # What is moved to a muted destination waits for the end of the mute.
    mute = ("mute", "--when", "{missed: true}", "--destination", "desk", "--for", "2h", "--yes")
    said = await command(own, *mute, "--because", "we move", "--by", "Anna")
    assert said.status == 0, said.err
    said = await command(own, "move-deliveries", "room", "desk", "--yes")
    assert (said.status, said.err) == (0, "")
    waiting = (await command(own, "deliveries", "--scheduled", "--json")).json
    assert [(one["destination"], one["why"]) for one in waiting] == [("desk", "muted:1")] * 2


async def test_what_a_chat_can_send_to_nobody_there_waits_on_and_is_counted(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    own = settings(tmp_path, rules=BY_CHAT, **ends.settings)
    said = await command(own, "move-deliveries", "room", "owner", "--yes")
    assert said.out == "2 deliveries wait for room; at owner each chat chooses who gets it\n"
    assert (said.status, said.err) == (
        1,
        "2 deliveries wait for room as before: nobody at owner can get them, or they came just now\n",
    )


async def test_check_names_what_waits_in_vain_when_it_connects(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    own = settings(tmp_path, rules=RENAMED, **ends.settings)
    said = await command(own, "check", "--connect")
    assert (said.status, said.err) == (1, f"database: warning: {IN_VAIN}\n")
    assert said.out.endswith("1 rule, 2 destinations, 1 warning\n")
    own = settings(tmp_path, rules=RULES, **ends.settings)
    said = await command(own, "check", "--connect")
    assert (said.status, said.err, said.out.endswith("all fine\n")) == (0, "", True)
