"""What is done with one chat: the rules asked again, its data exported and erased, and a page that follows what happens."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.console.reading import Read
from tests.console.visiting import PASSWORD, Visitor, invited, signed_in
from tests.corpora import MARKUP
from tests.running import MovableClock, RunningRelay, running_relay
from tests.servers import HttpServer, SmtpServer

in_one_loop = pytest.mark.asyncio(loop_scope="module")
ACTS = "SELECT by, act, subject, detail FROM acts WHERE act NOT LIKE 'sign%' ORDER BY id"
HOSTILE = MARKUP["html"][0]


async def number_of(relay: RunningRelay, chat: int) -> int:
    ((number,),) = relay.rows(f"SELECT id FROM chats WHERE chat = '{chat}'")  # noqa: S608 - a number
    return int(number)


async def until_reloaded(relay: RunningRelay, text: str) -> None:
    before = (await relay.ready())["rules"]["hash"]
    (relay.folder / "rules.yaml").write_text(text, encoding="utf-8")
    while (await relay.ready())["rules"]["hash"] == before:
        pass


@pytest.mark.usefixtures("each_store")
async def test_the_rules_are_asked_again_and_say_first_what_would_be_sent(tmp_path: Path) -> None:
    async with (
        SmtpServer() as mail,
        HttpServer() as room,
        running_relay(
            tmp_path, smtp=mail.port, http=room.port, RELAY_CONSOLE_PASSWORD=PASSWORD
        ) as relay,
    ):
        assert (await relay.post(a_hook(1, rating=5))).status == 202
        number, visitor = await number_of(relay, 1), await signed_in(relay, "editor")
        page = (await visitor.get(f"/chats/{number}/replay")).text
        assert "Nothing new would be sent" in page
        rules = (tmp_path / "rules.yaml").read_text("utf-8")
        more = "  - {name: '<b>Good</b>', when: {rating: 5}, send_to: [desk, room]}\n"
        await until_reloaded(relay, rules + more)
        page = (await visitor.get(f"/chats/{number}/replay")).text
        assert "2 notifications would be sent" in page
        assert "&lt;b&gt;Good&lt;/b&gt;" in page
        assert relay.rows("SELECT count(*) FROM deliveries") == [(0,)]
        compared = Read((await visitor.get(f"/chats/{number}/verdicts")).text)
        assert "does not hold holds" not in compared.text
        assert compared.texts["differs"][0].startswith("<b>Good</b> differs")
        ((hash_,),) = relay.rows("SELECT rules_hash FROM hooks")
        assert f"/rules/versions/{hash_}" in compared.links
        for _ in range(2):
            got = await visitor.submit(f"/chats/{number}/replay", key="one")
            assert (got.status, got.place) == (303, f"/chats/{number}")
        await mail.until(lambda: len(mail.mails) == 1)
        await room.until(lambda: len(room.requests) == 1)
        await relay.until("SELECT state FROM deliveries", ("delivered",), ("delivered",))
        assert relay.rows(ACTS) == [("admin", "replay", "208/1", "")]
        assert "Nothing new would be sent" in (await visitor.get(f"/chats/{number}/replay")).text


@in_one_loop
async def test_an_export_has_all_that_is_kept_and_is_written_down(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    relay.change("DELETE FROM acts")
    who = {"name": HOSTILE, "email": "ana@example.com"}
    for chat in (31, 32):
        assert (await relay.post(a_hook(chat, missed=True, visitor=who))).status == 202
    number = await number_of(relay, 31)
    path = f"/chats/{number}/export"
    got = await visitor.submit(path, **{"as": "json", "key": "a"})
    assert got.headers["content-disposition"] == f'attachment; filename="chat-{number}.json"'
    kept = json.loads(got.text)
    assert [one["chat"] for one in kept["chats"]] == ["31"]
    assert kept["chats"][0]["hooks"][0]["hook"]["visitor"]["name"] == HOSTILE
    assert {one["destination"] for one in kept["chats"][0]["deliveries"]} == {"desk", "room"}
    got = await visitor.submit(path, **{"as": "json", "of": "visitor", "key": "b"})
    assert [one["chat"] for one in json.loads(got.text)["chats"]] == ["31", "32"]
    got = await visitor.submit(path, **{"as": "csv", "key": "c"})
    rows = list(csv.DictReader(io.StringIO(got.text.removeprefix("\ufeff"))))
    assert [(one["chat"], one["visitor"]) for one in rows] == [("208/31", HOSTILE)] * 2
    formulas = ["=HYPERLINK(1)", "a;=1+1", "a;\t@b", "\uff1d1", "a\r\n=1", "-1;+1"]
    safe = ["'=HYPERLINK(1)", "a;'=1+1", "a;\t'@b", "'\uff1d1", "a\r\n'=1", "'-1;'+1"]
    for written, expected in zip(formulas, safe, strict=True):
        relay.change("UPDATE chats SET visitor = ?", written)
        got = await visitor.submit(path, **{"as": "csv", "key": "d"})
        assert expected in got.text
    assert (await visitor.submit(path, **{"as": "xlsx"})).status == 400
    acts = [("admin", "export", "208/31", detail) for detail in ("", "visitor", *[""] * 7)]
    assert relay.rows(ACTS) == acts


@in_one_loop
async def test_erasing_takes_a_typed_word_and_leaves_nothing(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    who = {"name": "Canary Bird", "email": "Canary@example.com"}
    for chat in (41, 42, 43):
        assert (await relay.post(a_hook(chat, missed=True, visitor=who))).status == 202
    relay.change("UPDATE deliveries SET state = 'failed', settled_at = 1")
    relay.change("DELETE FROM acts")
    number = await number_of(relay, 41)
    path = f"/chats/{number}/erase"
    page = (await visitor.get(path)).text
    assert "all that is kept of this address: 3 chats" in page
    assert "Your password" not in page
    for typed in ("", "yes", "208/42", "canary"):
        got = await visitor.submit(path, key="k", typed=typed)
        assert (got.status, "Nothing was erased" in got.text) == (422, True)
    assert relay.rows(ACTS) == []
    got = await visitor.submit(path, key="k", typed=" 208/41 ")
    assert (got.status, "It was erased." in got.text) == (200, True)
    assert relay.rows("SELECT chat FROM chats WHERE chat IN ('41', '42')") == [("42",)]
    assert (await visitor.submit(path, key="k", typed="208/41")).status == 404
    number = await number_of(relay, 42)
    got = await visitor.submit(
        f"/chats/{number}/erase", key="m", of="visitor", typed="canary@EXAMPLE.com"
    )
    assert "It was erased." in got.text
    assert relay.rows("SELECT chat FROM chats WHERE chat IN ('41', '42', '43')") == []
    assert relay.rows(ACTS) == [
        ("admin", "erase", "208/41", ""),
        ("admin", "erase", "208/42", "visitor"),
    ]
    assert "Canary" not in (await visitor.get("/chats?q=canary")).text


@pytest.mark.usefixtures("each_store")
async def test_an_old_session_is_asked_for_the_password_before_it_erases(tmp_path: Path) -> None:
    clock = MovableClock()
    noon = datetime(2026, 11, 27, 12, tzinfo=UTC)
    clock.forward(seconds=(noon - clock()).total_seconds())
    async with running_relay(tmp_path, clock=clock, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        visitor = await signed_in(relay)
        assert (await relay.post(a_hook(1, rating=5))).status == 202
        clock.forward(minutes=11)
        path = f"/chats/{await number_of(relay, 1)}/erase"
        assert "Your password" in (await visitor.get(path)).text
        for given in ({}, {"password": "wrong"}):
            got = await visitor.submit(path, key="k", typed="208/1", **given)
            assert (got.status, "The password is wrong." in got.text) == (422, True)
        while (await visitor.submit(path, typed="208/1", password="wrong")).status == 422:
            pass  # each half minute one more is let through
        got = await visitor.submit(path, typed="208/1", password=PASSWORD)
        assert (got.status, "Too many tries." in got.text) == (429, True)
        assert relay.rows("SELECT count(*) FROM chats") == [(1,)]
        other = await invited(visitor, "anna", "admin")
        clock.forward(minutes=11)
        got = await other.submit(path, typed="208/1", password="another good password")
        assert "It was erased." in got.text
        assert relay.rows("SELECT count(*) FROM chats") == [(0,)]


@in_one_loop
async def test_a_page_looks_again_only_while_something_is_under_way(relay: RunningRelay) -> None:
    visitor = await signed_in(relay, "viewer")
    assert (await relay.post(a_hook(51, missed=True))).status == 202
    number = await number_of(relay, 51)
    ((delivery, *_),) = relay.rows(
        f"SELECT min(id) FROM deliveries WHERE chat_id = {number}"  # noqa: S608 - a number
    )
    pages = (f"/chats/{number}", f"/deliveries/{delivery}")
    for state, looks in (("sending", True), ("failed", False), ("delivered", False)):
        relay.change("UPDATE deliveries SET state = ?, settled_at = 1, lease_until = NULL", state)
        for path in pages:
            assert ('hx-trigger="every 2s"' in await text(visitor, path)) is looks, (path, state)


async def text(visitor: Visitor, path: str) -> str:
    got = await visitor.get(path)
    assert Read(got.text).wrong == []
    return got.text
