"""The commands about deliveries, on a database that relays share."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.postgres import PostgresCluster
from tests.running import DEADLINE, running_relay, settings
from tests.servers import HttpAnswer

pytestmark = pytest.mark.long

STATES = "SELECT destination, state, generation FROM deliveries ORDER BY id"


async def test_history_resending_and_replaying_work_as_in_a_file(
    tmp_path: Path, cluster: PostgresCluster
) -> None:
    name = cluster.new_database()
    shared: dict[str, Any] = {"RELAY_DATABASE": cluster.url(name)}
    variables = settings(tmp_path, **shared)
    async with ReceivingServers() as ends:
        async with running_relay(tmp_path, **shared, **ends.settings) as relay:

            async def until(desk: tuple[str, str, int]) -> None:
                async with asyncio.timeout(DEADLINE):
                    while cluster.rows(name, STATES) != [desk, ("room", "delivered", 1)]:
                        await relay.ask("GET", "/healthz")

            await relay.post(a_hook(7, missed=True))
            await until(("desk", "delivered", 1))
            said = await command(variables, "resend", 1)
            assert said.out == "delivery 1 to desk is queued again\n"
            await until(("desk", "delivered", 2))
            await ends.mail.received(2)
        listed = await command(variables, "deliveries", "--json")
        assert [(each["id"], each["generation"]) for each in listed.json] == [(2, 1), (1, 2)]
        told = await command(variables, "deliveries", 1)
        assert "  resent      1 time\n" in told.out
        again = await command(variables, "replay", 1)
        assert again.out.startswith("hook 1, chat 208/7: nothing new")


async def test_a_mended_destination_is_tried_at_once_by_the_relays_on_a_server(
    tmp_path: Path, cluster: PostgresCluster
) -> None:
    name = cluster.new_database(with_tables=True)
    shared: dict[str, Any] = {"RELAY_DATABASE": cluster.url(name)}
    async with (
        ReceivingServers() as ends,
        running_relay(tmp_path, **shared, **ends.settings) as relay,
    ):
        ends.at(ROOM, HttpAnswer(status=404, body="no_service"))
        await relay.post(a_hook(7, missed=True))
        async with asyncio.timeout(DEADLINE):
            while not cluster.rows(name, "SELECT 1 FROM gates WHERE broken_since IS NOT NULL"):
                await relay.ask("GET", "/healthz")
        said = await command(settings(tmp_path, **shared), "resume", "room")
        assert (said.status, said.out) == (0, "room is tried at once\n")
        await ends.posted(ROOM, 2)
        async with asyncio.timeout(DEADLINE):
            while cluster.rows(name, "SELECT 1 FROM gates"):
                await relay.ask("GET", "/healthz")


async def test_a_backup_is_left_to_pg_dump_and_no_password_is_shown(tmp_path: Path) -> None:
    variables = settings(tmp_path) | {"RELAY_DATABASE": "postgresql://relay:geheim@127.0.0.1:9/db"}
    said = await command(variables, "backup", tmp_path / "copy")
    assert said.status == 2
    assert "use pg_dump" in said.err
    away = await command(variables, "deliveries")
    assert away.status == 2
    assert "can't be used right now" in away.err
    assert "geheim" not in said.err + away.err
