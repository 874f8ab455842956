"""`relay deliveries`: found, told and filtered, beside a running relay."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.journeys.test_server_trouble import ROOM_ONLY
from tests.running import RULES, ClockAt, MovableClock, RunningRelay, running_relay, settings
from tests.servers import DROP, HttpAnswer

pytestmark = [pytest.mark.usefixtures("each_store_at_length"), pytest.mark.long]

STATES = "SELECT destination, state FROM deliveries ORDER BY id"
REFUSED = "127.0.0.1 answered the recipient with 550 5.1.1 nobody of that name"


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RunningRelay]:
    """It has told of chat 7 in the room, failed to mail it, and told of chat 8 to both."""
    async with ReceivingServers() as ends:
        ends.mail.at("rcpt", "550 5.1.1 nobody of that name")
        async with running_relay(tmp_path, **ends.settings) as running:
            await running.post(a_hook(7, missed=True, visitor={"name": "Zoë\x1b[31m Nowak"}))
            await running.until(STATES, ("desk", "failed"), ("room", "delivered"))
            await running.post(a_hook(8, missed=True))
            await running.until(
                STATES,
                *(("desk", "failed"), ("room", "delivered")),
                *(("desk", "delivered"), ("room", "delivered")),
            )
            yield running


@pytest.fixture
def variables(relay: RunningRelay) -> dict[str, str]:
    return settings(relay.folder)


async def test_the_newest_stand_first_with_the_far_ends_words_below_what_failed(
    variables: dict[str, str],
) -> None:
    said = await command(variables, "deliveries")
    lines = said.out.splitlines()
    assert lines[0].split() == ["ID", "CREATED", "(CET)", "STATE", "TRIES", "CHAT", "RULE", "TO"]
    assert [line.split()[0] for line in lines[1:5]] == ["4", "3", "2", "1"]
    assert re.fullmatch(
        r" 1  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  failed         1  208/7  Missed chats  desk: desk@example.com",
        lines[4],
    )
    assert lines[5].strip() == REFUSED
    assert lines[-1] == "4 deliveries: 3 delivered, 1 failed"
    assert (said.status, said.err) == (0, "")


async def test_a_filter_leaves_out_the_others(variables: dict[str, str]) -> None:
    wanted: dict[tuple[str, ...], list[int]] = {
        ("--failed",): [1],
        ("--state", "delivered"): [4, 3, 2],
        ("--state", "failed", "--state", "quarantined"): [1],
        ("--state", "maybe-delivered"): [],
        ("--destination", "room"): [4, 2],
        ("--rule", "Missed chats", "--destination", "desk"): [3, 1],
        ("--chat", "208/7"): [2, 1],
        ("--since", "2h"): [4, 3, 2, 1],
        ("--since", "2000-01-01", "--failed"): [1],
        ("--limit", "2"): [4, 3],
    }
    said = [await command(variables, "deliveries", "--json", *asked) for asked in wanted]
    assert [each.status for each in said] == [0] * len(wanted)
    found = [[one["id"] for one in each.json] for each in said]
    assert dict(zip(wanted, found, strict=True)) == wanted


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("--rule", "Missed chat"), "there is no rule “Missed chat”; did you mean Missed chats?"),
        (("--destination", "dsk"), "there is no destination “dsk”; did you mean desk?"),
        (("--destination", "x", "--failed"), "there is no destination “x”; there are: desk, room"),
        (("--chat", "208/9"), "there is no chat 208/9; it may be so old that it was erased"),
        (("--rule", "Another", "--json"), "there is no rule “Another”"),
    ],
)
async def test_a_name_of_nothing_is_an_error_with_the_nearest(
    variables: dict[str, str], asked: tuple[str, ...], words: str
) -> None:
    said = await command(variables, "deliveries", *asked)
    assert (said.status, said.out) == (2, "")
    assert words in said.err


async def test_a_rule_or_chat_without_deliveries_is_known_all_the_same(
    relay: RunningRelay, tmp_path: Path
) -> None:
    more = RULES + "  - {name: Offline, when: {offline: true}, send_to: spare}\n"
    more = more.replace("rules:\n", "  spare: {slack: {webhook: $ROOM_WEBHOOK}}\nrules:\n", 1)
    await relay.post(a_hook(9))
    for asked in (("--rule", "Offline"), ("--destination", "spare"), ("--chat", "208/9")):
        said = await command(settings(tmp_path, rules=more), "deliveries", *asked)
        assert (said.status, said.out) == (0, "No deliveries.\n")


async def test_what_waits_for_a_broken_destination_is_said_where_nothing_has_failed(
    tmp_path: Path,
) -> None:
    async with ReceivingServers() as ends:
        ends.at(ROOM, HttpAnswer(status=404, body="no_service"))
        async with running_relay(tmp_path, rules=ROOM_ONLY, **ends.settings) as running:
            await running.post(a_hook(1, missed=True))
            await running.until("SELECT count(*) FROM gates WHERE broken_since > 0", (1,))
            await running.post(a_hook(2, missed=True))
            await running.until("SELECT state, count(*) FROM deliveries GROUP BY 1", ("queued", 2))
            said = await command(settings(tmp_path, rules=ROOM_ONLY), "deliveries", "--failed")
            other = await command(
                settings(tmp_path), "deliveries", "--failed", "--destination", "desk"
            )
            untried = await command(settings(tmp_path), "deliveries", 2)
    assert said.out.startswith(
        "No deliveries.\n2 deliveries to room: waiting, because room is broken since "
    )
    assert "no_service" in said.out
    assert said.out.endswith(
        "Once that is fixed: relay resume room; after a change of the settings restart the relay\n"
    )
    assert other.out == "No deliveries.\n"
    assert "2 deliveries to room: waiting, because room is broken since " in untried.out


async def test_what_is_not_shown_is_told_of(variables: dict[str, str]) -> None:
    said = await command(variables, "deliveries", "--limit", 3)
    assert said.out.endswith(
        "3 deliveries: 3 delivered; there are older ones, --limit shows more\n"
    )
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date()
    said = await command(variables, "deliveries", "--since", tomorrow)
    assert said.out == "No deliveries.\n"


async def test_one_is_told_with_every_attempt(variables: dict[str, str]) -> None:
    said = await command(variables, "deliveries", 1, "--utc")
    assert "Delivery 1: failed\n" in said.out
    assert "  chat        208/7, Zoë[31m Nowak\n" in said.out  # and no escape to the terminal
    assert "  hook        1 (relay replay 1)\n" in said.out
    assert "  to          desk: desk@example.com\n" in said.out
    assert re.search(r"\n  created     \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n", said.out)
    assert re.search(r"\n  Message-ID  <[0-9a-f]{24}@example.org>\n", said.out)
    assert "  send again  relay resend 1\n" in said.out
    assert re.search(rf"\n  attempt 1, .*: refused after \d+\.\d s\n      {REFUSED}\n$", said.out)


async def test_a_program_gets_all_of_one_as_json(variables: dict[str, str]) -> None:
    (one,) = (await command(variables, "deliveries", 1, "--json")).json
    queued = datetime.fromisoformat(one["created_at"])
    assert queued.utcoffset() == timedelta()
    assert (one["chat"], one["state"], one["settled_at"] > one["created_at"]) == (
        "208/7",
        "failed",
        True,
    )
    (attempt,) = one["tries"]
    assert (attempt["number"], attempt["ending"], attempt["detail"]) == (1, "refused", REFUSED)


async def test_one_that_may_have_arrived_twice_says_so(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.web.steps.append(DROP)
        async with running_relay(
            tmp_path, clock=MovableClock(), rules=ROOM_ONLY, **ends.settings
        ) as running:
            await running.post(a_hook(1, missed=True))
            await running.until("SELECT state, unsure FROM deliveries", ("queued", 1))
            await running.forward(queued=1, minutes=2)
            await running.post(a_hook(2, missed=True))
            await running.until(STATES, *[("room", "delivered")] * 2)
            said = await command(settings(tmp_path), "deliveries", 1, 2)
            (one, two) = (await command(settings(tmp_path), "deliveries", 1, 2, "--json")).json
    copies = "  copies      may have arrived more than once: no answer to attempt 1\n"
    assert said.out.count(copies) == 1
    found = {each["id"]: each["maybe_repeated"] for each in (one, two)}
    assert found == {1: [1], 2: []}


async def test_one_that_is_not_there_is_said_and_the_others_are_shown(
    variables: dict[str, str],
) -> None:
    said = await command(variables, "deliveries", 99, 2)
    assert said.err == "there is no delivery 99; it may be so old that it was erased\n"
    assert said.out.startswith("Delivery 2: delivered\n")
    assert said.status == 1


async def test_hooks_that_could_not_be_read_are_listed_with_how_they_begin(
    relay: RunningRelay, variables: dict[str, str]
) -> None:
    await relay.post(b"who\x1bgoes there")
    said = await command(variables, "deliveries", "--unreadable")
    first, second, *_ = said.out.splitlines()
    assert re.fullmatch(r" +1  .*  14 bytes: not JSON: .*", first)
    assert second.strip() == "whogoes there"
    (one,) = (await command(variables, "deliveries", "--set-aside", "--json")).json
    assert (one["id"], one["size"]) == (1, 14)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--since", "yesterday"], "'yesterday' is not a time; write 2d, 12h, 30m or 2026-11-22"),
        (["--chat", "208"], "'208' is not a chat; write the account and the id, as in 208/910001"),
        (["--state", "lost"], "'lost' is not one of 'queued', 'sending'"),
        (["--limit", "0"], "0 is not in the range"),
        (["--limit", "9" * 20], f"{'9' * 20} is not in the range"),
        (["9" * 20], f"{'9' * 20} is not in the range"),
        (["0" * 20 + "9" * 20], f"{'9' * 20} is not in the range"),
        (["9" * 5_000], "is not a valid integer"),
        (["1", "--failed"], "an ID and filters can't be used together"),
        (["1", "--unreadable"], "an ID and filters can't be used together"),
        (
            ["--set-aside", "--failed"],
            "--unreadable and filters of deliveries can't be used together",
        ),
        (["seven"], "'seven' is not a valid integer"),
        (["--rule", "\udcff"], "what was typed is not UTF-8 text"),
    ],
)
async def test_what_can_not_be_asked_is_refused_in_words(
    tmp_path: Path, asked: list[str], words: str
) -> None:
    async with running_relay(tmp_path):
        said = await command(settings(tmp_path), "deliveries", *asked)
    assert said.status == 2
    assert words in said.err
    assert "Traceback" not in said.err


SOME_TIME = """\
schedules:
  mornings: {days: mon, hours: 08:00-09:00}
destinations:
  desk: {email: {to: desk@example.com}, hours: mornings}
  room: {slack: {webhook: $ROOM_WEBHOOK}, hours: mornings, outside_hours: skip}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: [desk, room]}
"""


async def test_what_waits_for_its_time_says_until_when_and_why(tmp_path: Path) -> None:
    today = datetime.now(UTC)  # commands know only the system's time
    monday = today.replace(hour=8, minute=0, second=0, microsecond=0)
    monday += timedelta(days=7 - today.weekday())
    clock = ClockAt(monday - timedelta(days=5))
    async with ReceivingServers() as ends:
        async with running_relay(tmp_path, rules=SOME_TIME, clock=clock, **ends.settings) as relay:
            await relay.post(a_hook(7, missed=True))
            await relay.until(STATES, ("desk", "scheduled"), ("room", "left out"))
        variables = settings(tmp_path, rules=SOME_TIME)
        listed = await command(variables, "deliveries", "--scheduled", "--utc")
        everything = await command(variables, "deliveries", "--utc")
        told = await command(variables, "deliveries", "1", "--utc")
        (as_json,) = (await command(variables, "deliveries", "--scheduled", "--json")).json
    assert listed.out.splitlines()[2].strip() == (
        f"waits until {monday:%F %T}: outside the destination's hours"
    )
    assert "1 delivery: 1 scheduled" in listed.out
    assert (
        "left out: outside the destination's hours, and `outside_hours` is skip" in everything.out
    )
    assert f"waits until {monday:%F %T} (relay resend 1 sends it now)" in told.out
    assert (as_json["state"], as_json["why"]) == ("scheduled", "hours")
    assert as_json["due_at"] == monday.isoformat()
