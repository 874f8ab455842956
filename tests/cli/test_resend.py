"""`relay resend`: a delivery that ended is sent again, as a new message."""

import asyncio
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.running import RULES, RunningRelay, running_relay, settings
from tests.servers import HANG, HttpAnswer

pytestmark = [pytest.mark.usefixtures("each_store_at_length"), pytest.mark.long]

STATES = "SELECT destination, state, generation FROM deliveries ORDER BY id"
REVOKED = HttpAnswer(status=404, body="no_service")


async def told_of_chat_7(relay: RunningRelay, desk: str = "delivered") -> None:
    await relay.post(a_hook(7, missed=True))
    await relay.until(STATES, ("desk", desk, 1), ("room", "delivered", 1))


async def test_a_running_relay_sends_it_again_under_a_new_message_id(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        await told_of_chat_7(relay)
        said = await command(settings(tmp_path), "resend", 1)
        assert (said.status, said.out) == (0, "delivery 1 to desk is queued again\n")
        first, second = await ends.mail.received(2)
        assert first.message["Message-ID"] != second.message["Message-ID"]
        assert first.message["Subject"] == second.message["Subject"]
        await relay.until(STATES, ("desk", "delivered", 2), ("room", "delivered", 1))
        # What was tried before is still told.
        assert relay.rows("SELECT number, ending FROM attempts WHERE delivery_id = 1") == [
            (1, "delivered"),
            (2, "delivered"),
        ]
        told = await command(settings(tmp_path), "deliveries", 1)
        assert "  resent      1 time\n" in told.out
        assert len(ends.posts(ROOM)) == 1


async def test_one_that_failed_gets_all_its_tries_again(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.mail.at("rcpt", "550 5.1.1 nobody of that name")
        async with running_relay(tmp_path, **ends.settings) as relay:
            await told_of_chat_7(relay, "failed")
            ends.mail.at("rcpt", "450 4.2.0 come back later")
            await command(settings(tmp_path), "resend", 1)
            await relay.until("SELECT failures, attempts FROM deliveries WHERE id = 1", (1, 2))
            await relay.until(STATES, ("desk", "queued", 2), ("room", "delivered", 1))


async def test_a_post_to_slack_is_made_again(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        await told_of_chat_7(relay)
        await command(settings(tmp_path), "resend", 2)
        first, second = await ends.posted(ROOM, 2)
        assert first == second


async def test_while_the_relay_is_off_it_is_kept_for_the_next_start(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        async with running_relay(tmp_path, **ends.settings) as relay:
            await told_of_chat_7(relay)
        assert (await command(settings(tmp_path), "resend", 1, 2)).status == 0
        async with running_relay(tmp_path, **ends.settings) as relay:
            await relay.until(STATES, ("desk", "delivered", 2), ("room", "delivered", 2))
        assert len(ends.mail.mails) == len(ends.posts(ROOM)) == 2


async def test_one_that_waits_is_tried_at_once_and_stays_the_same_message(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.mail.at("data", "451 4.3.0 come back later")
        async with running_relay(tmp_path, **ends.settings) as relay:
            await told_of_chat_7(relay, "queued")
            await relay.until("SELECT failures FROM deliveries WHERE id = 1", (1,))
            said = await command(settings(tmp_path), "resend", 1)
            assert said.out == "delivery 1 to desk is tried at once\n"
            await relay.until(STATES, ("desk", "delivered", 1), ("room", "delivered", 1))


async def test_one_that_is_being_sent_is_left_alone(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.mail.at("rcpt", HANG)
        async with running_relay(tmp_path, **ends.settings) as relay:
            await told_of_chat_7(relay, "sending")
            said = await command(settings(tmp_path), "resend", 1)
            assert said.status == 1
            assert said.err == "delivery 1 is being sent right now; nothing was changed\n"
            assert relay.rows("SELECT generation FROM deliveries WHERE id = 1") == [(1,)]
            await ends.mail.__aexit__(None, None, None)
            await ends.mail.__aenter__()


async def test_that_a_broken_destination_holds_it_up_is_said(tmp_path: Path) -> None:
    rules = RULES.replace("send_to: [desk, room]", "send_to: room")
    async with ReceivingServers() as ends:
        async with running_relay(tmp_path, rules=rules, **ends.settings) as relay:
            await relay.post(a_hook(7, missed=True))
            await relay.until(STATES, ("room", "delivered", 1))
            ends.at(ROOM, REVOKED)
            await relay.post(a_hook(8, missed=True))
            await relay.until("SELECT count(*) FROM gates", (1,))
            said = await command(settings(tmp_path, rules=rules), "resend", 1)
        assert said.out.startswith(
            "delivery 1 to room is queued again; it waits until that destination works again ("
        )
        assert "no_service" in said.out


async def test_that_a_pause_holds_it_up_and_a_mute_does_not_is_said(tmp_path: Path) -> None:
    why = ("--because", "demo", "--for", "2h")
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        await told_of_chat_7(relay)
        for never in ("9999-12-31 23:59", "9999-12-31 23:59-14:00", "3000-01-01 00:00"):
            args = ("pause", "desk", "--because", "demo", "--until", never)
            assert (await command(settings(tmp_path), *args)).status == 2
        await command(settings(tmp_path), "pause", "desk", *why)
        await command(settings(tmp_path), "mute", "--destination", "room", *why, "--yes")
        said = await command(settings(tmp_path), "resend", 1, 2)
        assert said.out == (
            "delivery 1 to desk waits until the destination's pause ends (`relay resume` ends it now)\n"
            "delivery 2 to room is queued again; mute 1 does not hold it back\n"
        )
        await ends.posted(ROOM, 2)


async def test_what_is_not_there_is_said_and_the_rest_is_done(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        await told_of_chat_7(relay)
        said = await command(settings(tmp_path), "resend", 1, 77)
        assert said.status == 1
        assert said.err == "there is no delivery 77; it may be so old that it was erased\n"
        await ends.mail.received(2)


async def test_two_at_once_queue_it_once_more_each_or_say_that_it_is_under_way(
    tmp_path: Path,
) -> None:
    async with ReceivingServers() as ends:
        async with running_relay(tmp_path, **ends.settings) as relay:
            await told_of_chat_7(relay)
        said = await asyncio.gather(*(command(settings(tmp_path), "resend", 1) for _ in range(3)))
        assert sorted((each.out, each.err) for each in said) == [
            ("delivery 1 to desk is queued again\n", ""),
            ("delivery 1 to desk is tried at once\n", ""),
            ("delivery 1 to desk is tried at once\n", ""),
        ]
