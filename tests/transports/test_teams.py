"""Teams: the contract, and every answer that a flow is known to give."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import pytest

from relay.destination import Destination, Secret
from relay.transports import Ending
from tests.servers import DROP, HANG, HttpAnswer, HttpStep
from tests.transports.contract import TransportContract, Weather
from tests.transports.web_bench import WebBench, web_bench

# As Workflows gives them out, with escapes that must not be touched.
PATH = (
    "/powerautomate/automations/direct/workflows/0a1b2c3d/triggers/manual/paths/invoke"
    "?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=SECRETsig_%2B-abc"
)
TO = Destination(name="managers", transport="teams", options={"webhook": Secret("WEBHOOK")})
ECHO = f"https://flow.example:443{PATH} SECRETsig_+-abc"


def said(status: int, text: str = "", **headers: str) -> HttpAnswer:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(status=status, body=text, headers={"Content-Type": "text/plain", **fields})


ANSWERS: Mapping[Weather, HttpStep] = {
    Weather.FAIR: said(202),
    Weather.REFUSING: said(422, ECHO),
    Weather.NOT_NOW: said(502, ECHO),
    Weather.TOO_MANY: said(429, ECHO, Retry_After="30"),
    Weather.LOCKED: said(401, ECHO),
    Weather.TOO_LONG: said(413, ECHO),
    Weather.DROPPING: DROP,
    Weather.SILENT: HANG,
    Weather.BABBLING: said(202, f"<html>{ECHO}</html>"),
}


def teams_bench(**changes: Any) -> AbstractAsyncContextManager[WebBench]:
    secrets = (PATH, "SECRETsig", "0a1b2c3d")
    return web_bench(TO, ANSWERS, path=PATH, secrets=secrets, **changes)


class TestTeams(TransportContract):
    success = Ending.ACCEPTED
    success_says = "Teams answered 202"

    open = staticmethod(teams_bench)


async def test_the_address_is_used_to_the_letter() -> None:
    async with teams_bench() as bench:
        await bench.send()
        (request,) = bench.server.requests
        assert (request.method, request.target) == ("POST", PATH)
        assert request.headers["content-type"].startswith("application/json")


async def test_a_flow_that_answers_when_it_has_posted_delivers() -> None:
    async with teams_bench() as bench:
        bench.server.usual = said(200)
        assert (await bench.send()).ending is Ending.DELIVERED


LATER, REFUSED, BROKEN = Ending.LATER, Ending.REFUSED, Ending.DESTINATION_BROKEN
MAYBE, RATE = Ending.MAYBE_DELIVERED, Ending.RATE_LIMITED
CONNECTOR = (
    "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error"
)


@pytest.mark.parametrize(
    ("answer", "ending", "shorten"),
    [
        (said(400, "schema"), REFUSED, True),
        (said(413), REFUSED, True),
        (said(418), REFUSED, False),
        (said(401), BROKEN, False),
        (said(403), BROKEN, False),
        (said(404), BROKEN, False),
        (said(410), BROKEN, False),
        (said(302, Location="http://127.0.0.1/"), BROKEN, False),
        (said(308, Location="/"), BROKEN, False),
        (said(412), LATER, False),
        (said(502), LATER, False),
        (said(504), LATER, False),
        (said(429), RATE, False),
        (said(500), MAYBE, False),
        (said(503), MAYBE, False),
        (said(200, f"{CONNECTOR} 413"), REFUSED, True),
        (said(200, f"{CONNECTOR} 429"), RATE, False),
        (HttpAnswer(status=202, body="{", missing=5), Ending.ACCEPTED, False),
        (DROP, MAYBE, False),
        (HANG, MAYBE, False),
    ],
)
@pytest.mark.long
async def test_each_answer_ends_the_attempt_as_the_table_says(
    answer: HttpStep, ending: Ending, shorten: bool
) -> None:
    async with teams_bench(hurried=answer is HANG) as bench:
        bench.server.usual = answer
        outcome = await bench.send()
        assert (outcome.ending, outcome.shorten, outcome.hold) == (ending, shorten, False), outcome
        assert bench.tries() == 1


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry_After": "7"}, 7),
        ({"Retry_After": "Sun, 22 Nov 2026 12:01:30 GMT"}, 90),
        ({}, 60),
        ({"Retry_After": "99999999"}, 3600),
    ],
)
async def test_every_form_of_retry_after_is_understood(
    headers: dict[str, str], wait: float
) -> None:
    async with teams_bench() as bench:
        bench.server.usual = said(429, "", **headers)
        assert (await bench.send()).after == timedelta(seconds=wait)


@pytest.mark.parametrize(
    "url",
    [
        "https://contoso.webhook.office.com/webhookb2/1@2/IncomingWebhook/3/4",
        "https://outlook.office.com/webhook/1@2/IncomingWebhook/3/4",
        "https://OUTLOOK.office365.com/webhook/1",
    ],
)
async def test_a_connector_is_refused_with_a_hint_to_workflows(url: str) -> None:
    async with teams_bench(url=lambda _: url) as bench:
        outcome = await bench.send()
        assert outcome.ending is BROKEN
        assert outcome.detail.startswith("what $WEBHOOK holds is the address of an Office 365")
        assert "Workflows" in outcome.detail
        assert url not in outcome.detail
