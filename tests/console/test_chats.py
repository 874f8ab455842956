"""Chats and deliveries, as the console tells of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.console.reading import Read
from tests.console.visiting import PASSWORD, Visitor, signed_in
from tests.running import RunningRelay, running_relay
from tests.servers import SmtpServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
numbers: Iterator[int] = iter(range(1000, 9999))


async def post(relay: RunningRelay, **changes: object) -> int:
    """A chat that came in; its number in the database."""
    number = next(numbers)
    assert (await relay.post(a_hook(number, **changes))).status == 202
    ((newest,),) = relay.rows("SELECT max(id) FROM chats")
    return int(newest)


async def read(visitor: Visitor, path: str) -> Read:
    got = await visitor.get(path)
    assert got.status == 200, (path, got.status)
    page = Read(got.text)
    assert page.wrong == []
    return page


def shown(page: Read) -> list[int]:
    """The numbers of the chats in a list."""
    return [int(one.removeprefix("chat-")) for one in page.ids if one.startswith("chat-")]


async def test_the_list_has_the_newest_first_with_what_was_told(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    first = await post(relay, missed=True, visitor={"name": "Ana"})
    second = await post(relay, visitor={"name": ""})
    page = await read(visitor, "/chats")
    assert shown(page)[:2] == [second, first]
    assert page.texts["told"][0].split() == ["No", "rule", "matched"]
    assert "desk" in page.texts["told"][1]
    assert "room" in page.texts["told"][1]
    assert page.texts["words"][0].strip() == "Hello, is anybody there?"
    assert "A visitor" in page.text


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ("kind=missed", [True, False, False]),
        ("kind=offline", [False, True, False]),
        ("rating=2", [False, False, True]),
        ("told=nobody", [False, True, True]),
        ("told=waiting", [True, False, False]),
        ("told=failed", [False, False, False]),
        ("rule=Missed+chats", [True, False, False]),
        ("rule=Another", [False, False, False]),
        ("to=room", [True, False, False]),
        ("q=zdenka", [True, True, True]),
        ("q=ZDE%C5%87KA+PRVNI", [True, False, False]),
        ("q=first%40example.com", [True, False, False]),
        ("q=FIRST%40Example.com&kind=offline", [False, False, False]),
        ("q=nobody%40example.com", [False, False, False]),
    ],
)
async def test_filters_and_a_search_leave_those_that_fit(
    relay: RunningRelay, query: str, fits: list[bool]
) -> None:
    visitor = await signed_in(relay)
    first = {"name": "Zdeňka První", "email": "first@example.com"}
    chats = [
        await post(relay, missed=True, visitor=first),
        await post(relay, offline=True, visitor={"name": "Zdenka Druhá"}),
        await post(relay, rating=1, visitor={"name": "ZDEŇKA  Třetí"}),
    ]
    page = await read(visitor, f"/chats?{query}")
    wanted = [chat for chat, is_wanted in zip(chats, fits, strict=True) if is_wanted]
    assert [chat for chat in shown(page) if chat in chats] == wanted[::-1]
    assert "/chats" in page.links  # what takes the filters away


@pytest.mark.parametrize(
    "query", ["kind=x", "told=x", "rating=9", "rating=x", "before=x", "before=-1"]
)
async def test_a_filter_that_there_is_not_is_refused(relay: RunningRelay, query: str) -> None:
    visitor = await signed_in(relay)
    assert (await visitor.get(f"/chats?{query}")).status == 400


async def test_a_chats_name_leads_to_the_chat(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    number = await post(relay)
    ((name,),) = relay.rows("SELECT account || '/' || chat FROM chats ORDER BY id DESC LIMIT 1")
    assert (await visitor.get(f"/chats?q={name}")).place == f"/chats/{number}"


async def test_pages_go_on_where_the_one_before_ended(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    chats = [await post(relay) for _ in range(52)]
    first = await read(visitor, "/chats")
    (older,) = [link for link in first.links if "before=" in link]
    # What comes meanwhile moves nothing.
    newest = await post(relay)
    second = await read(visitor, older)
    assert (shown(first) + shown(second))[:52] == chats[::-1]
    assert shown(await read(visitor, "/chats"))[0] == newest


async def test_new_chats_are_told_of_and_nothing_else_is_asked(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    newest = await post(relay)
    assert f'hx-get="/chats/new?after={newest}"' in (await visitor.get("/chats")).text
    assert (await visitor.get(f"/chats/new?after={newest}")).status == 204
    await post(relay)
    await post(relay)
    assert "2 new chats" in (await visitor.get(f"/chats/new?after={newest}")).text


async def test_a_chat_says_who_was_told_and_why(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    number = await post(relay, missed=True)
    page = await read(visitor, f"/chats/{number}")
    assert "because the rule “Missed chats” matched: missed: yes" in page.text
    assert "desk@example.com" in page.text
    assert page.texts["bubble"][0] == "Hello, is anybody there?"
    assert "1 rule evaluated" in page.text
    deliveries = [link for link in page.links if link.startswith("/deliveries/")]
    assert len(deliveries) >= 2


async def test_a_chat_that_no_rule_wants_says_so_and_what_was_nearest(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    page = await read(visitor, f"/chats/{await post(relay)}")
    assert "No rule matched." in page.text
    assert "“Missed chats” came nearest; not met: missed: no" in page.text


async def test_what_is_not_there_is_said_to_be_so(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    for path in ("/chats/999999", "/deliveries/999999", "/deliveries/999999/mail", "/chats/0"):
        got = await visitor.get(path)
        assert (got.status, "Page not found" in got.text) == (404, True)


@pytest.mark.asyncio(loop_scope="function")
async def test_failed_deliveries_stand_in_groups_with_the_cure(tmp_path: Path) -> None:
    async with (
        SmtpServer().at("rcpt", "550 5.1.1 user unknown", times=None) as mail,
        running_relay(tmp_path, smtp=mail.port, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay,
    ):
        for _ in range(3):
            chat = await post(relay, missed=True)
        await relay.until("SELECT count(*) FROM deliveries WHERE state = 'failed'", (3,))
        visitor = await signed_in(relay)
        assert "What was sent" not in (await read(visitor, f"/chats/{chat}")).text
        assert "How it looks" in (await read(visitor, f"/chats/{chat}")).text
        page = await read(visitor, "/deliveries")
        assert "3 deliveries have failed" in page.text
        assert "3 to desk" in page.text
        assert "user unknown" in page.text
        assert page.texts["cure"]
        assert "Then send a test to room, under “Destinations”." in page.text
        assert "Then run" not in page.text
        assert "3 deliveries failed" in (await read(visitor, "/chats")).text
        assert len(shown(await read(visitor, "/chats?told=failed"))) == 3


async def test_a_delivery_shows_its_attempts_and_how_it_looks(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    chat = await post(relay, missed=True, visitor={"name": "Ana <b>"})
    rows = dict(relay.rows("SELECT destination, max(id) FROM deliveries GROUP BY destination"))
    mail = await read(visitor, f"/deliveries/{rows['desk']}")
    assert f'src="/deliveries/{rows["desk"]}/mail" sandbox=""' in mail.html
    frame = await visitor.get(f"/deliveries/{rows['desk']}/mail")
    assert "Ana &lt;b&gt;" in frame.text
    assert "sandbox" in frame.headers["content-security-policy"]
    assert "script" not in frame.headers["content-security-policy"]
    assert frame.headers["x-frame-options"] == "SAMEORIGIN"
    slack = await read(visitor, f"/deliveries/{rows['room']}")
    assert "Ana <b>" in slack.texts["slack-post"][0]
    assert (await visitor.get(f"/deliveries/{rows['room']}/mail")).status == 404
    assert f"/chats/{chat}" in slack.links
