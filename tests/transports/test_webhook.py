"""Webhooks: the contract, the signature that every library verifies, and how each answer ends an attempt."""

import base64
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from relay.destination import Destination, Secret
from relay.notification import Notification
from relay.rendering.made_up_chats import made_up_chats
from relay.transports import Ending
from relay.transports.webhook.pack import MAX_BRIEF, MAX_BYTES, json_schema, pack
from relay.transports.webhook.signature import read_keys, signed
from tests.rules.commands import relay as relay_command
from tests.servers import DROP, HANG, HttpAnswer, HttpStep
from tests.templates.reading import digest
from tests.transports.contract import TransportContract, Weather
from tests.transports.examples import MISSED, NOON, a_notification
from tests.transports.web_bench import WebBench, web_bench

PATH = "/crm/SECRETpath0123456789?key=SECRETkey%2B1"
SECRET = f"whsec_{base64.b64encode(b'a secret of twenty-seven bytes').decode()}"
NEW = f"whsec_{base64.b64encode(b'another one, for the rotation!').decode()}"
TO = Destination(
    name="crm", transport="webhook", options={"url": Secret("WEBHOOK"), "secret": Secret("SECRET")}
)
ECHO = f"https://crm.example{PATH} {SECRET} SECRETpath0123456789"


def said(status: int, text: str = "", **headers: str) -> HttpAnswer:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(status=status, body=text, headers={"Content-Type": "text/plain", **fields})


ANSWERS: Mapping[Weather, HttpStep] = {
    Weather.FAIR: said(200, "thanks"),
    Weather.REFUSING: said(422, ECHO),
    Weather.NOT_NOW: said(503, ECHO),
    Weather.TOO_MANY: said(429, ECHO, Retry_After="30"),
    Weather.LOCKED: said(401, ECHO),
    Weather.TOO_LONG: said(413, ECHO),
    Weather.DROPPING: DROP,
    Weather.SILENT: HANG,
    Weather.BABBLING: said(200, f"<html>{ECHO}</html>"),
}


def webhook_bench(secret: str = SECRET, **changes: Any) -> AbstractAsyncContextManager[WebBench]:
    secrets = ("SECRETpath0123456789", "SECRETkey", SECRET)
    return web_bench(TO, ANSWERS, path=PATH, secrets=secrets, others={"SECRET": secret}, **changes)


class TestWebhook(TransportContract):
    success_says = "The webhook answered 200 thanks"

    open = staticmethod(webhook_bench)


def told(kind: str = "badly_rated", **changes: Any) -> Notification:
    return a_notification(chat=made_up_chats()[kind], rule="Bad ratings", **changes)


def packed(notification: Notification) -> Any:
    return json.loads(pack(notification, NOON))


# -- signature ---------------------------------------------------------------------------------------------


def test_the_specifications_own_example_is_signed_as_it_says() -> None:
    (key,) = read_keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_each_attempt_has_the_same_id_its_own_time_and_is_verified_by_the_library() -> None:
    async with webhook_bench() as bench:
        await bench.send(told())
        bench.clock.now += timedelta(minutes=2)
        await bench.send(told())
        first, second = bench.server.requests
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert "." not in first.headers["webhook-id"]
        times = [int(each.headers["webhook-timestamp"]) for each in (first, second)]
        assert times == [NOON.timestamp(), NOON.timestamp() + 120]
        assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


async def verified(secret: str, sent_with: str) -> Any:
    async with webhook_bench(sent_with, wall_clock=True) as bench:
        await bench.send(told())
        (request,) = bench.server.requests
        return Webhook(secret).verify(request.body, dict(request.headers))


@pytest.mark.parametrize("secret", [SECRET, NEW])
@pytest.mark.parametrize("between", [" ", "\n", "  \r\n"])
async def test_while_a_secret_is_exchanged_the_old_and_the_new_one_verify(
    secret: str, between: str
) -> None:
    body = await verified(secret, f"{NEW}{between}{SECRET}\n")
    assert body["data"]["rule"] == "Bad ratings"


async def test_another_secret_does_not_verify() -> None:
    with pytest.raises(WebhookVerificationError):
        await verified(NEW, SECRET)


@given(st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=3), st.binary())
def test_any_secret_that_may_be_written_signs_what_the_library_verifies(
    keys: list[bytes], body: bytes
) -> None:
    secrets = [f"whsec_{base64.b64encode(key).decode()}" for key in keys]
    assert read_keys(" ".join(secrets)) == tuple(keys)
    headers = signed(keys, "msg_1", 1, body)["webhook-signature"].split()
    assert len(headers) == len(keys)
    for secret, header in zip(secrets, headers, strict=True):
        theirs = Webhook(secret).sign(
            "msg_1", datetime.fromtimestamp(1, UTC), body.decode("latin-1")
        )
        if body.isascii():
            assert header == theirs


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("TOPSECRET-of-our-own-making", "does not begin with whsec_"),
        ("whsec_not*base64*SECRET", "is not Base64"),
        (SECRET.rstrip("=")[:-1], "is not Base64"),
        (SECRET.replace("_", "_ "), "is empty|is not|has 0 bytes"),
        ("whsec_", "has 0 bytes"),
        (f"whsec_{base64.b64encode(bytes(23)).decode()}", "has 23 bytes"),
        (f"whsec_{base64.b64encode(bytes(65)).decode()}", "has 65 bytes"),
        (f"{SECRET} {NEW}x", "is not Base64"),
        (f"{SECRET},{NEW}", "is not Base64"),
        ("https://crm.example/SECRET", "are url and secret exchanged"),
    ],
)
async def test_a_secret_that_can_not_sign_is_an_objection_that_does_not_show_it(
    secret: str, words: str
) -> None:
    async with webhook_bench(secret) as bench:
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN
        assert bench.tries() == 0
        assert outcome.detail.startswith("what $SECRET holds ")
        assert any(each in outcome.detail for each in words.split("|")), outcome.detail
        assert not secret.strip() or secret not in outcome.detail.replace("whsec_ and", "")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://hooks.slack.com/services/T/B/SECRET", "write slack: {webhook: $WEBHOOK}"),
        ("https://x.webhook.office.com/SECRET", "write teams: {webhook: $WEBHOOK}"),
        ("crm.example/SECRET", "is not a web address"),
        ("https://crm.example/...", "is a placeholder"),
    ],
)
async def test_an_address_that_takes_no_webhook_is_an_objection(url: str, words: str) -> None:
    async with webhook_bench(url=lambda _: url) as bench:
        assert bench.transport.objection.startswith("what $WEBHOOK holds ")
        assert words in bench.transport.objection
        assert "SECRET" not in bench.transport.objection


# -- answers -----------------------------------------------------------------------------------------------

DELIVERED, LATER, REFUSED = Ending.DELIVERED, Ending.LATER, Ending.REFUSED
BROKEN, MAYBE, RATE = Ending.DESTINATION_BROKEN, Ending.MAYBE_DELIVERED, Ending.RATE_LIMITED


@pytest.mark.parametrize(
    ("answer", "ending", "shorten"),
    [
        (said(201), DELIVERED, False),
        (said(202), DELIVERED, False),
        (said(204), DELIVERED, False),
        (HttpAnswer(status=200, body="{", missing=5), DELIVERED, False),
        (said(200, "x" * 200_000), DELIVERED, False),
        (said(400), REFUSED, False),
        (said(409), REFUSED, False),
        (said(413), REFUSED, True),
        (said(401), BROKEN, False),
        (said(403), BROKEN, False),
        (said(404), BROKEN, False),
        (said(410), BROKEN, False),
        (said(302, Location="http://127.0.0.1/"), BROKEN, False),
        (said(308, Location="/"), BROKEN, False),
        (said(408), LATER, False),
        (said(502), LATER, False),
        (said(504), LATER, False),
        (said(429), RATE, False),
        (said(500), MAYBE, False),
    ],
)
async def test_each_answer_ends_the_attempt_as_the_table_of_webhooks_says(
    answer: HttpStep, ending: Ending, shorten: bool
) -> None:
    async with webhook_bench(hurried=answer is HANG) as bench:
        bench.server.usual = answer
        outcome = await bench.send()
        assert (outcome.ending, outcome.shorten) == (ending, shorten), outcome
        assert bench.tries() == 1


async def test_a_form_of_the_receivers_own_is_not_sent_in_short() -> None:
    async with webhook_bench() as bench:
        bench.server.usual = said(413)
        outcome = await bench.send(told(override={"email": "m@example.com"}))
        assert (outcome.ending, outcome.shorten) == (REFUSED, False)
        assert bench.server.requests[0].json() == {"email": "m@example.com"}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("wait", ["90", "Sun, 22 Nov 2026 12:01:30 GMT"])
async def test_a_server_that_asks_to_wait_is_left_alone_so_long(status: int, wait: str) -> None:
    async with webhook_bench() as bench:
        bench.server.usual = said(status, Retry_After=wait)
        assert (await bench.send()).after == timedelta(seconds=90)


async def test_a_webhook_on_a_private_address_is_not_called() -> None:
    async with webhook_bench(allow_private=False) as bench:
        outcome = await bench.send()
        assert outcome.ending is BROKEN
        assert bench.tries() == 0


# -- body --------------------------------------------------------------------------------------------------

SCHEMA = Path(__file__).parents[2] / "docs" / "webhook.schema.json"


@pytest.mark.parametrize("kind", made_up_chats())
@pytest.mark.parametrize("brief", [False, True])
def test_every_chat_is_packed_as_the_published_schema_says(kind: str, brief: bool) -> None:
    body = packed(told(kind, brief=brief))
    jsonschema.validate(body, json.loads(SCHEMA.read_text("utf-8")))
    assert body["type"] == "chat"
    assert body["data"]["chat"]["id"] == made_up_chats()[kind].id


def test_the_published_schema_is_the_codes() -> None:
    assert json.loads(SCHEMA.read_text("utf-8")) == json_schema(), "run make reference"


def test_an_alert_is_packed_as_the_published_schema_says() -> None:
    body = packed(MISSED)
    jsonschema.validate(body, json_schema())
    assert (body["type"], body["data"]["chat"]) == ("alert", None)


def test_a_chat_has_plain_names_seconds_and_utc() -> None:
    chat = replace(made_up_chats()["badly_rated"], first_response=timedelta(seconds=90.5))
    body = packed(a_notification(chat=chat, rule="Bad ratings"))
    assert body["timestamp"] == "2026-11-22T12:00:00Z"
    assert body["schema_version"] == 1
    data = body["data"]
    assert (data["rule"], data["subject"]) == ("Bad ratings", MISSED.subject)
    assert data["chat"]["first_response"] == 90.5
    assert data["chat"]["began"].endswith("Z")
    assert data["chat"]["rating"] == chat.rating
    assert data["chat"]["visitor"]["email"] == chat.visitor.email
    assert "oddities" not in data["chat"]


@pytest.mark.parametrize(("brief", "most"), [(False, MAX_BYTES), (True, MAX_BRIEF)])
def test_of_a_long_chat_the_middle_is_left_out_and_counted(brief: bool, most: int) -> None:
    chat = made_up_chats()["missed"]
    message = chat.messages[0]
    messages = tuple(replace(message, text=f"{n} " + "ř" * 500) for n in range(3_000))
    wire = pack(a_notification(chat=replace(chat, messages=messages), brief=brief), NOON)
    assert most - 2_000 < len(wire) <= most
    data = json.loads(wire)["data"]
    numbers = [int(each["text"].split()[0]) for each in data["chat"]["messages"]]
    assert numbers[:2] == [0, 1]
    assert numbers[2:] == list(range(3_002 - len(numbers), 3_000))
    assert data["left_out"] == {"messages": 3_000 - len(numbers), "pages": 0, "variables": 0}
    jsonschema.validate(json.loads(wire), json_schema())


# -- receivers -----------------------------------------------------------------------------------------------

PAGE = (SCHEMA.parent / "webhook.md").read_text("utf-8")
RUN = {
    "python": (
        [sys.executable, "-c"],
        (
            "import json, sys\n{shown}\n"
            "given = json.load(sys.stdin)\n"
            "print(is_from_relay(given['secret'], given['headers'], given['body'].encode()))"
        ),
    ),
    "php": (
        ["php", "-r"],
        (
            "{shown}\n$given = json_decode(stream_get_contents(STDIN), true);\n"
            "echo is_from_relay($given['secret'], $given['headers'], $given['body']) ? 'True' : 'False';"
        ),
    ),
    "javascript": (
        ["node", "-e"],
        (
            "{shown}\nconst given = JSON.parse(require('fs').readFileSync(0));\n"
            "console.log(isFromRelay(given.secret, given.headers, Buffer.from(given.body)) ? 'True' : 'False');"
        ),
    ),
}
"""How the function that the page shows is run, by the language of its block."""


@pytest.mark.parametrize("language", RUN)
@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [
        ({}, "True"),
        ({"secret": NEW}, "False"),
        ({"body": '{"type": "chat"}'}, "False"),
        ({"time": 400}, "False"),
    ],
)
def test_the_receivers_that_are_shown_take_what_the_relay_signed_and_nothing_else(
    language: str, wrong: dict[str, Any], verdict: str
) -> None:
    command, program = RUN[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    (shown,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    body = pack(told(), NOON)
    sent_at = int(time.time()) - wrong.get("time", 0)
    old = read_keys(f"whsec_{base64.b64encode(bytes(24)).decode()} {SECRET}")
    given = {
        "secret": SECRET,
        "body": body.decode(),
        "headers": signed(old, "msg_1", sent_at, body),
    }
    ran = subprocess.run(
        [*command, program.replace("{shown}", shown)],
        input=json.dumps(given | wrong),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == verdict


# -- relay check -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("json_form", "place", "words"),
    [
        ('{email: "{{ vistor.email }}"}', "2:69", "sent: email: there is nothing called 'vistor'"),
        ('{a: {b: [x, "{{ visitor.email"]}}', "2:73", "sent: a.b[1]: unexpected end"),
        ('{stars: "{{ chat.rating + 1 }}"}', "2:69", "sent: stars: "),
        (
            '{loop: "{% for a in messages %}{{ a.nobody }}{% endfor %}"}',
            "2:68",
            "sent: loop: ",
        ),
        ('{"{{ visitor.name }}": "{{ nobody }}"}', "2:84", "sent: {{ visitor.name }}: there is"),
    ],
)
def test_check_names_a_text_of_a_form_that_cannot_be_filled_in(
    tmp_path: Path, json_form: str, place: str, words: str
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        "destinations:\n"
        f"  crm: {{webhook: {{url: $CRM_URL, secret: $CRM_SECRET, json: {json_form}}}}}\n"
        "rules:\n  - {name: All, when: always, send_to: crm}\n",
        "utf-8",
    )
    result = relay_command("check", path)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if "`json:` can't be filled in" in line]
    assert line.startswith(f"{path}:{place}: `json:` can't be filled in"), line
    assert words in line


def test_check_is_content_with_a_form_that_every_chat_can_fill_in(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        "destinations:\n"
        "  crm:\n"
        "    webhook:\n"
        "      url: $CRM_URL\n"
        "      secret: $CRM_SECRET\n"
        "      json:\n"
        '        contact: {email: "{{ visitor.email }}", name: "{{ visitor.name }}"}\n'
        "        note: |\n"
        "          {{ summary }}\n"
        '        tags: [chat, "{{ rule }}", 7, true, null]\n'
        "rules:\n  - {name: All, when: always, send_to: crm}\n",
        "utf-8",
    )
    result = relay_command("check", path)
    assert "json" not in result.stderr
    assert result.exit_code == 0


def test_a_digest_is_json_of_its_own_kind() -> None:
    body = json.loads(pack(digest(), NOON))
    jsonschema.validate(body, json_schema())
    assert (body["type"], body["data"]["chat"]) == ("digest", None)
    found = body["data"]["digest"]
    assert (found["count"], len(found["chats"])) == (12, 12)
    first = found["chats"][0]
    assert (first["who"], first["rules"], first["why"]) == (
        "Marta Nowak",
        ["Missed chats"],
        "hours",
    )
    assert first["answer"] == "mailto:marta.nowak@example.com"
    assert body["data"]["left_out"] == {"messages": 0, "pages": 0, "variables": 0}
