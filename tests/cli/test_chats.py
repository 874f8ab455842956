"""`relay chats`: which came in, what became of each, and what to type next."""

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import a_hook
from tests.cli.commands import Said
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.running import RunningRelay, running_relay, settings
from tests.servers import HttpAnswer, Tarpit

pytestmark = [pytest.mark.usefixtures("each_store_at_length"), pytest.mark.long]

RULES = """\
destinations:
  desk: {email: {to: [desk@example.com, anna@example.com]}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: [desk, room]}
  - {name: Bad ratings, when: {rating: {at_most: 2}}, send_to: room}
"""
STATES = "SELECT state, count(*) FROM deliveries GROUP BY state ORDER BY state"
BROKEN = "SELECT count(*) FROM gates WHERE broken_since IS NOT NULL"


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RunningRelay]:
    """Chat 1 was sent but for one recipient, 2 is for nobody, and 3 waits for a room that is broken."""
    async with ReceivingServers(server := Tarpit()) as ends:
        ends.mail.at("rcpt", "550 5.1.1 nobody of that name")
        server.slow = {"anna@example.com"}  # or she might be the first, who is refused
        async with running_relay(tmp_path, rules=RULES, **ends.settings) as running:
            await running.post(a_hook(1, missed=True, visitor={"name": "Zoë Nováková", "id": 41}))
            await running.until("SELECT count(*) FROM deliveries WHERE state = 'failed'", (1,))
            server.go_on.set()
            await running.until(STATES, ("delivered", 2), ("failed", 1))
            await running.post(
                a_hook(2, visitor={"name": "Jan", "email": "Jan <jan@shop.example.com>"})
            )
            ends.at(ROOM, HttpAnswer(status=404, body="no_service"))
            await running.post(a_hook(3, rating=1, visitor={"name": "", "email": ""}))
            await running.until(BROKEN, (1,))
            yield running


@pytest.fixture
def variables(relay: RunningRelay) -> dict[str, str]:
    return settings(relay.folder, rules=RULES)


async def chats(variables: dict[str, str], *asked: str) -> list[Any]:
    said = await command(variables, "chats", "--json", *asked)
    assert (said.status, said.err) == (0, "")
    found: list[Any] = said.json
    return found


def columns(said: Said) -> list[list[str]]:
    lines = said.out.splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


async def test_each_chat_has_a_line_with_the_command_to_type_next(
    variables: dict[str, str],
) -> None:
    said = await command(variables, "chats")
    heading, *lines = columns(said)
    assert heading == ["WHEN (CET)", "CHAT", "WHAT", "WHO", "WHERE IT WENT", "NEXT"]
    assert [line[1:] for line in lines[:3]] == [
        ["208/3", "rated 1", "(no name)", "Bad ratings -> room queued", "relay resume room"],
        [
            "208/2",
            "finished",
            "Jan <jan@shop.example.com>",
            "no rule matched",
            "relay explain --chat 208/2",
        ],
        [
            "208/1",
            "missed",
            "Zoë Nováková <marta@example.com>",
            "Missed chats -> desk 1 failed, 1 delivered, room delivered",
            "relay deliveries 1",
        ],
    ]
    assert said.out.endswith("\n3 chats\n")


async def test_each_next_command_can_be_typed(variables: dict[str, str]) -> None:
    for chat in await chats(variables):
        _, *arguments = chat["next"].split()
        assert (await command(variables, *arguments)).status == 0, chat["next"]


async def test_chats_are_found_by_name_address_and_ids_and_by_what_became_of_them(
    variables: dict[str, str],
) -> None:
    wanted: dict[tuple[str, ...], list[str]] = {
        (): ["208/3", "208/2", "208/1"],
        ("novakova",): ["208/1"],
        ("ZOE",): ["208/1"],
        ("zoë  novák",): ["208/1"],
        ("jan@shop.example.com",): ["208/2"],
        ("JAN@SHOP.EXAMPLE.COM",): ["208/2"],
        ("@shop.example",): ["208/2"],
        ("marta@",): ["208/1"],
        ("208/3",): ["208/3"],
        ("3",): ["208/3"],
        ("41",): ["208/1"],
        ("nobody of that name",): [],
        ("%",): [],
        ("--missed",): ["208/1"],
        ("--no-match",): ["208/2"],
        ("--failed",): ["208/1"],
        ("--failed", "--no-match"): [],
        ("jan", "--missed"): [],
        ("--since", "2h"): ["208/3", "208/2", "208/1"],
        ("--since", "2999-01-01"): [],
        ("--limit", "2"): ["208/3", "208/2"],
    }
    found = [[each["chat"] for each in await chats(variables, *asked)] for asked in wanted]
    assert dict(zip(wanted, found, strict=True)) == wanted


async def test_a_program_gets_every_delivery_by_its_rule(variables: dict[str, str]) -> None:
    waits, unmatched, missed = await chats(variables)
    (rule,) = missed["rules"]
    assert (rule["rule"], missed["missed"], missed["email"]) == (
        "Missed chats",
        True,
        "marta@example.com",
    )
    assert [(one["destination"], one["state"]) for one in rule["deliveries"]] == [
        ("desk", "failed"),
        ("desk", "delivered"),
        ("room", "delivered"),
    ]
    assert (unmatched["rules"], unmatched["rating"]) == ([], None)
    assert waits["rules"][0]["deliveries"][0]["waits_for_broken_destination"] is True


async def test_where_the_terminal_is_narrow_the_command_stays_whole(
    variables: dict[str, str],
) -> None:
    said = await asyncio.to_thread(on_a_terminal_of, 100, variables)
    lines = [line for line in said.splitlines() if "208/" in line]
    assert len(lines) == 3
    assert all(len(line) <= 100 for line in lines)
    assert lines[0].endswith("relay resume room")
    assert lines[2].endswith("relay deliveries 1")


def on_a_terminal_of(width: int, variables: dict[str, str]) -> str:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "relay", "chats"],
        env={**os.environ, **variables, "COLUMNS": "", "NO_COLOR": "1"},
        stdout=its,
    ):
        os.close(its)
        shown = b""
        with contextlib.suppress(OSError):  # what Linux says when the other end is closed
            while more := os.read(ours, 4096):
                shown += more
    os.close(ours)
    return shown.decode()
