"""`relay replay`: stored hooks, asked about by today's rules."""

import zlib
from pathlib import Path

import pytest

from relay.outbox.delivery_types import to_ms
from tests.builders import NOON, a_hook
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.running import RULES, RunningRelay, running_relay, settings

pytestmark = [pytest.mark.usefixtures("each_store_at_length"), pytest.mark.long]

STATES = "SELECT destination, rule, state FROM deliveries ORDER BY id"
MORE_RULES = f"""\
{RULES}
  - name: Everything
    when: always
    send_to: room
"""


async def test_a_new_rule_is_served_and_an_old_one_not_twice(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        await relay.post(a_hook(7, missed=True))
        await ends.mail.received(1)
        first, second = "desk", "room"
        served = [(each, "Missed chats", "delivered") for each in (first, second)]
        await relay.until(STATES, *served)
        said = await command(settings(tmp_path, rules=MORE_RULES), "replay", 1)
        assert (said.status, said.out) == (
            0,
            "hook 1, chat 208/7: queued\n  Everything -> room\n",
        )
        await relay.until(STATES, *served, ("room", "Everything", "delivered"))
        again = await command(settings(tmp_path, rules=MORE_RULES), "replay", 1)
        assert again.out == (
            "hook 1, chat 208/7: nothing new, all deliveries of the matching rules existed before\n"
        )
        assert (len(ends.mail.mails), len(ends.posts(ROOM))) == (1, 2)


async def test_all_hooks_of_a_chat_are_asked_about_in_their_order(tmp_path: Path) -> None:
    rules = RULES.replace("{missed: true}", "{rating: {at_most: 2}}")
    async with ReceivingServers() as ends:
        async with running_relay(tmp_path, **ends.settings) as relay:
            await relay.post(a_hook(7))
            await relay.post(a_hook(7, rating=1))
            await relay.post(a_hook(8, rating=1))
        said = await command(settings(tmp_path, rules=rules), "replay", "--chat", "208/7")
        assert said.out.splitlines() == [
            "hook 1, chat 208/7: no rule matched",
            "hook 2, chat 208/7: queued",
            "  Missed chats -> desk: desk@example.com",
            "  Missed chats -> room",
        ]


async def test_a_new_rule_tells_once_per_visitor_in_a_replay_too(tmp_path: Path) -> None:
    once = f"{MORE_RULES}    once_per: {{visitor: 24h, then: nothing}}\n"
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        for chat in (7, 8):
            await relay.post(a_hook(chat))
        await command(settings(tmp_path, rules=once), "replay", 1, 2)
        await relay.until(
            STATES, *(("room", "Everything", state) for state in ("delivered", "left out"))
        )


async def test_a_hook_set_aside_is_taken_in_once_it_can_be_read(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        await relay.post(b"no chat")
        set_aside_by_an_older_relay(relay, a_hook(7, missed=True))
        said = await command(settings(tmp_path), "replay", "--unreadable", 1, "--set-aside", 2)
        assert said.out.splitlines() == [
            "unreadable post 2, chat 208/7: queued",
            "  Missed chats -> desk: desk@example.com",
            "  Missed chats -> room",
        ]
        assert said.err.startswith("unreadable post 1 still can't be read: not JSON: ")
        assert said.status == 1
        await ends.mail.received(1)
        assert relay.rows("SELECT id FROM set_aside") == [(1,)]


def set_aside_by_an_older_relay(relay: RunningRelay, body: bytes) -> None:
    """As one that could not read it yet would have done."""
    relay.change(
        "INSERT INTO set_aside (received_at, body_hash, reason, body) VALUES (?, ?, ?, ?)",
        *(to_ms(NOON), b"another", "unknown", zlib.compress(body)),
    )


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([77], "there is no hook 77; it may be so old that it was erased"),
        (
            ["--unreadable", 77],
            "there is no unreadable post 77; it may be so old that it was erased",
        ),
        (["--chat", "208/77"], "there is no chat 208/77; it may be so old that it was erased"),
    ],
)
async def test_what_is_not_there_is_said(tmp_path: Path, asked: list[object], words: str) -> None:
    async with running_relay(tmp_path):
        said = await command(settings(tmp_path), "replay", *asked)
    assert (said.status, said.err) == (1, f"{words}\n")


async def test_without_a_hook_or_with_broken_rules_nothing_is_touched(tmp_path: Path) -> None:
    nothing = await command(settings(tmp_path), "replay")
    assert nothing.status == 2
    assert "name hooks by their ids, by --chat or by --unreadable" in nothing.err
    broken = await command(settings(tmp_path, rules="rules: 5"), "replay", 1)
    assert broken.status == 2
    assert "rules.yaml:1:8" in broken.err
