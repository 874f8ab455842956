"""The demo's page, fetched as a browser would."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage

import aiohttp
import aiosmtplib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.demo.run import STYLE, Guide, PostedSample, render_page
from relay.preview.catchers import Catchers
from relay.preview.lookalike.mail_inbox import page_height
from relay.preview.received import Received, read_mail
from tests.demo.reading import Page

HOSTILE = "</title></textarea><script>alert(1)</script><img src=x onerror=alert(1)>\"' {{ 7 * 7 }}"
GUIDE = Guide(
    hook_url="http://127.0.0.1:8000/hooks/smartsupp/demo-token",
    rules="/tmp/relay-demo-x/rules.yaml",  # noqa: S108 - shown, not opened
    samples="/tmp/relay-demo-x/samples",  # noqa: S108
    posted=(PostedSample(name="missed.json", status=202, deliveries=3),),
)


class Demo:
    """The catchers with their page, and a browser."""

    def __init__(self, catchers: Catchers, http: aiohttp.ClientSession) -> None:
        self.catchers = catchers
        self.http = http

    async def page(self) -> Page:
        return Page(await self.get("/"))

    async def get(self, path: str) -> str:
        async with self.http.get(self.catchers.http_url + path) as answer:
            assert answer.status == 200
            return await answer.text()

    async def post(self, path: str, message: object) -> None:
        async with self.http.post(self.catchers.http_url + path, json=message) as answer:
            assert answer.ok

    async def mail(self, subject: str, text: str, html: str = "") -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "relay@demo.example", "a@example.com", subject
        mail.set_content(text)
        if html:
            mail.add_alternative(html, subtype="html")
        port = self.catchers.smtp_port
        await aiosmtplib.send(mail, hostname="127.0.0.1", port=port, start_tls=False)


@pytest.fixture
async def demo() -> AsyncIterator[Demo]:
    async with (
        Catchers(lambda received: render_page(received, GUIDE), style=STYLE) as catchers,
        aiohttp.ClientSession() as http,
    ):
        yield Demo(catchers, http)


async def test_the_page_shows_what_each_catcher_received_newest_first(demo: Demo) -> None:
    await demo.mail("First mail", "the first text")
    await demo.mail("Second mail", "the second text")
    await demo.post("/services/x", {"text": "toast", "blocks": [{"type": "divider"}]})
    card = {"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": "on a card"}]}
    await demo.post("/workflows/x", card)
    words = (await demo.page()).words
    assert words.index("Second mail") < words.index("First mail")
    for shown in ["the first text", "toast", "on a card", "Mail 2", "Slack 1", "Teams 1"]:
        assert shown in words


async def test_what_webhooks_received_is_shown_where_there_are_any(demo: Demo) -> None:
    assert "Webhooks" not in (await demo.page()).words
    await demo.post("/webhooks/crm", {"type": "chat", "summary": HOSTILE})
    words = (await demo.page()).words
    assert "Webhooks 1" in words
    assert "Posted to /webhooks/crm" in words
    assert HOSTILE.split(maxsplit=1)[0] in words


async def test_mails_of_the_samples_stay_in_their_order_below_later_ones(demo: Demo) -> None:
    for name in ("Missed", "Badly rated", "Mine", "Mine too"):
        await demo.mail(name, "text", html="<p>Hello there</p>" * 40)
    page = Page(render_page(demo.catchers.received, replace(GUIDE, mails=2, waiting=False)))
    frames = page.all("iframe")
    assert [each["title"] for each in frames] == ["Mine too", "Mine", "Missed", "Badly rated"]
    assert {each["height"] for each in frames} == {str(page_height("<p>Hello there</p>" * 40, 440))}


async def test_the_page_tells_how_to_go_on(demo: Demo) -> None:
    words = (await demo.page()).words
    assert "1 sample chat was posted" in words
    assert GUIDE.hook_url in words
    assert "/tmp/relay-demo-x/samples/missed.json" in words  # noqa: S108
    assert GUIDE.rules in words
    assert "relay demo --dir" in words


@pytest.mark.parametrize("waiting", [True, False])
def test_the_page_is_fetched_again_only_while_samples_are_under_way(*, waiting: bool) -> None:
    page = Page(render_page(Received(), Guide(waiting=waiting)))
    refreshes = any(meta.get("http-equiv") == "refresh" for meta in page.all("meta"))
    assert refreshes is waiting


async def test_a_mail_is_framed_where_it_can_do_nothing(demo: Demo) -> None:
    body = f"<p style='color:red'>Hello</p><form action='http://evil.example'>{HOSTILE}</form>"
    await demo.mail("Subject", "text", html=body)
    (frame,) = (await demo.page()).all("iframe")
    assert frame["sandbox"] == ""
    async with demo.http.get(demo.catchers.http_url + frame["src"]) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "<p style='color:red'>Hello</p>" in await answer.text()
    assert "default-src 'none'" in policy
    assert policy.endswith("sandbox")


async def test_the_page_itself_may_run_and_load_nothing_foreign(demo: Demo) -> None:
    async with demo.http.get(demo.catchers.http_url + "/") as answer:
        policy = dict(
            rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; ")
        )
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == "'self'"
    assert "script-src" not in policy
    assert await demo.get("/style.css")


async def test_hostile_words_stay_words_wherever_they_arrive(demo: Demo) -> None:
    await demo.mail(HOSTILE, HOSTILE, html=HOSTILE)
    block = {"type": "section", "text": {"type": "mrkdwn", "text": HOSTILE}}
    await demo.post("/services/" + "%3Cscript%3E", {"text": HOSTILE, "blocks": [block]})
    await demo.post(
        "/services/x", {"text": {"a": HOSTILE}, "blocks": HOSTILE, "thread_ts": HOSTILE}
    )
    texts = [{"type": "TextBlock", "text": HOSTILE}, {"type": HOSTILE}]
    await demo.post("/workflows/x", {"type": "AdaptiveCard", "body": texts})
    page = await demo.page()
    assert page.dangers() == []
    assert page.words.count("<script>alert(1)</script>") >= 4
    assert "{{ 7 * 7 }}" in page.words


async def test_half_a_character_does_not_keep_the_page_from_showing(demo: Demo) -> None:
    url = demo.catchers.http_url + "/services/x"
    async with demo.http.post(url, data=b'{"text": "half \\ud83d, whole"}') as answer:
        assert answer.status == 200
    assert "whole" in (await demo.page()).words


async def test_a_mail_that_is_not_there_is_not_found(demo: Demo) -> None:
    for path in ("/mails/7", "/mails/x", "/mails/../style"):
        async with demo.http.get(demo.catchers.http_url + path) as answer:
            assert answer.status == 404


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
    arrived = datetime(2026, 11, 22, 12, tzinfo=UTC)
    mail = read_mail(source, ("a@example.com",), number=1, arrived=arrived)
    assert mail.recipients == ("a@example.com",)
