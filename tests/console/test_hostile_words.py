"""Whatever visitors, agents and servers write is shown as they wrote it, and can do nothing."""

import pytest

from relay.smartsupp import read_chat
from tests.builders import a_hook
from tests.console.reading import Read
from tests.console.visiting import signed_in
from tests.corpora import ADDRESSES, MARKUP, NAUGHTY
from tests.running import RunningRelay

pytestmark = pytest.mark.asyncio(loop_scope="module")
WORDS = tuple(
    dict.fromkeys((*(text for texts in MARKUP.values() for text in texts), *NAUGHTY, *ADDRESSES))
)


def hostile_hook(chat: int, words: str) -> bytes:
    visitor = {
        **dict.fromkeys(("name", "email", "note", "group", "city", "referer", "platform"), words),
        "variables": {"plan": {"label": words, "value": words}},
    }
    said = [
        {
            "type": kind,
            "subType": kind,
            "content": words,
            "sentAt": 1763800000000 + at,
        }
        for at, kind in enumerate(("visitor", "agent", "system"))
    ]
    return a_hook(
        chat,
        missed=True,
        rating=1,
        rating_comment=words,
        visitor=visitor,
        paths=[{"url": words, "title": words}],
        messages=said,
    )


@pytest.mark.long  # the whole corpus, through each page
async def test_no_words_become_markup_on_any_page(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    step = len(WORDS) // 40
    some = {
        1 + n: words
        for n, words in enumerate((*MARKUP["html"], *MARKUP["templates"], *WORDS[::step]))
    }
    for chat, words in some.items():
        body = hostile_hook(chat, words)
        assert (await relay.post(body)).status == 202
    relay.change(
        "UPDATE deliveries SET state = 'failed', settled_at = 1, detail = ?", MARKUP["html"][0]
    )
    rows = relay.rows(
        "SELECT chats.id, chat, min(deliveries.id) FROM chats JOIN deliveries ON chat_id = chats.id GROUP BY 1, 2"
    )
    assert len(rows) == len(some)
    for number, chat, delivery in rows:
        page = Read((await visitor.get(f"/chats/{number}")).text)
        told = read_chat(hostile_hook(int(chat), some[int(chat)]))
        assert page.wrong == [], some[int(chat)]
        said = [one.text for one in told.messages]
        assert [text for text in page.texts.get("bubble", []) if text not in said] == []
        for path in (f"/deliveries/{delivery}", f"/deliveries/{delivery}/look"):
            assert Read((await visitor.get(path)).text).wrong == [], some[int(chat)]
    for path in (
        "/chats",
        "/deliveries",
        "/chats?q=%3Cscript%3E",
        "/chats?rule=%22%3E%3Cscript%3E",
        "/health",
    ):
        assert Read((await visitor.get(path)).text).wrong == []
