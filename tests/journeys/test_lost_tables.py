"""A table, a column, a right or the whole database is lost while the relay runs: it is not ready, and somebody is told without it."""

from datetime import timedelta
from pathlib import Path

import pytest

from relay.outbox import StorageRefused
from tests.builders import a_hook
from tests.journeys.far_ends import ROOM, FarEnds
from tests.running import RunningRelay, running_relay
from tests.servers import HttpAnswer

pytestmark = pytest.mark.long

OFTEN = timedelta(milliseconds=20)
WAIT = 1
RULES = """\
destinations:
  desk: {email: {to: desk@example.com}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited, fallback: desk}
alerts_to: room
rules:
  - {name: Missed chats, when: {missed: true}, send_to: desk, template: missed}
"""
LOST = "The relay can't use its database"
BACK = "The relay can use its database again"


async def until_not_ready(relay: RunningRelay) -> list[str]:
    while True:
        state = await relay.ready()
        if not state["ready"]:
            reasons: list[str] = state["reasons"]
            return reasons


@pytest.mark.usefixtures("each_store")
@pytest.mark.parametrize(
    ("lose", "restore", "reason"),
    [
        (
            "ALTER TABLE attempts RENAME TO elsewhere",
            "ALTER TABLE elsewhere RENAME TO attempts",
            "the table attempts is missing",
        ),
        (
            "ALTER TABLE gates RENAME COLUMN reason TO why",
            "ALTER TABLE gates RENAME COLUMN why TO reason",
            "a column of the table gates is missing",
        ),
        (
            "ALTER TABLE hook_bodies RENAME TO elsewhere",
            "ALTER TABLE elsewhere RENAME TO hook_bodies",
            "the table hook_bodies is missing",
        ),
    ],
)
async def test_what_is_lost_makes_it_not_ready_and_is_told_without_the_database(
    tmp_path: Path, lose: str, restore: str, reason: str
) -> None:
    async with (
        FarEnds() as ends,
        running_relay(tmp_path, rules=RULES, between_looks=OFTEN, **ends.settings) as relay,
    ):
        relay.change(lose)
        assert await until_not_ready(relay) == [f"the database can't be used: {reason}"]
        (post,) = await ends.web.received(1)
        assert LOST in post.body.decode()
        assert reason in post.body.decode()
        relay.change(restore)
        assert BACK in (await ends.web.received(2))[1].body.decode()
        assert (await relay.ready())["reasons"] == []
        assert (await relay.post(a_hook(1, missed=True))).status == 202
        await ends.mail.received(1)


@pytest.mark.usefixtures("each_store")
async def test_where_the_alert_is_refused_the_fallback_is_told_and_nobody_twice(
    tmp_path: Path,
) -> None:
    async with (
        FarEnds() as ends,
        running_relay(tmp_path, rules=RULES, between_looks=OFTEN, **ends.settings) as relay,
    ):
        ends.at(ROOM, HttpAnswer(status=404, body="no_service"))
        relay.change("ALTER TABLE attempts RENAME TO elsewhere")
        (mail,) = await ends.mail.received(1)
        assert str(mail.message["Subject"]) == LOST
        for _ in range(20):
            await until_not_ready(relay)
        relay.change("ALTER TABLE elsewhere RENAME TO attempts")
        assert [str(one.message["Subject"]) for one in await ends.mail.received(2)] == [LOST, BACK]


async def test_a_file_that_is_gone_is_told_of(tmp_path: Path) -> None:
    async with (
        FarEnds() as ends,
        running_relay(tmp_path, rules=RULES, between_looks=OFTEN, **ends.settings) as relay,
    ):
        (tmp_path / "relay.db").rename(tmp_path / "elsewhere")
        (post,) = await ends.web.received(1)
        assert "the database file was moved, deleted or replaced" in post.body.decode()
        (tmp_path / "elsewhere").rename(tmp_path / "relay.db")
        assert BACK in (await ends.web.received(2))[1].body.decode()
        assert (await relay.ready())["ready"]


async def test_a_database_without_a_table_is_not_started_with(tmp_path: Path) -> None:
    async with running_relay(tmp_path, rules=RULES) as relay:
        relay.change("DROP TABLE attempts")
    with pytest.raises(StorageRefused, match="can't be used: the table attempts is missing"):
        async with running_relay(tmp_path, rules=RULES):
            pass
