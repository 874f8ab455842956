"""`relay export` and `relay erase`: what is kept of one visitor, to be shown and to be forgotten."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.builders import a_hook
from tests.cli.commands import Said
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.outbox.test_retention import LEFT, TRACES, a_settled_chat, bytes_of
from tests.postgres import PostgresCluster
from tests.running import RunningRelay, running_relay, settings
from tests.servers import HANG

pytestmark = pytest.mark.long

JANA = {"id": 5, "name": "Jana Horáková", "email": "Jana@Example.net"}
CHATS = "SELECT chat FROM chats ORDER BY id"


async def two_visitors(relay: RunningRelay) -> None:
    """Jana's chats are 7 and 9, each told of twice; one by her address, one by her id alone."""
    await relay.post(a_hook(7, missed=True, visitor=JANA))
    await relay.post(a_hook(8, missed=True))
    await relay.post(a_hook(9, missed=True, visitor={**JANA, "email": ""}))
    await relay.until("SELECT count(*) FROM deliveries WHERE state = 'delivered'", (6,))


def traces_in(folder: Path, compressed: bytes) -> list[bytes]:
    """What still is in the files of the visitor of `a_settled_chat`."""
    ours = [trace for trace in TRACES if trace != b"who goes there"]
    left = bytes_of(folder)
    return [trace for trace in (*ours, compressed[20:60]) if trace in left]


async def test_of_a_visitor_who_was_erased_nothing_stands_in_any_file(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.mail.at("rcpt", "550 5.1.1 nobody of that name")
        async with running_relay(tmp_path, **ends.settings) as relay:
            compressed = await a_settled_chat(relay)
            await relay.post(b"ottokar@example.net: who goes there?")
            said = await command(
                settings(tmp_path), "erase", "--email", "OTTOKAR@example.net", "--yes"
            )
            assert said.out.splitlines() == [
                "chat 208/7",
                "unreadable post 2",
                "erased 1 chat with 1 hook and 2 deliveries",
                "erased 1 hook that could not be read",
            ]
            assert (said.status, said.err) == (0, "")
            # Only the relay itself may empty its log.
            while traces_in(tmp_path, compressed):
                await relay.ask("GET", "/healthz")
            assert relay.rows(LEFT) == [(0, 0, 0, 0, 0, 1)]
            assert (await relay.post(a_hook(8))).status == 202


async def test_where_no_relay_runs_it_is_gone_when_the_command_ends(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.mail.at("rcpt", "550 5.1.1 nobody of that name")
        async with running_relay(tmp_path, **ends.settings) as relay:
            compressed = await a_settled_chat(relay)
    assert traces_in(tmp_path, compressed)
    said = await command(settings(tmp_path), "erase", "--chat", "208/7", "--yes")
    assert (said.status, said.err) == (0, "")
    assert traces_in(tmp_path, compressed) == []


async def test_what_another_program_keeps_in_the_log_by_reading_is_said(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(7, visitor=JANA))
    with contextlib.closing(sqlite3.connect(tmp_path / "relay.db", isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute(CHATS).fetchall()
        said = await command(settings(tmp_path), "erase", "--visitor", 5, "--yes")
        assert said.status == 1
        assert "relay.db-wal, which another program is reading" in said.err
    again = await command(settings(tmp_path), "erase", "--visitor", 5, "--yes")
    assert (again.out, again.err) == ("nothing is kept about them\n", "")
    assert b"Jana" not in bytes_of(tmp_path)


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        (["--email", " jana@example.NET"], ["8", "9"]),
        (["--visitor", 5], ["8"]),
        (["--visitor", 27671, "--email", "jana@example.net"], ["9"]),
        (["--chat", "208/9"], ["7", "8"]),
    ],
)
async def test_the_chats_of_those_who_are_named_are_erased_and_no_others(
    tmp_path: Path, asked: list[object], left: list[str]
) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        await two_visitors(relay)
        said = await command(settings(tmp_path), "erase", *asked, "--yes")
        assert (said.status, said.err) == (0, "")
        assert relay.rows(CHATS) == [(chat,) for chat in left]


async def test_the_next_chat_is_told_of_and_not_the_one_that_was_erased(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        await relay.post(a_hook(7, missed=True, visitor=JANA))
        await relay.until("SELECT count(*) FROM deliveries WHERE state = 'delivered'", (2,))
        await command(settings(tmp_path), "erase", "--visitor", 5, "--yes")
        await relay.post(a_hook(8, missed=True, visitor={"id": 6, "name": "Petr"}))
        mails = await ends.mail.received(2)
        posts = await ends.posted(ROOM, 2)
    assert relay.rows("SELECT id FROM hooks") == [(1,)]  # SQLite gives the number again
    for said in (mails[1].part("plain"), posts[1]):
        assert "Petr" in said
        assert "Horáková" not in said


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("Jana Horáková <JANA@example.net>", "mailto:jana@example.net"),
        ("jana＠example．net", "jana@example.net."),
        ("ja\u200bna@bücher.example", "jana@xn--bcher-kva.example"),
        ("jana@xn--bcher-kva.example", "jana@bu\u0308cher.example"),
        ("petr@example.net, jana@example.net", "<jana@example.net>"),
        ("jana", " JANA"),
    ],
)
async def test_an_address_is_found_however_it_is_spelled(
    tmp_path: Path, typed: str, named: str
) -> None:
    async with running_relay(tmp_path) as relay:
        for chat, email in enumerate([typed, "strasse@example.net", "", "straße@example.net"]):
            await relay.post(a_hook(chat, visitor={"name": "", "email": email}))
        shown = await command(settings(tmp_path), "export", "--email", named)
        assert [chat["chat"] for chat in shown.json["chats"]] == ["0"]
        await command(settings(tmp_path), "erase", "--email", named, "--yes")
        await command(settings(tmp_path), "erase", "--email", "straße@example.net", "--yes")
        assert relay.rows(CHATS) == [("1",), ("2",)]


@pytest.mark.parametrize(
    "body",
    [
        b'{"visitor": {"email": "JANA@example.net"',
        '{"visitor": {"email": "jana@bücher.example", '.encode(),
        '{"visitor": {"email": "jana@bücher.example", '.encode("cp1252"),
        '{"visitor": {"email": "jana@bücher.example", '.encode("utf-16-le"),
        b'{"visitor": {"email": "jana\\u0040b\\u00fccher.example", ',
        b"visitor%5Bemail%5D=jana%40b%C3%BCcher.example&visitor%5Bname%5D=Jana",
    ],
)
async def test_a_hook_that_can_not_be_read_is_found_by_an_address_in_it(
    tmp_path: Path, body: bytes
) -> None:
    named = ["--email", "jana@example.net", "--email", "jana@xn--bcher-kva.example"]
    async with running_relay(tmp_path) as relay:
        await relay.post(body)
        await relay.post(body.replace(b"j", b"k").replace(b"J", b"K"))
        said = await command(settings(tmp_path), "erase", *named, "--yes")
        assert "erased 1 hook that could not be read" in said.out
        assert relay.rows("SELECT id FROM set_aside") == [(2,)]


async def test_hooks_of_an_older_relay_are_found_before_and_after_the_next_start(
    tmp_path: Path,
) -> None:
    async with running_relay(tmp_path) as relay:
        for chat, visitor in enumerate([JANA, {"id": 6}, {**JANA, "email": ""}, {}]):
            await relay.post(a_hook(chat, visitor=visitor))
    with sqlite3.connect(tmp_path / "relay.db") as old:
        old.execute("UPDATE hooks SET email_key = NULL, visitor_key = NULL WHERE id < 4")
    old.close()

    async def found(*arguments: object) -> list[str]:
        said = await command(settings(tmp_path), "export", *arguments)
        return [chat["chat"] for chat in said.json["chats"]]

    async def is_found() -> None:
        assert await found("--email", JANA["email"]) == ["0"]
        assert await found("--visitor", JANA["id"]) == ["0", "2"]
        assert await found("--visitor", 6, "--email", JANA["email"]) == ["0", "1"]

    await is_found()
    async with running_relay(tmp_path) as relay:
        await relay.until("SELECT count(*) FROM hooks WHERE email_key IS NULL", (0,))
        await is_found()


async def test_what_is_queued_for_an_erased_chat_goes_to_nobody(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        ends.mail.at("rcpt", "451 4.3.0 later")
        await relay.post(a_hook(7, missed=True, visitor=JANA))
        tried = "SELECT state, failures FROM deliveries ORDER BY id"
        await relay.until(tried, ("queued", 1), ("delivered", 0))
        said = await command(settings(tmp_path), "erase", "--visitor", 5, "--yes")
        assert said.out.splitlines()[1:] == [
            "erased 1 chat with 1 hook and 2 deliveries, 1 of which were still queued and are not sent"
        ]
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        await relay.post(a_hook(8, missed=True))
        await relay.until("SELECT state FROM deliveries", ("delivered",), ("delivered",))
        assert len(ends.mail.mails) == 1


async def test_a_chat_that_is_being_sent_is_left_and_said(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        ends.mail.at("rcpt", HANG)
        await relay.post(a_hook(7, missed=True, visitor=JANA))
        await relay.until("SELECT state FROM deliveries ORDER BY id", ("sending",), ("delivered",))
        said = await command(settings(tmp_path), "erase", "--visitor", 5, "--yes")
        assert (said.status, said.out) == (1, "chat 208/7\n")
        assert said.err == (
            "chat 208/7 is being sent right now and was left: run this again in a minute\n"
        )
        assert relay.rows(CHATS) == [("7",)]


async def test_nothing_is_erased_before_somebody_says_yes(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        await two_visitors(relay)
        said = await command(settings(tmp_path), "erase", "--visitor", 5)
        assert said.out.splitlines()[:2] == ["chat 208/7", "chat 208/9"]
        assert said.status == 1
        assert len(relay.rows(CHATS)) == 3


async def test_all_that_is_kept_of_a_visitor_can_be_shown_to_them(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        await two_visitors(relay)
        await relay.post(b'{"visitor": "jana\\u0040example.net", ')
        said = await command(settings(tmp_path), "export", "--email", "jana@example.net")
        (chat,) = said.json["chats"]
        assert [hook["hook"]["visitor"]["name"] for hook in chat["hooks"]] == ["Jana Horáková"]
        assert [
            (each["destination"], each["tries"][0]["ending"]) for each in chat["deliveries"]
        ] == [
            ("desk", "delivered"),
            ("room", "delivered"),
        ]
        assert ["jana" in each["body"] for each in said.json["set_aside"]] == [True]
        assert said.status == 0


async def test_half_letters_are_shown_as_they_came(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(7, visitor={**JANA, "note": "\ud83d half"}))
        said = await command(settings(tmp_path), "export", "--visitor", 5)
        (hook,) = said.json["chats"][0]["hooks"]
        assert hook["hook"]["visitor"]["note"] == "\ud83d half"


@pytest.mark.parametrize("asked", [["--email", "nobody@example.net"], ["--chat", "208/77"]])
async def test_a_visitor_of_whom_nothing_is_kept_is_said(tmp_path: Path, asked: list[Any]) -> None:
    async with running_relay(tmp_path) as relay:
        await relay.post(a_hook(7))
        said = await command(settings(tmp_path), "erase", *asked, "--yes")
        assert said.status == 1
        assert said.out.splitlines()[-1] == "nothing is kept about them"
        shown = await command(settings(tmp_path), "export", *asked)
        assert (shown.status, shown.json) == (1, {"chats": [], "set_aside": [], "mutes": []})
        assert relay.rows(CHATS) == [("7",)]


@pytest.mark.parametrize("name", ["erase", "export"])
async def test_somebody_has_to_be_named(tmp_path: Path, name: str) -> None:
    for asked in ([], ["--email", " "]):
        said: Said = await command(settings(tmp_path), name, *asked)
        assert said.status == 2
        assert "say whose: --email ADDRESS, --visitor ID or --chat ACCOUNT/ID" in said.err


async def test_on_a_server_that_relays_share_it_is_the_same(
    tmp_path: Path, cluster: PostgresCluster
) -> None:
    name = cluster.new_database()
    shared: dict[str, Any] = {"RELAY_DATABASE": cluster.url(name)}
    variables = settings(tmp_path, **shared)
    async with running_relay(tmp_path, **shared) as relay:
        await relay.post(a_hook(7, visitor=JANA))
        await relay.post(a_hook(8))
        shown = await command(variables, "export", "--visitor", 5)
        assert [chat["chat"] for chat in shown.json["chats"]] == ["7"]
        said = await command(variables, "erase", "--visitor", 5, "--yes")
        assert said.out == "chat 208/7\nerased 1 chat with 1 hook and 0 deliveries\n"
        assert cluster.rows(name, CHATS) == [("8",)]
