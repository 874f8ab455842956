"""Slack: the contract for both ways in, and every answer that Slack is known to give."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from relay.destination import Destination, Secret
from relay.transports import Ending
from tests.servers import DROP, HANG, HttpAnswer, HttpStep, json_answer
from tests.transports.contract import TransportContract, Weather
from tests.transports.examples import IDENTITY, MISSED
from tests.transports.test_teams import teams_bench
from tests.transports.web_bench import TOKEN, WebBench, web_bench
from tests.transports.workspace import ChannelBench, Workspace

PATH = "/services/T0000SECRET/B0000SECRET/abcdefSECRETxyz"
BY_WEBHOOK = Destination(name="room", transport="slack", options={"webhook": Secret("WEBHOOK")})
BY_TOKEN = Destination(name="room", transport="slack", options={"channel": "C0123456789"})

ECHO = f"xoxb-1-A {PATH} https://hooks.slack.com{PATH}"


def word(status: int, text: str, **headers: str) -> HttpAnswer:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(status=status, body=text, headers={"Content-Type": "text/plain", **fields})


def error(text: str, status: int = 200, **more: Any) -> HttpAnswer:
    return json_answer({"ok": False, "error": text, **more}, status)


WEBHOOK_ANSWERS: Mapping[Weather, HttpStep] = {
    Weather.FAIR: word(200, "ok"),
    Weather.REFUSING: word(400, f"some_new_word {ECHO}"),
    Weather.NOT_NOW: word(408, f"{ECHO}"),
    Weather.TOO_MANY: word(429, f"rate_limited {ECHO}", Retry_After="30"),
    Weather.LOCKED: word(403, f"invalid_token {ECHO}"),
    Weather.TOO_LONG: word(400, "invalid_blocks"),
    Weather.DROPPING: DROP,
    Weather.SILENT: HANG,
    Weather.BABBLING: word(200, f"<html>{ECHO}</html>"),
}
API_ANSWERS: Mapping[Weather, HttpStep] = {
    Weather.REFUSING: error(f"some_new_word {TOKEN}"),
    Weather.NOT_NOW: error("request_timeout"),
    Weather.TOO_MANY: json_answer(
        {"ok": False, "error": "ratelimited"}, 429, {"Retry-After": "30"}
    ),
    Weather.LOCKED: error("invalid_auth"),
    Weather.TOO_LONG: error("msg_too_long"),
    Weather.DROPPING: DROP,
    Weather.SILENT: HANG,
    Weather.BABBLING: word(200, f"<html>{TOKEN}</html>"),
}


def by_webhook(**changes: Any) -> AbstractAsyncContextManager[WebBench]:
    secrets = (PATH, "abcdefSECRETxyz", "B0000SECRET", "xoxb-1-A")
    return web_bench(BY_WEBHOOK, WEBHOOK_ANSWERS, path=PATH, secrets=secrets, **changes)


@asynccontextmanager
async def by_token(**changes: Any) -> AsyncIterator[ChannelBench]:
    workspace = Workspace()
    answers = {**API_ANSWERS, Weather.FAIR: workspace}
    secrets = (TOKEN, "upSECRET")
    async with web_bench(
        BY_TOKEN, answers, path="/", secrets=secrets, kind=ChannelBench, **changes
    ) as bench:
        assert isinstance(bench, ChannelBench)
        bench.workspace = workspace
        workspace.server = bench.server
        yield bench


class TestSlackWebhook(TransportContract):
    success_says = "ok"

    open = staticmethod(by_webhook)


class TestSlackChannel(TransportContract):
    success_says = "posted as 1764000000.000"

    open = staticmethod(by_token)


async def test_a_webhook_gets_the_post_at_its_own_address() -> None:
    async with by_webhook() as bench:
        await bench.send()
        (request,) = bench.server.requests
        assert (request.method, request.target) == ("POST", PATH)
        assert request.json()["unfurl_links"] is False
        assert request.json()["unfurl_media"] is False


async def test_a_channel_gets_the_post_with_the_token_in_its_header_only() -> None:
    async with by_token() as bench:
        await bench.send()
        request, _ = bench.server.requests
        assert request.target == "/api/chat.postMessage"
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert TOKEN.encode() not in request.body
        assert request.json()["channel"] == "C0123456789"


LATER, REFUSED, BROKEN = Ending.LATER, Ending.REFUSED, Ending.DESTINATION_BROKEN
MAYBE, RATE = Ending.MAYBE_DELIVERED, Ending.RATE_LIMITED


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        (word(400, "invalid_token"), BROKEN),
        (word(400, "user_not_found"), BROKEN),
        (word(400, "too_many_attachments"), REFUSED),
        (word(400, "never_heard_of"), REFUSED),
        (word(401, ""), BROKEN),
        (word(403, "action_prohibited"), BROKEN),
        (word(403, "posting_to_general_channel_denied"), BROKEN),
        (word(404, "channel_not_found"), BROKEN),
        (word(404, "no_service"), BROKEN),
        (word(410, "channel_is_archived"), BROKEN),
        (word(301, "", Location="http://127.0.0.1/"), BROKEN),
        (word(302, "", Location="http://127.0.0.1/"), BROKEN),
        (word(307, "", Location="/"), BROKEN),
        (word(429, "rate_limited"), RATE),
        (word(500, "rollup_error"), MAYBE),
        (word(500, "<html>"), MAYBE),
        (word(502, "<html>"), MAYBE),
        (word(503, ""), MAYBE),
        (word(504, ""), MAYBE),
        (HttpAnswer(status=500, body="oh no", missing=10), MAYBE),
        (HttpAnswer(status=404, body="no_serv", missing=3), BROKEN),
        (DROP, MAYBE),
        (HANG, MAYBE),
    ],
)
@pytest.mark.long
async def test_each_answer_of_a_webhook_ends_the_attempt_as_the_table_says(
    answer: HttpStep, ending: Ending
) -> None:
    async with by_webhook(hurried=answer is HANG) as bench:
        bench.server.usual = answer
        outcome = await bench.send()
        assert (outcome.ending, outcome.shorten, outcome.hold) == (ending, False, False), outcome
        assert bench.tries() == 1


@pytest.mark.parametrize(
    "answer",
    [
        word(400, "invalid_payload"),
        word(400, "invalid_blocks"),
        word(400, "no_text"),
        word(413, "<html>too large</html>"),
    ],
)
async def test_a_post_that_a_webhook_finds_too_long_or_odd_may_be_sent_in_short(
    answer: HttpAnswer,
) -> None:
    async with by_webhook() as bench:
        bench.server.usual = answer
        outcome = await bench.send()
        assert (outcome.ending, outcome.shorten) == (REFUSED, True)


@pytest.mark.parametrize(
    "answer",
    [
        word(200, ""),
        word(200, "1"),
        word(204, ""),
        word(202, "accepted"),
        HttpAnswer(body="o", missing=1),
    ],
)
async def test_a_yes_that_is_not_slacks_own_is_left_to_a_person(answer: HttpAnswer) -> None:
    async with by_webhook() as bench:
        bench.server.usual = answer
        outcome = await bench.send()
        assert (outcome.ending, outcome.hold) == (MAYBE, True)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", 7),
        ("2.5", 2.5),
        ("Sun, 22 Nov 2026 12:01:30 GMT", 90),
        ("", 30),
        ("soon", 30),
        ("-5", 30),
        ("1000000000", 3600),
    ],
)
async def test_every_form_of_retry_after_is_understood(header: str, wait: float) -> None:
    async with by_webhook() as bench:
        bench.server.usual = word(429, "rate_limited", Retry_After=header)
        outcome = await bench.send()
        assert (outcome.ending, outcome.after) == (RATE, timedelta(seconds=wait))


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        *((error(name), BROKEN) for name in (
            "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive",
            "missing_scope", "no_permission", "ekm_access_denied", "channel_not_found",
            "not_in_channel", "is_archived", "restricted_action",
            "restricted_action_read_only_channel",
        )),
        (error("ratelimited"), RATE),
        (error("rate_limited"), RATE),
        (word(429, "rate_limited"), RATE),
        (json_answer({}, 429), RATE),
        (error("never_heard_of"), REFUSED),
        (error("internal_error"), MAYBE),
        (error("fatal_error"), MAYBE),
        (error("fatal_error", 500), MAYBE),
        (json_answer({}, 500), MAYBE),
        (word(500, "oops"), MAYBE),
        (word(502, "<html>"), MAYBE),
        (HttpAnswer(status=503, body="{", headers={"Content-Type": "application/json"}), MAYBE),
        (error("request_timeout"), LATER),
        (error("team_added_to_org"), LATER),
        (error("org_login_required"), LATER),
        (word(302, "", Location="http://127.0.0.1/"), BROKEN),
        (DROP, MAYBE),
        (HANG, MAYBE),
    ],
)  # fmt: skip
@pytest.mark.long
async def test_each_answer_of_the_api_ends_the_attempt_as_the_table_says(
    answer: HttpStep, ending: Ending
) -> None:
    async with by_token(hurried=answer is HANG) as bench:
        bench.server.usual = answer
        outcome = await bench.send()
        assert (outcome.ending, outcome.shorten, outcome.hold) == (ending, False, False), outcome
        assert bench.tries() == 1


@pytest.mark.parametrize(
    "name",
    [
        *("msg_too_long", "msg_blocks_too_long", "invalid_blocks", "no_text", "invalid_arguments"),
        *("invalid_attachments", "invalid_blocks_format", "markdown_text_conflict"),
    ],
)
async def test_a_post_that_the_api_finds_too_long_or_odd_may_be_sent_in_short(name: str) -> None:
    async with by_token() as bench:
        bench.server.usual = error(
            name, response_metadata={"messages": ["[ERROR] too long [json-pointer:/blocks/1]"]}
        )
        outcome = await bench.send()
        assert (outcome.ending, outcome.shorten) == (REFUSED, True)
        assert "json-pointer:/blocks/1" in outcome.detail


JSON_HEADERS = {"Content-Type": "application/json"}
PAGES = [
    "<html>log in</html>",
    "\n <!DOCTYPE html>\n<html>",
    "\ufeff<!doctype HTML>",
    '<?xml version="1.0"?>\n<!-- a proxy\'s --><html xmlns="http://www.w3.org/1999/xhtml">',
    '<meta http-equiv="refresh" content="0; url=/login">',
    "<script>location = '/login'</script>",
]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("opened", [by_webhook, by_token, teams_bench])
async def test_a_web_page_in_the_place_of_an_answer_is_for_later_and_says_so(
    opened: Callable[..., AbstractAsyncContextManager[WebBench]], page: str, status: int
) -> None:
    async with opened() as bench:
        bench.server.usual = HttpAnswer(
            status=status, body=page, headers={"Content-Type": "text/html"}
        )
        outcome = await bench.send()
        assert outcome.ending is LATER
        assert "such as a proxy that wants a log-in, took the message" in outcome.detail


@pytest.mark.parametrize(
    "answer",
    [
        word(200, "ok"),
        word(200, ""),
        word(204, ""),
        HttpAnswer(body="log in first", headers=JSON_HEADERS),
        HttpAnswer(body=b"\xff\xfe", headers=JSON_HEADERS),
        HttpAnswer(body=b"\xff\xfe", headers={"Content-Type": "text/plain; charset=utf-8"}),
        json_answer([]),
        json_answer([1]),
        json_answer("ok"),
        json_answer({}),
        json_answer({"status": "log in first"}),
        json_answer({"ok": False}),
    ],
)
async def test_a_success_that_slacks_api_can_not_have_sent_is_for_later(answer: HttpAnswer) -> None:
    async with by_token() as bench:
        bench.server.usual = answer
        outcome = await bench.send()
        assert outcome.ending is LATER
        assert "took the message" in outcome.detail


@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(body="{", headers=JSON_HEADERS),
        HttpAnswer(body="", missing=20, headers=JSON_HEADERS),
        HttpAnswer(body='{"ok": true, "ts', missing=20, headers=JSON_HEADERS),
        json_answer({"ok": True, "message": "x" * 70_000, "ts": "1.1"}),
        json_answer({"ok": True}),
    ],
)
async def test_a_yes_that_the_api_did_not_finish_is_left_to_a_person(answer: HttpAnswer) -> None:
    async with by_token() as bench:
        bench.server.usual = answer
        outcome = await bench.send()
        assert outcome.ending is MAYBE
        assert outcome.hold


@pytest.mark.parametrize(
    ("mention", "markup"),
    [
        ("here", "<!here>"),
        ("channel", "<!channel>"),
        ("U0123456789", "<@U0123456789>"),
        ("S0123456789", "<!subteam^S0123456789>"),
    ],
)
async def test_only_the_rules_file_rings_somebodys_bell(mention: str, markup: str) -> None:
    destination = Destination(
        name="room",
        transport="slack",
        options={"webhook": Secret("WEBHOOK"), "mention": mention},
    )
    async with web_bench(destination, WEBHOOK_ANSWERS, path=PATH, secrets=()) as bench:
        await bench.send()
        post = bench.server.requests[0].json()
        assert post["text"].startswith(f"{markup} Missed chat from Marta")
        assert markup in [block.get("text", {}).get("text") for block in post["blocks"]]
        quiet = replace(IDENTITY, quiet=True)
        await bench.transport.send(MISSED, "", quiet)
        assert markup not in str(bench.server.requests[1].json()), "another one of the moment does"
