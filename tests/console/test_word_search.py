"""A search for what was said: results as they come, nothing of the words kept."""

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.services.find_chats import place_in, plain
from tests.builders import a_hook
from tests.console.reading import Read
from tests.console.visiting import Got, Visitor, signed_in
from tests.running import RunningRelay

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def said(relay: RunningRelay, chat: int, text: str, kind: str = "visitor") -> None:
    message = {"type": kind, "content": text, "sentAt": 1763800000000}
    assert (await relay.post(a_hook(chat, missed=True, messages=[message]))).status == 202


async def searched(visitor: Visitor, words: str) -> Read:
    begun = await visitor.submit("/chats/words", words=words)
    assert begun.status == 303
    while "every 1s" in (page := (await visitor.get(begun.place)).text):
        await visitor.get("/healthz")
    return Read(page)


async def days_of_chats(visitor: Visitor) -> list[str]:
    return Read((await visitor.get("/chats")).text).texts["day"]


async def test_chats_are_found_by_what_was_said_whatever_its_case_and_accents(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    visitor = await signed_in(relay, "viewer")
    await said(relay, 61, "Posíláte do Žďáru <b>zdarma</b>?")
    await said(relay, 62, "posilate DO zdaru?", "agent")
    await said(relay, 63, "To je jinak")
    page = await searched(visitor, "do  zdaru")
    assert page.wrong == []
    assert "Found in 2 chats." in page.text
    ids = dict(relay.rows("SELECT chat, id FROM chats"))
    links = [link for link in page.links if link.startswith("/chats/")]
    assert links == [f"/chats/{ids['62']}", f"/chats/{ids['61']}"]
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):  # where it is never the same day
        await visitor.submit("/me/choices", zone=zone)
        before = await days_of_chats(visitor)
        days = await searched(visitor, "do zdaru")
        assert {*days.texts["day"]} <= {*before, *await days_of_chats(visitor)}
    await visitor.submit("/me/choices", zone="")
    assert "<bdi>posilate <mark>DO zdaru</mark>?</bdi>" in page.html
    assert "<bdi>Posíláte <mark>do Žďáru</mark> &lt;b&gt;zdarma&lt;/b&gt;?</bdi>" in page.html
    assert "Found in 0 chats." in (await searched(visitor, "canary-word-17")).text
    assert "canary-word-17" not in caplog.text
    assert relay.rows("SELECT count(*) FROM acts WHERE detail LIKE '%canary%'") == [(0,)]
    relay.change("DELETE FROM chats WHERE chat = ?", "61")
    relay.change("DELETE FROM chats WHERE chat = ?", "62")


words = st.text("aB ž\u030cŽİßﬁ½Σ각\u1100\u1161\ufdfa\u00a0\t\n\u200d🐴", max_size=12)


@given(words, st.integers(0, 12), st.integers(0, 5))
async def test_words_are_found_where_they_stand(text: str, begin: int, length: int) -> None:
    wanted = plain(text[begin : begin + length])
    place = place_in(text, wanted)
    assert (place is not None) == (wanted != "" and wanted in plain(text))
    assert place is None or wanted in plain(text[slice(*place)])


async def state_of(visitor: Visitor, path: str) -> str:
    (state,) = Read((await visitor.get(path)).text).texts["job-state"]
    return state.strip()


async def test_a_search_that_is_stopped_while_it_ends_ends_once(relay: RunningRelay) -> None:
    visitor = await signed_in(relay, "viewer")
    await said(relay, 65, "Stopped in time?")
    for looks in range(3):
        begun = await visitor.submit("/chats/words", words="stopped in")
        for _ in range(looks):
            await visitor.get(begun.place)
        both = [visitor.submit(f"{begun.place}/stop") for _ in range(2)]
        assert {got.status for got in await asyncio.gather(*both)} == {303}
        state = await state_of(visitor, begun.place)
        assert state == "Done." or state.startswith("Stopped after ")
    found = await searched(visitor, "stopped in")
    assert found.texts["job-state"][0].strip() == "Done."
    assert (await visitor.submit(f"{begun.place}/stop")).status == 303
    assert await state_of(visitor, begun.place) == state
    relay.change("DELETE FROM chats WHERE chat = ?", "65")


async def test_no_words_are_no_search(relay: RunningRelay) -> None:
    visitor = await signed_in(relay, "viewer")
    for words in ("", "   "):
        got: Got = await visitor.submit("/chats/words", words=words)
        assert got.status == 422
