"""A chat, and a rating that comes later, from the hook to a Slack channel: one thread."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.clock import Clock, utc_now
from tests.builders import a_hook
from tests.running import MovableClock, RunningRelay, running_relay
from tests.servers import DROP, HttpServer
from tests.transports.workspace import CHANNEL, Workspace

pytestmark = pytest.mark.usefixtures("each_store_at_length")

RULES = f"""\
destinations:
  room: {{slack: {{channel: {CHANNEL}}}, rate: unlimited}}
rules:
  - {{name: Missed chats, when: {{missed: true}}, send_to: room, template: missed}}
  - {{name: Bad ratings, when: {{rating: {{at_most: 2}}}}, send_to: room, template: low_rating}}
"""


@asynccontextmanager
async def relay_and_workspace(
    folder: Path, clock: Clock = utc_now
) -> AsyncIterator[tuple[RunningRelay, HttpServer, Workspace]]:
    workspace = Workspace()
    async with (
        HttpServer(usual=workspace) as server,
        running_relay(
            folder,
            rules=RULES,
            clock=clock,
            RELAY_SLACK_TOKEN="xoxb-1",
            RELAY_SLACK_API_URL=server.url("/api/"),
        ) as relay,
    ):
        workspace.server = server
        yield relay, server, workspace


DELIVERED = "SELECT count(*) FROM deliveries WHERE state = 'delivered'"


async def test_a_rating_that_comes_after_the_chat_joins_its_thread(tmp_path: Path) -> None:
    async with relay_and_workspace(tmp_path) as (relay, _, workspace):
        await relay.post(a_hook(1, missed=True))
        await relay.until(DELIVERED, (1,))
        # Whole seconds tell one hook from another; these two may come within one, and are one thread all the same.
        await relay.post(a_hook(1, missed=True, rating=1, rating_comment="Nobody was there"))
        await relay.until(DELIVERED, (2,))
        await relay.post(a_hook(2, missed=True))
        await relay.until(DELIVERED, (3,))
    first, other = workspace.posts
    transcript, news = first.replies
    assert "Hello, is anybody there?" in transcript.words
    assert "Nobody was there" in news.words
    assert news.message["reply_broadcast"] is True
    assert news.message["metadata"]["event_payload"]["chat"] == "208/1"
    assert len(other.replies) == 1


async def test_a_rating_that_comes_minutes_later_renews_the_first_message_too(
    tmp_path: Path,
) -> None:
    async with relay_and_workspace(tmp_path, MovableClock()) as (relay, _, workspace):
        await relay.post(a_hook(1, missed=True))
        await relay.until(DELIVERED, (1,))
        (first,) = workspace.posts
        before = first.header
        await relay.forward(minutes=5)
        await relay.post(a_hook(1, missed=True, rating=1, rating_comment="Nobody was there"))
        await relay.until(DELIVERED, (2,))
    assert workspace.posts == [first]
    assert before == "🔴 Missed chat: Marta Nowak"
    assert (first.header, first.changes) == ("🔴 Rated 1 of 5 stars: Marta Nowak  ★☆☆☆☆", 1)
    assert "Nobody was there" in first.words
    transcript, news = first.replies
    assert "Hello, is anybody there?" in transcript.words
    assert news.header == first.header


async def test_a_very_long_chat_is_whole_in_a_file_below_the_message(tmp_path: Path) -> None:
    said = [
        {"type": "visitor", "name": "Marta Nowak", "content": f"message {n} " + "word " * 60}
        for n in range(300)
    ]
    async with relay_and_workspace(tmp_path) as (relay, _, workspace):
        await relay.post(a_hook(1, missed=True, messages=said))
        await relay.until(DELIVERED, (1,))
    (post,) = workspace.posts
    (file,) = post.files
    assert [n for n in range(300) if f"message {n} word" not in file] == []
    (reply,) = post.replies
    assert "messages left out" in reply.words


async def test_a_transcript_that_did_not_get_through_follows_without_the_message(
    tmp_path: Path,
) -> None:
    async with relay_and_workspace(tmp_path, MovableClock()) as (relay, _, workspace):
        workspace.at("chat.postMessage", None, DROP)
        await relay.post(a_hook(1, missed=True))
        await relay.until("SELECT count(*) FROM attempts WHERE ended_at IS NOT NULL", (1,))
        assert [len(post.replies) for post in workspace.posts] == [0]
        await relay.forward(queued=1, minutes=3)
        await relay.post(a_hook(2, missed=True))  # has the room looked at again
        await relay.until(DELIVERED, (2,))
    assert [len(post.replies) for post in workspace.posts] == [1, 1]
