"""The catchers, spoken to by the clients that the relay itself uses."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.message import EmailMessage

import aiohttp
import aiosmtplib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from relay.preview.catchers import Catchers
from relay.preview.lookalike.mail_inbox import page_height
from relay.preview.received import KEPT, read_mail

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
async def catchers() -> AsyncIterator[Catchers]:
    async with Catchers() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def send_mail(catchers: Catchers, *to: str, **parts: str) -> None:
    mail = EmailMessage()
    mail["From"] = "Relay <relay@demo.example>"
    mail["To"] = ", ".join(to)
    mail["Reply-To"] = "José Álvarez <jose@example.net>"
    mail["Subject"] = parts.get("subject", "Příliš žluťoučký")
    mail.set_content(parts.get("text", "Buenos días"))
    if "html" in parts:
        mail.add_alternative(parts["html"], subtype="html")
    await aiosmtplib.send(mail, hostname="127.0.0.1", port=catchers.smtp_port, start_tls=False)


async def test_a_mail_is_taken_and_read_as_a_mail_program_would(catchers: Catchers) -> None:
    await send_mail(catchers, "anna@example.com", "sales@example.com", html="<p>Buenos días</p>")
    (mail,) = catchers.received.mails
    assert mail.recipients == ("anna@example.com", "sales@example.com")
    assert mail.subject == "Příliš žluťoučký"
    assert mail.sender == "Relay <relay@demo.example>"
    assert mail.reply_to == "José Álvarez <jose@example.net>"
    assert mail.text == "Buenos días\n"
    assert mail.html == "<p>Buenos días</p>\n"
    assert "Content-Type: multipart/alternative" in mail.source


async def test_several_mails_pass_over_one_connection(catchers: Catchers) -> None:
    mail = b"Subject: again\r\n\r\nbody\r\n"
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=catchers.smtp_port) as client:
        for _ in range(3):
            await client.sendmail("relay@demo.example", ["anna@example.com"], mail)
    assert [mail.number for mail in catchers.received.mails] == [1, 2, 3]


async def test_a_slack_webhook_answers_ok_and_keeps_the_post(catchers: Catchers) -> None:
    client = AsyncWebhookClient(f"{catchers.http_url}/services/T0/B0/x", retry_handlers=[])
    answer = await client.send(text="hello", blocks=[{"type": "divider"}])
    assert (answer.status_code, answer.body) == (200, "ok")
    (post,) = catchers.received.posts
    assert post.place == "/services/T0/B0/x"
    assert post.message["blocks"] == [{"type": "divider"}]
    assert json.loads(post.source) == post.message


async def test_the_slack_api_posts_and_gives_each_post_its_own_stamp(catchers: Catchers) -> None:
    client = AsyncWebClient("xoxb-1", base_url=f"{catchers.http_url}/api/", retry_handlers=[])
    first = await client.chat_postMessage(channel="C012", text="hello")
    stamp = str(first["ts"])
    reply = await client.chat_postMessage(channel="C012", text="more", thread_ts=stamp)
    assert first["ok"] is True
    assert first["channel"] == "C012"
    assert first["message"]["text"] == "hello"
    assert reply["ts"] != stamp
    (post,) = catchers.received.posts
    assert [one.message["text"] for one in post.replies] == ["more"]


async def test_a_reply_in_a_thread_is_no_delivery_of_its_own(catchers: Catchers) -> None:
    client = AsyncWebClient("xoxb-1", base_url=f"{catchers.http_url}/api/", retry_handlers=[])
    stamp = str((await client.chat_postMessage(channel="C012", text="hello"))["ts"])
    await client.chat_postMessage(channel="C012", text="more", thread_ts=stamp)
    assert catchers.received.total == 1
    await client.chat_postMessage(
        channel="C012", text="news", thread_ts=stamp, reply_broadcast=True
    )
    assert (catchers.received.total, catchers.received.post_count) == (2, 2)


async def test_the_slack_api_changes_a_post(catchers: Catchers) -> None:
    client = AsyncWebClient("xoxb-1", base_url=f"{catchers.http_url}/api/", retry_handlers=[])
    stamp = str((await client.chat_postMessage(channel="C012", text="hello"))["ts"])
    await client.chat_update(channel="C012", ts=stamp, text="hello again")
    (post,) = catchers.received.posts
    assert (post.message["text"], post.changed) == ("hello again", True)
    assert catchers.received.total == 1


async def test_the_slack_api_takes_a_file_into_a_thread(catchers: Catchers) -> None:
    client = AsyncWebClient("xoxb-1", base_url=f"{catchers.http_url}/api/", retry_handlers=[])
    stamp = str((await client.chat_postMessage(channel="C012", text="hello"))["ts"])
    await client.files_upload_v2(
        content="Dobrý den", filename="chat.txt", title="A chat", channel="C012", thread_ts=stamp
    )
    (post,) = catchers.received.posts
    (file,) = post.files
    assert (file.name, file.title, file.text) == ("chat.txt", "A chat", "Dobrý den")


@pytest.mark.parametrize(
    ("token", "method", "arguments", "error"),
    [
        ("xoxb-1", "files.upload", {"channel": "C1", "text": "x"}, "unknown_method"),
        ("", "chat.postMessage", {"channel": "C1", "text": "x"}, "not_authed"),
        ("xoxb-1", "chat.postMessage", {"channel": "C1"}, "no_text"),
        ("xoxb-1", "chat.postMessage", {"text": "x"}, "channel_not_found"),
        (
            "xoxb-1",
            "chat.postMessage",
            {"channel": "C1", "text": "x", "thread_ts": "1.000001"},
            "thread_not_found",
        ),
        ("xoxb-1", "chat.update", {"channel": "C1", "ts": "1.1", "text": "x"}, "message_not_found"),
        ("xoxb-1", "files.getUploadURLExternal", {"filename": "x"}, "invalid_arguments"),
        ("xoxb-1", "files.completeUploadExternal", {"files": [{"id": "F9"}]}, "file_not_found"),
    ],
)
async def test_the_slack_api_refuses_as_slack_does(
    catchers: Catchers, token: str, method: str, arguments: dict[str, str], error: str
) -> None:
    client = AsyncWebClient(token, base_url=f"{catchers.http_url}/api/", retry_handlers=[])
    with pytest.raises(SlackApiError) as refusal:
        await client.api_call(method, json=arguments)
    assert refusal.value.response["error"] == error
    assert not catchers.received.posts


async def test_a_teams_workflow_accepts_a_card_and_says_nothing(
    catchers: Catchers, http: aiohttp.ClientSession
) -> None:
    card = {"type": "message", "attachments": [{"content": {"type": "AdaptiveCard"}}]}
    url = f"{catchers.http_url}/teams/managers/triggers/manual?sig=x"
    async with http.post(url, json=card) as answer:
        assert (answer.status, await answer.text()) == (202, "")
    (caught,) = catchers.received.bodies
    assert caught.message == card
    assert "sig" not in caught.place


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
async def test_what_is_no_json_object_is_refused_and_not_kept(
    catchers: Catchers, http: aiohttp.ClientSession, body: bytes
) -> None:
    async with http.post(f"{catchers.http_url}/services/T0/B0/x", data=body) as answer:
        assert (answer.status, await answer.text()) == (400, "invalid_payload")
    async with http.post(f"{catchers.http_url}/teams/x", data=body) as answer:
        assert answer.status == 400
    headers = {"Authorization": "Bearer xoxb-1"}
    url = f"{catchers.http_url}/api/chat.postMessage"
    async with http.post(url, data=body, headers=headers) as answer:
        assert (await answer.json())["error"] == "invalid_json"
    assert catchers.received.total == 0


async def test_only_the_latest_are_kept_and_all_are_counted(
    catchers: Catchers, http: aiohttp.ClientSession
) -> None:
    for number in range(KEPT + 2):
        async with http.post(f"{catchers.http_url}/services/x", json={"text": str(number)}):
            pass
    assert catchers.received.total == KEPT + 2
    assert [post.message["text"] for post in catchers.received.posts][:1] == ["2"]


async def test_who_waits_for_messages_is_told_when_they_came(catchers: Catchers) -> None:
    waiting = asyncio.create_task(catchers.received.until(lambda received: received.total >= 2))
    await send_mail(catchers, "anna@example.com")
    assert not waiting.done()
    await send_mail(catchers, "anna@example.com")
    await waiting


async def test_the_catchers_end_though_a_client_holds_its_connection(
    http: aiohttp.ClientSession,
) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1")
    async with Catchers() as catchers:
        await client.connect(port=catchers.smtp_port)
        async with http.post(f"{catchers.http_url}/webhook/crm", json={}) as answer:
            assert answer.status == 204
    with pytest.raises(aiosmtplib.SMTPException):
        await client.noop()
    client.close()


def test_a_mail_has_a_frame_of_its_own_height() -> None:
    html = "<p>Hello there</p>" * 40
    mail = EmailMessage()
    mail.set_content(html, subtype="html")
    read = read_mail(mail.as_bytes(), (), number=1, arrived=NOW)
    assert read.height(440) == page_height(read.html, 440)


BROKEN = st.sampled_from(
    [
        b"Subject: =?utf-8?b?not-base64!?=\r\n",
        b"Subject: =?no-such-charset?q?x?=\r\n",
        b'From: "<@>,;:\\\r\n',
        b"To: a@b, =?utf-8?q?=00?= <>\r\n",
        b"Content-Type: text/html; charset=no-such\r\n",
        b"Content-Type: multipart/alternative\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"\r\n",
        b"--x\r\n",
        b"=?",
        b"\xff\xfe",
    ]
)


@given(st.lists(st.one_of(BROKEN, st.binary(max_size=20)), max_size=12).map(b"".join))
def test_no_mail_is_too_broken_to_be_shown(source: bytes) -> None:
    mail = read_mail(source, ("a@example.com",), number=1, arrived=NOW)
    assert mail.recipients == ("a@example.com",)
