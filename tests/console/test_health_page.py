"""What pages say of the relay itself: what is held back, the last 24 hours, where its files are."""

from datetime import timedelta

import pytest

from relay.clock import utc_now
from relay.services.recent_counts import HOURS
from tests.builders import a_hook
from tests.console.reading import Read
from tests.console.visiting import Visitor, signed_in
from tests.running import RunningRelay

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def until_held(visitor: Visitor, words: str) -> Read:
    """The banner of the chats, when it says so: the relay looks every second."""
    while words not in (page := (await visitor.get("/chats")).text):
        await visitor.get("/healthz")
    return Read(page)


async def test_every_page_says_what_is_muted_or_paused_by_whom_and_until_when(
    relay: RunningRelay,
) -> None:
    visitor = await signed_in(relay)
    assert "band held" not in (await visitor.get("/chats")).text
    form = {"destination": "desk", "until": "open", "because": "we <b>move</b>"}
    await visitor.submit("/destinations/pause", key="a", **form)
    form = {"rule": "Missed chats", "destination": "room", "because": "stocktaking"}
    await visitor.submit("/mutes", key="b", until="1h", **form)
    page = await until_held(visitor, "is muted by")
    assert page.wrong == []
    (band,) = page.texts["held"]
    assert "desk is paused by admin: we <b>move</b>" in " ".join(band.split())
    assert "Missed chats to room is muted by admin until" in " ".join(band.split())
    for path in ("/deliveries", "/destinations", "/health", "/me", "/nothing"):
        assert "stocktaking" in (await visitor.get(path)).text, path
    assert "stocktaking" not in (await Visitor(relay).get("/login")).text
    await visitor.submit("/destinations/resume", key="c", destination="desk")
    ((number,),) = relay.rows("SELECT id FROM mutes")
    await visitor.submit(f"/mutes/{number}/end", key="d")
    while "band held" in (await visitor.get("/chats")).text:
        await visitor.get("/healthz")


async def test_the_last_day_is_drawn_and_told_in_a_table(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    for chat in (1, 2, 3):
        assert (await relay.post(a_hook(chat, missed=True))).status == 202
    # Tried once, and not again for a while.
    await relay.until(
        "SELECT count(*) FROM deliveries WHERE state = 'queued' AND attempts > 0", (6,)
    )
    relay.change("UPDATE deliveries SET state = 'delivered', settled_at = 1")
    relay.change(
        "UPDATE deliveries SET state = 'failed' WHERE id IN"
        " (SELECT min(id) FROM deliveries WHERE destination = ?)",
        "desk",
    )
    old = round((utc_now() - timedelta(hours=HOURS, minutes=1)).timestamp() * 1000)
    relay.change(
        "UPDATE deliveries SET created_at = ? WHERE id IN (SELECT max(id) FROM deliveries)", old
    )
    page = Read((await visitor.get("/health")).text)
    assert page.wrong == []
    assert "Sent 4" in page.text
    assert "Failed 1" in page.text
    assert "free on its disk" in page.text or "relay on this database" in page.text
    page = Read((await visitor.get("/destinations")).text)
    assert page.wrong == []
    assert "deliveries in 24 hours, 1 failed" in page.text
    assert "Deliveries to desk in the last 24 hours" in page.text
