"""Webhooks that are broken, odd or up to no good: bounded, sorted by the table, one post per attempt."""

import asyncio
import gzip
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import pytest

from relay.transports import Ending
from tests.servers import Certificates, HttpAnswer, HttpStep, Raw, json_answer
from tests.transports.contract import names_lead_to
from tests.transports.test_slack import by_token, by_webhook, error, word
from tests.transports.test_teams import CONNECTOR, said, teams_bench
from tests.transports.web_bench import WebBench

LATER, REFUSED, BROKEN = Ending.LATER, Ending.REFUSED, Ending.DESTINATION_BROKEN
MAYBE, RATE, ACCEPTED = Ending.MAYBE_DELIVERED, Ending.RATE_LIMITED, Ending.ACCEPTED

Opened = Callable[..., AbstractAsyncContextManager[WebBench]]
WAYS = pytest.mark.parametrize("opened", [by_webhook, by_token, teams_bench])


# -- answers that are none, or have no end -----------------------------------------------------------------


@WAYS
@pytest.mark.parametrize(
    "step",
    [
        Raw(b"220 mail.example.com ESMTP\r\n"),
        Raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        Raw(b"HTTP/1.1 abc OK\r\n\r\n"),
        Raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000),
        Raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000),
        Raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nok"),
        Raw(b"HTTP/1.1 200 OK\r\n", again=b"X: " + b"x" * 1_000 + b"\r\n"),
    ],
    ids=[
        "a mail server", "TLS", "a status in letters", "a long header", "many headers",
        "a length in letters", "headers without end",
    ],
)  # fmt: skip
async def test_what_is_no_http_answer_may_have_been_a_yes(opened: Opened, step: HttpStep) -> None:
    async with opened() as bench:
        bench.server.usual = step
        outcome = await bench.send()
        assert outcome.ending is MAYBE, outcome
        assert bench.tries() == 1
        await bench.server.until(lambda: bench.server.open_connections == 0)


@WAYS
@pytest.mark.parametrize(
    "step",
    [
        Raw(b"HTTP/1.1 200 OK\r\nX: y\r\n"),
        Raw(b"", again=b"HTTP/1.1 100 Continue\r\n\r\n"),
        Raw(b"", again=b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
    ids=["half of the headers", "going on without end", "hints without end"],
)
@pytest.mark.long
async def test_headers_that_do_not_come_to_an_end_are_waited_for_no_longer_than_any(
    opened: Opened, step: HttpStep
) -> None:
    async with opened(hurried=True) as bench:
        bench.server.usual = step
        outcome = await bench.send()
        assert outcome.ending is MAYBE, outcome
        await bench.server.until(lambda: bench.server.open_connections == 0)


@pytest.mark.parametrize(
    ("opened", "status", "ending"),
    [
        (by_webhook, 404, BROKEN),
        (by_webhook, 200, MAYBE),
        (by_token, 200, LATER),
        (teams_bench, 404, BROKEN),
        (teams_bench, 202, ACCEPTED),
    ],
)
async def test_the_status_counts_though_the_body_never_ends(
    opened: Opened, status: int, ending: Ending
) -> None:
    async with opened(hurried=True) as bench:
        bench.server.usual = HttpAnswer(status=status, body="no_", drips=True)
        assert (await bench.send()).ending is ending
        await bench.server.until(lambda: bench.server.open_connections == 0)


@WAYS
@pytest.mark.long
async def test_an_answer_that_swells_when_it_is_unpacked_stays_packed(opened: Opened) -> None:
    bomb = gzip.compress(bytes(200_000_000), 9)
    async with opened() as bench:
        await bench.send()
        bench.server.usual = HttpAnswer(
            status=400,
            body=bomb,
            headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"},
        )
        tracemalloc.start()
        try:
            outcome = await bench.send()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert outcome.ending is REFUSED
        assert peak < 5_000_000


@WAYS
async def test_a_yes_that_takes_its_time_is_a_yes(opened: Opened) -> None:
    async with opened() as bench:
        now = asyncio.Event()
        fair = bench.server.usual

        def late(request: Any) -> HttpStep:
            answer = fair(request) if callable(fair) else fair
            assert isinstance(answer, HttpAnswer)
            return HttpAnswer(
                status=answer.status, body=answer.body, headers=answer.headers, after=now
            )

        bench.server.usual = late
        attempt = asyncio.create_task(bench.send())
        await bench.heard(1)
        assert not attempt.done()
        now.set()
        assert (await attempt).ending in {Ending.DELIVERED, ACCEPTED}


@WAYS
async def test_a_yes_that_comes_too_late_is_maybe_one_and_the_next_post_hears_its_own_answer(
    opened: Opened,
) -> None:
    async with opened(hurried=True) as bench:
        fair, now = bench.server.usual, asyncio.Event()
        bench.server.usual = HttpAnswer(status=404, body="no_service", after=now)
        assert (await bench.send()).ending is MAYBE
        now.set()
        bench.server.usual = fair
        assert (await bench.send()).ending in {Ending.DELIVERED, ACCEPTED}


# -- redirects ---------------------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
async def test_no_redirect_is_followed(opened: Opened, status: int) -> None:
    async with opened() as bench:
        bench.server.usual = HttpAnswer(
            status=status, body="", headers={"Location": bench.server.url("/")}
        )
        outcome = await bench.send()
        assert outcome.ending is BROKEN
        assert f"answered {status}, a redirect" in outcome.detail
        assert bench.tries() == 1


@pytest.mark.parametrize("opened", [by_webhook, teams_bench])
async def test_a_public_name_that_leads_into_the_house_is_not_called(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = Certificates()

    async with opened(
        tls=certificates.server,
        trusted=certificates.client,
        allow_private=False,
        url=lambda server: f"https://hooks.example.com:{server.port}/x",
    ) as bench:
        names_lead_to(monkeypatch, ("127.0.0.1", bench.server.port))
        outcome = await bench.send()
        assert outcome.ending is BROKEN
        assert "not on the public internet" in outcome.detail
        assert bench.server.connections == 0


# -- waits that are asked for ------------------------------------------------------------------------------


def slack_api_says(status: int, **headers: str) -> HttpAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return json_answer({"ok": False, "error": "ratelimited"}, status, named)


@pytest.mark.parametrize(
    ("opened", "says", "default"),
    [
        (by_webhook, lambda **headers: word(429, "rate_limited", **headers), 30),
        (by_token, lambda **headers: slack_api_says(429, **headers), 30),
        (teams_bench, lambda **headers: said(429, "", **headers), 60),
    ],
)
@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("30", 30),
        ("2.5", 2.5),
        (" 7 ", 7),
        ("0", 1),
        ("Sun, 22 Nov 2026 12:01:30 GMT", 90),
        ("Sunday, 22-Nov-26 12:01:30 GMT", 90),
        ("Sun, 22 Nov 2026 11:59:00 GMT", None),
        ("-5", None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("1000000000", 3600),
        ("9" * 400, 3600),
        (None, None),
    ],
)
async def test_every_form_of_retry_after_is_understood(
    opened: Opened,
    says: Callable[..., HttpAnswer],
    default: int,
    header: str | None,
    wait: float | None,
) -> None:
    async with opened() as bench:
        bench.server.usual = says() if header is None else says(Retry_After=header)
        outcome = await bench.send()
        expected = timedelta(seconds=default if wait is None else wait)
        assert (outcome.ending, outcome.after) == (RATE, expected)


@pytest.mark.parametrize(
    ("opened", "status", "ending"),
    [
        (by_webhook, 500, MAYBE),
        (by_webhook, 503, MAYBE),
        (by_webhook, 408, LATER),
        (by_token, 503, MAYBE),
        (teams_bench, 500, MAYBE),
        (teams_bench, 502, LATER),
        (teams_bench, 503, MAYBE),
        (teams_bench, 412, LATER),
    ],
)
async def test_a_wait_asked_for_beside_another_trouble_is_kept_too(
    opened: Opened, status: int, ending: Ending
) -> None:
    async with opened() as bench:
        bench.server.usual = word(status, "busy", Retry_After="120")
        outcome = await bench.send()
        assert (outcome.ending, outcome.after) == (ending, timedelta(minutes=2))
        bench.server.usual = word(status, "busy")
        assert (await bench.send()).after is None


# -- words and numbers beside those of the tables ----------------------------------------------------------


def charset(name: str, text: str, status: int = 200) -> HttpAnswer:
    return HttpAnswer(
        status=status, body=text, headers={"Content-Type": f"text/plain; charset={name}"}
    )


def as_json(text: str, more: str = "") -> HttpAnswer:
    return HttpAnswer(body=text, headers={"Content-Type": f"application/json{more}"})


@pytest.mark.parametrize(
    ("opened", "answer", "ending"),
    [
        (by_webhook, word(425, ""), LATER),
        (by_webhook, word(404, "no_active_hooks"), BROKEN),
        (by_webhook, word(400, "no_active_hooks"), BROKEN),
        (by_webhook, word(400, "no_service_id"), BROKEN),
        (by_webhook, word(418, ""), REFUSED),
        (by_webhook, word(402, ""), BROKEN),
        (by_webhook, word(405, ""), BROKEN),
        (by_webhook, word(407, "log in at the proxy"), BROKEN),
        (by_webhook, word(421, "not here"), LATER),
        (by_webhook, word(511, "log in at the hotel"), LATER),
        (by_webhook, word(521, ""), LATER),
        (by_webhook, word(520, ""), MAYBE),
        (by_webhook, word(206, "ok"), MAYBE),
        (by_webhook, Raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), MAYBE),
        (by_webhook, charset("hex", "ok"), Ending.DELIVERED),
        (by_webhook, charset("idna", "ok"), Ending.DELIVERED),
        (by_webhook, charset("zlib", "no_service", 404), BROKEN),
        (by_webhook, word(599, ""), MAYBE),
        (by_webhook, word(500, "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")), MAYBE),
        (by_token, error("accesslimited"), BROKEN),
        (by_token, error("x", 407), BROKEN),
        (by_token, json_answer({"ok": "false", "ts": "1.1"}), MAYBE),
        (by_token, json_answer({"ok": 1, "ts": "1.1"}), MAYBE),
        (by_token, json_answer({"ok": True, "error": "internal_error", "ts": "1.1"}), MAYBE),
        (by_token, as_json('{"ok": true, "ts": "1.1", "n": ' + "9" * 5_000 + "}"), MAYBE),
        (by_token, as_json('{"ok": true, "ts": "1.1", "n": ' + "[" * 20_000), MAYBE),
        (by_token, as_json('{"ok": true, "ts": "1.1"}', "; charset=rot13"), Ending.DELIVERED),
        (by_token, as_json('\ufeff{"ok": true, "ts": "1.1"}'), Ending.DELIVERED),
        (by_token, as_json('{"ok": true, "ts": "1.1"}', "; charset"), Ending.DELIVERED),
        (by_token, error("two_factor_setup_required"), BROKEN),
        (by_token, error("team_access_not_granted"), BROKEN),
        *((by_token, error(name), BROKEN) for name in (
            "access_denied", "cannot_reply_to_message", "enterprise_is_restricted", "messages_tab_disabled",
            "no_team", "not_allowed_token_type", "team_disabled", "team_not_found",
        )),
        (by_token, error("message_limit_exceeded"), LATER),
        (by_token, error("service_unavailable", 503), MAYBE),
        (by_token, json_answer({"ok": True, "ts": "1", "channel": "C1"}, 500), MAYBE),
        (by_token, json_answer({"ok": False, "error": ["not", "a", "word"]}), REFUSED),
        (by_token, json_answer({"ok": False, "error": "x", "response_metadata": 5}), REFUSED),
        (teams_bench, said(425), LATER),
        (teams_bench, said(405), BROKEN),
        (teams_bench, said(407), BROKEN),
        (teams_bench, said(421), LATER),
        (teams_bench, said(511), LATER),
        (teams_bench, said(200, "HTTP error 200"), Ending.DELIVERED),
        (teams_bench, said(400, '{"error":{"code":"WorkflowTriggerIsNotEnabled"}}'), BROKEN),
        (by_webhook, word(410, ""), BROKEN),
        (teams_bench, said(204), ACCEPTED),
        (teams_bench, said(201), ACCEPTED),
        (teams_bench, said(599), MAYBE),
        (teams_bench, said(200, "1"), Ending.DELIVERED),
        (teams_bench, said(200, '{"posted": true}'), Ending.DELIVERED),
        (teams_bench, said(200, f"{CONNECTOR} 400"), REFUSED),
        (teams_bench, said(200, f"{CONNECTOR} 403"), BROKEN),
        (teams_bench, said(200, f"{CONNECTOR} 412"), LATER),
        (teams_bench, said(200, f"{CONNECTOR} 500"), MAYBE),
        (teams_bench, said(200, f"{CONNECTOR} 504"), LATER),
    ],
)  # fmt: skip
async def test_words_and_numbers_beside_those_of_the_tables_are_sorted_too(
    opened: Opened, answer: HttpStep, ending: Ending
) -> None:
    async with opened() as bench:
        bench.server.steps = [answer]
        outcome = await bench.send()
        assert outcome.ending is ending, outcome
        assert bench.tries() == 1 or ending is Ending.DELIVERED


ALWAYS_BROKEN = {401, 402, 403, 404, 405, 407, 410}
NEVER_TAKEN = {408, 421, 425, 511, 521, 523, 525, 526, 530}
MICROSOFT_REPEATS = {412, 502, 504}


@WAYS
async def test_every_status_without_a_word_is_sorted_by_its_number(opened: Opened) -> None:
    later = NEVER_TAKEN | (MICROSOFT_REPEATS if opened is teams_bench else set())
    async with opened() as bench:
        for status in {*range(400, 600)} - {429}:
            bench.server.usual = word(status, "")
            outcome = await bench.send()
            if status in ALWAYS_BROKEN:
                assert outcome.ending is BROKEN, status
            elif status in later:
                assert outcome.ending is LATER, status
            else:
                assert outcome.ending is (REFUSED if status < 500 else MAYBE), status
        assert bench.tries() == 199


@pytest.mark.parametrize("number", [400, 413])
async def test_a_card_that_a_connector_found_too_large_may_be_sent_in_short(number: int) -> None:
    async with teams_bench() as bench:
        bench.server.usual = said(200, f"{CONNECTOR} {number} with ContextId tcid=0")
        outcome = await bench.send()
        assert (outcome.ending, outcome.shorten) == (REFUSED, True)


async def test_a_wait_that_stands_beside_a_connectors_hidden_429_is_kept() -> None:
    async with teams_bench() as bench:
        bench.server.usual = said(200, f"{CONNECTOR} 429", Retry_After="90")
        outcome = await bench.send()
        assert (outcome.ending, outcome.after) == (RATE, timedelta(seconds=90))
