"""A bot's posts in Slack: one thread per chat, nothing twice, later news below, long transcripts as a file."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs
from msgspec.structs import replace

from relay.chat import Author
from relay.destination import Destination
from relay.notification import Fact, Notification, Tone, TranscriptMessage, transcript_line
from relay.transports import Ending, Outcome
from relay.transports.registry import open_transport
from relay.transports.slack.api import read_receipt
from tests.servers import DROP, HttpAnswer
from tests.transports.examples import IDENTITY, MISSED, a_notification, saying
from tests.transports.test_slack import by_token, word
from tests.transports.workspace import CHANNEL, ChannelBench, refused

RATED = a_notification(
    subject="Low rating from Marta Nowák",
    summary="Marta Nowák rated the chat 1 of 5 stars.",
    facts=(*MISSED.facts, Fact(label="Rating", value="1 of 5 stars")),
    tone=Tone.BAD,
)
LATER_HOOK = IDENTITY.date + timedelta(hours=1)


@pytest.fixture
async def bench() -> AsyncIterator[ChannelBench]:
    async with by_token() as opened:
        yield opened


async def send(
    bench: ChannelBench, notification: Notification = MISSED, **identity: Any
) -> Outcome:
    whose = replace(IDENTITY, chat="208/910001", **identity)
    return await bench.transport.send(notification, "", whose)


def long_chat(messages: int, words: int = 60) -> Notification:
    transcript = tuple(
        TranscriptMessage(
            author=Author.VISITOR, name="Marta", text=f"message {n} " + "word " * words
        )
        for n in range(messages)
    )
    return a_notification(transcript=transcript)


# -- the first time ----------------------------------------------------------------------------------------


async def test_the_message_says_who_and_what_and_the_transcript_is_its_reply(
    bench: ChannelBench,
) -> None:
    await send(bench)
    (post,) = bench.workspace.posts
    assert post.header == "🔴 Missed chat from Marta Nowák"
    assert "Green shoes, size 42" in post.words
    assert "is anybody there" not in post.words
    (reply,) = post.replies
    assert "Hello, is anybody there?" in reply.words
    assert "I would like to order." in reply.words
    assert reply.message["text"].startswith("12:00 Marta Nowák: Hello, is anybody there? 12:00 🤖")
    assert "reply_broadcast" not in reply.message


async def test_a_chat_without_messages_is_one_message(bench: ChannelBench) -> None:
    await send(bench, a_notification(transcript=()))
    assert bench.methods() == ["chat.postMessage"]


async def test_a_long_transcript_is_told_in_several_replies_and_whole(bench: ChannelBench) -> None:
    chat = long_chat(50)
    await send(bench, chat)
    (post,) = bench.workspace.posts
    assert len(post.replies) == 2
    told = "\n".join(reply.words for reply in post.replies)
    assert [n for n in range(50) if f"message {n} " not in told] == []
    assert post.files == []


async def test_a_very_long_transcript_is_told_in_part_and_whole_in_a_file(
    bench: ChannelBench,
) -> None:
    notification = long_chat(300)
    await send(bench, notification)
    (post,) = bench.workspace.posts
    assert len(post.replies) == 1
    assert "message 299 " in post.replies[0].words
    assert "message 100 " not in post.replies[0].words
    (file,) = post.files
    assert [n for n in range(300) if f"Marta: message {n} " not in file] == []
    assert file.startswith("Missed chat from Marta Nowák\n")
    assert "\n".join(map(transcript_line, notification.transcript)) in file
    assert bench.methods()[2:] == [
        "files.getUploadURLExternal",
        "upload",
        "files.completeUploadExternal",
    ]
    complete = bench.server.requests[-1].json()
    assert complete["files"] == [{"id": "F1", "title": "Missed chat from Marta Nowák"}]
    assert b"filename=chat-208-910001.txt" in bench.server.requests[2].body


async def test_one_message_too_long_for_a_block_is_whole_in_the_file(bench: ChannelBench) -> None:
    text = "a long story " * 400
    await send(bench, saying(text))
    (post,) = bench.workspace.posts
    assert text.strip() in post.files[0]


async def test_each_post_names_the_chat_and_the_delivery_for_programs(bench: ChannelBench) -> None:
    await send(bench)
    about = [request.json()["metadata"] for request in bench.server.requests]
    assert [one["event_type"] for one in about] == ["smartsupp_chat"] * 2
    assert [one["event_payload"] for one in about] == [
        {"chat": "208/910001", "delivery": IDENTITY.message_id, "part": part} for part in (1, 2)
    ]


# -- where nobody knows how an earlier attempt ended --------------------------------------------------------


async def test_what_is_there_already_is_not_posted_again(bench: ChannelBench) -> None:
    await send(bench)
    for number in range(4):  # it is on the third page by now
        await send(bench, message_id=f"other-{number}@example.org")
    before = len(bench.server.requests)
    outcome = await send(bench, unsure=True)
    assert outcome.ending is Ending.DELIVERED
    asked = bench.methods()[before:]
    assert asked == ["conversations.history"] * 3 + ["conversations.replies"]
    receipt = read_receipt(outcome.receipt)
    assert receipt
    assert (receipt.ts, receipt.steps) == (bench.workspace.posts[0].ts, 2)


async def test_what_was_lost_on_the_way_is_posted(bench: ChannelBench) -> None:
    outcome = await send(bench, unsure=True)
    assert outcome.ending is Ending.DELIVERED
    (post,) = bench.workspace.posts
    assert len(post.replies) == 1


async def test_a_reply_that_is_there_is_not_posted_again_and_the_next_one_is(
    bench: ChannelBench,
) -> None:
    bench.workspace.at("chat.postMessage", None, None, DROP)
    await send(bench, long_chat(50))
    (post,) = bench.workspace.posts
    assert len(post.replies) == 1
    assert (await send(bench, long_chat(50), unsure=True)).ending is Ending.DELIVERED
    assert len(bench.workspace.posts) == 1
    assert [reply.message["metadata"]["event_payload"]["part"] for reply in post.replies] == [2, 3]


async def test_in_a_thread_that_is_there_it_is_looked_for_there(bench: ChannelBench) -> None:
    first = await send(bench)
    later = {"message_id": "later@example.org", "thread_receipt": first.receipt}
    await send(bench, RATED, date=LATER_HOOK, **later)
    (post,) = bench.workspace.posts
    count = len(post.replies)
    outcome = await send(bench, RATED, date=LATER_HOOK, unsure=True, **later)
    assert outcome.ending is Ending.DELIVERED
    assert len(post.replies) == count
    bench.workspace.posts.clear()  # somebody deletes it, with all that is below
    outcome = await send(bench, RATED, date=LATER_HOOK, unsure=True, **later)
    assert outcome.ending is Ending.DELIVERED
    assert len(bench.workspace.posts) == 1


async def test_a_bot_that_may_not_look_posts_again_as_it_did(bench: ChannelBench) -> None:
    await send(bench)
    bench.workspace.at("conversations.history", refused("missing_scope"))
    assert (await send(bench, unsure=True)).ending is Ending.DELIVERED
    assert len(bench.workspace.posts) == 2


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        (refused("ratelimited", 429), Ending.RATE_LIMITED),
        (refused("internal_error"), Ending.LATER),
        (DROP, Ending.LATER),
    ],
)
async def test_where_it_cannot_be_looked_at_just_now_nothing_is_posted(
    bench: ChannelBench, answer: Any, ending: Ending
) -> None:
    await send(bench)
    bench.workspace.at("conversations.history", answer)
    assert (await send(bench, unsure=True)).ending is ending
    assert len(bench.workspace.posts) == 1


# -- what fails half-way -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        (refused("ratelimited", 429), Ending.RATE_LIMITED),
        (refused("request_timeout"), Ending.LATER),
        (refused("internal_error"), Ending.MAYBE_DELIVERED),
        (refused("is_archived"), Ending.DESTINATION_BROKEN),
        (DROP, Ending.MAYBE_DELIVERED),
    ],
)
async def test_a_reply_that_failed_is_tried_again_without_the_message(
    bench: ChannelBench, answer: Any, ending: Ending
) -> None:
    bench.workspace.at("chat.postMessage", None, answer)
    first = await send(bench)
    assert first.ending is ending
    assert first.receipt
    bench.clock.now += timedelta(minutes=1)
    second = await send(bench, receipt=first.receipt)
    assert second.ending is Ending.DELIVERED
    (post,) = bench.workspace.posts
    assert len(post.replies) == 1
    assert bench.tries() == 1


async def test_only_the_replies_that_are_missing_are_posted(bench: ChannelBench) -> None:
    bench.workspace.at("chat.postMessage", None, None, refused("request_timeout"))
    first = await send(bench, long_chat(75))
    assert first.ending is Ending.LATER
    await send(bench, long_chat(75), receipt=first.receipt)
    (post,) = bench.workspace.posts
    told = [
        [f"message {n} " in reply.words for reply in post.replies].count(True) for n in range(75)
    ]
    assert told == [1] * 75


async def test_a_reply_that_slack_finds_odd_is_left_out_in_the_short_form(
    bench: ChannelBench,
) -> None:
    bench.workspace.at("chat.postMessage", None, refused("invalid_blocks"))
    first = await send(bench)
    assert (first.ending, first.shorten) == (Ending.REFUSED, True)
    second = await send(bench, MISSED.short(), receipt=first.receipt)
    assert second.ending is Ending.DELIVERED
    assert len(bench.workspace.posts) == 1


async def test_a_message_that_slack_finds_odd_is_said_again_without_any_blocks(
    bench: ChannelBench,
) -> None:
    bench.workspace.at("chat.postMessage", refused("invalid_blocks"))
    first = await send(bench)
    assert (first.ending, first.receipt) == (Ending.REFUSED, "")
    await send(bench, MISSED.short())
    (post,) = bench.workspace.posts
    assert "blocks" not in post.message
    assert post.message["text"].startswith("Missed chat from Marta Nowák\nMarta Nowák wrote 3")
    assert "Email: marta@example.com" in post.message["text"]


async def test_a_channel_without_threads_gets_the_message_and_no_reply(bench: ChannelBench) -> None:
    bench.workspace.at(
        "chat.postMessage", None, refused("restricted_action_non_threadable_channel")
    )
    outcome = await send(bench)
    assert outcome.ending is Ending.DELIVERED
    assert "a reply is missing: Slack answered 200 restricted_action_non" in outcome.detail


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("files.getUploadURLExternal", refused("missing_scope", needed="files:write")),
        ("upload", HttpAnswer(status=400, body="bad")),
        ("upload", word(302, "", Location="http://127.0.0.1/")),
        ("files.completeUploadExternal", refused("file_not_found")),
        ("files.completeUploadExternal", refused("fatal_error")),
        ("files.completeUploadExternal", DROP),
    ],
)
async def test_a_file_that_can_not_be_uploaded_leaves_the_message_delivered(
    bench: ChannelBench, method: str, answer: Any
) -> None:
    bench.workspace.at(method, answer)
    outcome = await send(bench, long_chat(300))
    assert outcome.ending is Ending.DELIVERED
    assert "the file is missing: " in outcome.detail
    again = await send(bench, long_chat(300), receipt=outcome.receipt)
    assert again.ending is Ending.DELIVERED
    assert len(bench.workspace.posts) == 1


async def test_a_missing_permission_is_named(bench: ChannelBench) -> None:
    bench.workspace.at("files.getUploadURLExternal", refused("missing_scope", needed="files:write"))
    outcome = await send(bench, long_chat(300))
    assert "missing_scope the bot needs files:write" in outcome.detail


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "upload"])
@pytest.mark.parametrize("answer", [DROP, word(503, "later"), word(429, "slow down")])
async def test_a_file_that_may_pass_later_is_tried_three_times_and_nothing_else(
    bench: ChannelBench, method: str, answer: Any
) -> None:
    bench.workspace.at(method, *[answer] * 3)
    receipt, endings = "", []
    for _ in range(3):
        outcome = await send(bench, long_chat(300), receipt=receipt)
        receipt = outcome.receipt
        endings.append(outcome.ending)
        bench.clock.now += timedelta(minutes=1)
    assert endings[2] is Ending.DELIVERED
    assert set(endings[:2]) <= {Ending.LATER, Ending.RATE_LIMITED}
    (post,) = bench.workspace.posts
    assert (len(post.replies), post.files) == (1, [])


async def test_a_file_that_failed_once_is_there_the_next_time(bench: ChannelBench) -> None:
    bench.workspace.at("upload", DROP)
    first = await send(bench, long_chat(300))
    await send(bench, long_chat(300), receipt=first.receipt)
    (post,) = bench.workspace.posts
    assert (len(post.replies), len(post.files)) == (1, 1)


@pytest.mark.parametrize(
    "url",
    [
        "http://files.slack.example/upload",
        "https://10.0.0.1/upload",
        "https://169.254.169.254/latest",
        "file:///etc/passwd",
        "None",
    ],
)
async def test_a_file_goes_nowhere_but_to_a_public_https_address(
    bench: ChannelBench, url: str
) -> None:
    await send(bench)
    bench.workspace.upload_url = url
    # The session is open and may call the API: only where that sends us is looked at.
    bench.access.http.allow_private = False
    outcome = await send(bench, long_chat(300))
    assert outcome.ending is Ending.DELIVERED
    assert "the file is missing: the address that Slack named for the file" in outcome.detail
    assert "upload" not in bench.methods()


# -- a later delivery about the same chat ------------------------------------------------------------------


async def test_a_later_rating_goes_into_the_thread_and_renews_the_first_message(
    bench: ChannelBench,
) -> None:
    first = await send(bench)
    outcome = await send(bench, RATED, thread_receipt=first.receipt, date=LATER_HOOK)
    assert outcome.ending is Ending.DELIVERED
    (post,) = bench.workspace.posts
    transcript, news = post.replies
    assert "is anybody there" in transcript.words
    assert news.header == "🔴 Low rating from Marta Nowák"
    assert news.message["reply_broadcast"] is True
    assert "is anybody there" not in news.words
    assert post.header == "🔴 Low rating from Marta Nowák"
    assert post.changes == 1


async def test_another_rule_about_the_same_hook_leaves_the_first_message_as_it_is(
    bench: ChannelBench,
) -> None:
    first = await send(bench)
    await send(bench, RATED, thread_receipt=first.receipt)
    (post,) = bench.workspace.posts
    assert post.header == "🔴 Missed chat from Marta Nowák"
    assert [reply.message.get("reply_broadcast") for reply in post.replies] == [None, True]


async def test_what_was_said_since_follows_and_what_was_told_is_not_told_again(
    bench: ChannelBench,
) -> None:
    first = await send(bench)
    more = TranscriptMessage(author=Author.VISITOR, name="Marta Nowák", text="I am back.")
    grown = structs.replace(RATED, transcript=(*MISSED.transcript, more))
    await send(bench, grown, thread_receipt=first.receipt, date=LATER_HOOK)
    (post,) = bench.workspace.posts
    assert len(post.replies) == 3
    assert "I am back." in post.replies[2].words
    assert "is anybody there" not in post.replies[2].words


async def test_what_comes_third_finds_the_thread_by_either_receipt(bench: ChannelBench) -> None:
    first = await send(bench)
    second = await send(bench, RATED, thread_receipt=first.receipt, date=LATER_HOOK)
    await send(bench, RATED, thread_receipt=second.receipt, date=LATER_HOOK + timedelta(hours=1))
    (post,) = bench.workspace.posts
    assert len(post.replies) == 3


async def test_an_older_hook_that_comes_late_leaves_the_newer_first_message(
    bench: ChannelBench,
) -> None:
    first = await send(bench, RATED, date=LATER_HOOK)
    await send(bench, MISSED, thread_receipt=first.receipt)
    assert "chat.update" not in bench.methods()
    (post,) = bench.workspace.posts
    assert post.header == "🔴 Low rating from Marta Nowák"


async def test_where_the_thread_is_gone_a_new_one_tells_everything(bench: ChannelBench) -> None:
    first = await send(bench)
    bench.workspace.posts.clear()
    outcome = await send(bench, RATED, thread_receipt=first.receipt, date=LATER_HOOK)
    assert outcome.ending is Ending.DELIVERED
    (post,) = bench.workspace.posts
    assert "is anybody there" in post.replies[0].words
    assert "chat.update" not in bench.methods()


@pytest.mark.parametrize(
    "word_", ["cant_update_message", "edit_window_closed", "message_not_found", "missing_scope"]
)
async def test_a_first_message_that_can_not_be_changed_stays_as_it_is(
    bench: ChannelBench, word_: str
) -> None:
    first = await send(bench)
    bench.workspace.at("chat.update", refused(word_))
    outcome = await send(bench, RATED, thread_receipt=first.receipt, date=LATER_HOOK)
    assert outcome.ending is Ending.DELIVERED
    assert f"the newer first message is missing: Slack answered 200 {word_}" in outcome.detail


async def test_news_that_failed_half_way_are_not_told_twice(bench: ChannelBench) -> None:
    first = await send(bench)
    bench.workspace.at("chat.update", DROP)
    second = await send(bench, RATED, thread_receipt=first.receipt, date=LATER_HOOK)
    assert second.ending is Ending.LATER
    third = await send(
        bench, RATED, thread_receipt=first.receipt, receipt=second.receipt, date=LATER_HOOK
    )
    assert third.ending is Ending.DELIVERED
    (post,) = bench.workspace.posts
    assert len(post.replies) == 2
    assert post.changes == 1


async def test_a_thread_in_a_room_that_the_rules_no_longer_name_is_left_alone(
    bench: ChannelBench,
) -> None:
    first = await send(bench)
    receipt = read_receipt(first.receipt)
    assert receipt is not None
    elsewhere = replace(receipt, channel="C9999999999").written()
    await send(bench, RATED, thread_receipt=elsewhere, receipt=elsewhere, date=LATER_HOOK)
    assert len(bench.workspace.posts) == 2


@pytest.mark.parametrize("receipt", ["ok", "channel=C1", "ts=1&channel=C1&hook=x", "%ff", "\0"])
async def test_a_receipt_that_says_nothing_is_as_none(bench: ChannelBench, receipt: str) -> None:
    await send(bench, receipt=receipt, thread_receipt=receipt)
    assert len(bench.workspace.posts) == 1


# -- one token, several rooms ------------------------------------------------------------------------------


async def test_a_wait_asked_of_one_room_holds_for_the_others_of_the_token(
    bench: ChannelBench,
) -> None:
    other = open_transport(
        Destination(name="other", transport="slack", options={"channel": CHANNEL}), bench.access
    )
    bench.workspace.at("chat.postMessage", word(429, "ratelimited", Retry_After="30"))
    assert (await send(bench)).after == timedelta(seconds=30)
    bench.clock.now += timedelta(seconds=10)
    held = await other.send(MISSED, "", IDENTITY)
    assert (held.ending, held.after) == (Ending.RATE_LIMITED, timedelta(seconds=20))
    assert len(bench.server.requests) == 1
    bench.clock.now += timedelta(seconds=20)
    assert (await other.send(MISSED, "", IDENTITY)).ending is Ending.DELIVERED


async def test_no_secret_stands_in_any_detail_of_a_file(bench: ChannelBench) -> None:
    bench.workspace.at("upload", word(400, f"{bench.secrets} /upload/v1/F1?secret=upSECRET"))
    detail = (await send(bench, long_chat(300))).detail
    assert "the file is missing" in detail
    assert [secret for secret in bench.secrets if secret in detail] == []
