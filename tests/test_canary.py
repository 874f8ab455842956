"""Secrets and visitors' words stay where they belong, whatever goes wrong.

Every secret of the settings and of the rules file holds the word CANARY. All that can fail does; then that word
is looked for wherever somebody may read.
"""

import asyncio
import base64
import contextlib
import io
import json
import logging
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from tests.builders import a_hook
from tests.cli.running import relay as command
from tests.running import RunningRelay, running_relay, settings
from tests.servers import (
    DROP,
    Certificates,
    HttpAnswer,
    HttpRequest,
    HttpServer,
    HttpStep,
    SmtpServer,
)

pytestmark = pytest.mark.long

CANARY = "CANARY"
PASSWORD = "CANARY-pass word/@:?"
QUOTED = "CANARY-pass%20word%2F%40%3A%3F"
TOKEN = "CANARY-hook-token-0123456789"
SLACK_TOKEN = "xoxb-1234567890-CANARYslack"
WORDS = "the-visitors-words"

TROUBLES = (
    "found",
    "forbidden",
    "gone",
    "limited",
    "failing",
    "dropping",
    "echoing",
    "beginning",
    "ending",
    "unsafe",
    "away",
)
"""What a server does; also the name of its secret, and a part of its path."""


def misbehave(request: HttpRequest) -> HttpStep:
    """A server that says back all it was told about itself."""
    url = f"https://{request.headers['host']}{request.target}"
    said = f"{url} {request.target} {request.headers.get('authorization', '')}"
    steps: Mapping[str, HttpStep] = {
        "found": HttpAnswer(status=302, headers={"Location": url}),
        "forbidden": HttpAnswer(status=403, body=said),
        "gone": HttpAnswer(status=404, body=f"no webhook {said}"),
        "limited": HttpAnswer(status=429, body=said, headers={"Retry-After": "30"}),
        "failing": HttpAnswer(status=500, body=said),
        "dropping": DROP,
        "echoing": HttpAnswer(status=400, body=said),
        "beginning": HttpAnswer(status=400, body=request.target[: 2 * len(request.target) // 3]),
        "ending": HttpAnswer(status=400, body=request.target[len(request.target) // 3 :]),
        "token": HttpAnswer(
            status=400, body=json.dumps({"error": "no", "error_description": str(request.body)})
        ),
    }
    otherwise = HttpAnswer(status=401, body=json.dumps({"error": said}))
    return steps.get(request.target.split("/")[1], otherwise)


def rules() -> str:
    places = [
        f"  {transport}-{trouble}: {{{transport}: {{webhook: ${transport.upper()}_{trouble.upper()}}}}}"
        for transport in ("slack", "teams")
        for trouble in TROUBLES
    ]
    places += [
        "  desk: {email: {to: desk@example.com}}",
        "  channel: {slack: {channel: C0123456789}}",
        "  boxed: {slack: {webhook: $BOXED}}",
    ]
    names = ", ".join(place.split(":")[0].strip() for place in places)
    rule = f"  - {{name: Missed, when: {{missed: true}}, send_to: [{names}], template: missed}}"
    return "\n".join(["destinations:", *places, "rules:", rule, ""])


DELIVERIES = 2 * len(TROUBLES) + 3


class Everywhere:
    """Servers of every bad kind, and the environment that leads to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        certificates = Certificates()  # of an authority that the relay does not know
        self.web = HttpServer(usual=misbehave)
        self.unsafe = HttpServer(tls=certificates.server)
        self.mail = SmtpServer(users={"me": "another password"}, tls=certificates.server)

    async def __aenter__(self) -> Self:
        for server in (self.web, self.unsafe, self.mail):
            await server.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in (self.web, self.unsafe, self.mail):
            await server.__aexit__(None, None, None)

    def _webhook(self, transport: str, trouble: str) -> str:
        path = f"/{trouble}/{transport}-CANARY/B0/invoke?api=1&sig=a-CANARY-{trouble}-CANARY-b"
        if trouble == "away":
            return f"http://127.0.0.1:9{path}"
        return (self.unsafe if trouble == "unsafe" else self.web).url(path)

    def variables(self, smtp: str) -> Mapping[str, Any]:
        boxed = self.folder / "boxed"
        boxed.write_text(self.web.url("/echoing/CANARY-boxed\n"))
        webhooks = {
            f"{transport.upper()}_{trouble.upper()}": self._webhook(transport, trouble)
            for transport in ("slack", "teams")
            for trouble in TROUBLES
        }
        return {
            **webhooks,
            "BOXED_FILE": str(boxed),
            "RELAY_HOOK_TOKENS": TOKEN,
            "RELAY_SLACK_TOKEN": SLACK_TOKEN,
            "RELAY_SLACK_API_URL": self.web.url("/api"),
            "RELAY_CONSOLE_PASSWORD": "CANARY-console",
            "RELAY_HOOK_SECRETS": "CANARY-hmac",
            "RELAY_SMTP_URL": smtp.format(login=f"me:{QUOTED}", port=self.mail.port),
            **(self._oauth() if smtp == SMTP["no token"] else {}),
        }

    def _oauth(self) -> Mapping[str, str]:
        return {
            "RELAY_SMTP_OAUTH_TOKEN_URL": self.web.url("/token"),
            "RELAY_SMTP_OAUTH_CLIENT_ID": "me",
            "RELAY_SMTP_OAUTH_CLIENT_SECRET": "CANARY-client",
            "RELAY_SMTP_OAUTH_REFRESH_TOKEN": "CANARY-refresh",
        }


def everything_at_debug() -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.setLevel(logging.DEBUG)


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    loggers = [
        one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)
    ]
    levels = {one: one.level for one in [logging.getLogger(), *loggers]}
    yield
    for logger in [
        one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)
    ]:
        logger.setLevel(levels.get(logger, logging.NOTSET))
    logging.getLogger().setLevel(levels[logging.getLogger()])


async def answers(relay: RunningRelay) -> str:
    """What the relay says to whoever asks, rightly or wrongly."""
    hook = f"/hooks/smartsupp/{TOKEN}"
    found = []
    asked: tuple[tuple[str, str, bytes], ...] = (
        ("POST", hook, b"no json"),
        ("POST", hook, b"[]"),
        ("GET", hook, b""),
        ("POST", hook + "x", b"{}"),
        ("GET", "/readyz", b""),
        ("GET", "/metrics", b""),
        ("GET", "/healthz", b""),
        ("GET", f"/{TOKEN}", b""),
    )
    for method, path, body in asked:
        request = relay.client.request(method, relay.url + path, data=io.BytesIO(body))
        async with request as answer:
            found.append(f"{answer.status} {dict(answer.headers)} {await answer.text()}")
    return "\n".join(found)


def tables(database: Path) -> Mapping[str, str]:
    """All that the database holds, a text for each table; bodies of hooks unpacked."""
    connection = sqlite3.connect(database)
    try:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        return {
            name: "\n".join(
                _shown(value)
                for row in connection.execute(f"SELECT * FROM {name}")  # noqa: S608 - its own names
                for value in row
            )
            for name in names
        }
    finally:
        connection.close()


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        with contextlib.suppress(zlib.error):
            return zlib.decompress(value).decode("utf-8", "replace")
    return str(value)


def assert_silent(text: str, word: str = CANARY) -> None:
    assert word not in text, [line for line in text.splitlines() if word in line][:3]


SMTP = {
    "wrong password": "smtp://{login}@127.0.0.1:{port}?insecure=yes",
    "certificate that nobody knows": "smtp+starttls://{login}@127.0.0.1:{port}",
    "nobody there": "smtp://{login}@127.0.0.1:9?insecure=yes",
    "no token": "smtp+starttls://me@127.0.0.1:{port}",
}


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("smtp", SMTP.values(), ids=SMTP)
async def test_no_secret_is_told_though_everything_fails_and_every_library_talks(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], smtp: str, log_format: str
) -> None:
    log = io.StringIO()
    async with Everywhere(tmp_path) as everywhere:
        coded = base64.b64encode(f"\0me\0{PASSWORD}".encode()).decode()
        everywhere.mail.at("auth", f"535 5.7.8 AUTH PLAIN {coded} {PASSWORD} is wrong", times=None)
        more = {**everywhere.variables(smtp), "RELAY_LOG_FORMAT": log_format}
        with contextlib.redirect_stderr(log):
            async with running_relay(tmp_path, rules=rules(), **more) as relay:
                everything_at_debug()
                url = f"{relay.url}/hooks/smartsupp/{TOKEN}"
                posted = await relay.ask("POST", url, data=a_hook(1, missed=True))
                assert (posted.status, posted.json["deliveries"]) == (202, DELIVERIES)
                await relay.until(
                    "SELECT count(*) FROM attempts WHERE number = 1 AND ended_at IS NOT NULL",
                    (DELIVERIES,),
                )
                said = await answers(relay)
    assert "DEBUG" in log.getvalue().upper()
    for text in (log.getvalue(), said, "".join(capfd.readouterr())):
        assert_silent(text)
        assert_silent(text, coded)
    for text in tables(tmp_path / "relay.db").values():
        assert_silent(text)
        assert_silent(text, coded)
    for file in tmp_path.glob("relay.db*"):
        assert CANARY.encode() not in file.read_bytes()


async def test_every_trouble_was_met(tmp_path: Path) -> None:
    """The test above would prove nothing if nothing had failed."""
    async with Everywhere(tmp_path) as everywhere:
        more = everywhere.variables(SMTP["wrong password"])
        async with running_relay(tmp_path, rules=rules(), **more) as relay:
            url = f"{relay.url}/hooks/smartsupp/{TOKEN}"
            await relay.ask("POST", url, data=a_hook(1, missed=True))
            await relay.until(
                "SELECT count(*) FROM attempts WHERE number = 1 AND ended_at IS NOT NULL",
                (DELIVERIES,),
            )
        endings = relay.rows("SELECT DISTINCT ending FROM attempts ORDER BY ending")
        assert [ending for (ending,) in endings] == [
            "destination broken",
            "later",
            "maybe delivered",
            "rate limited",
            "refused",
        ]
        said = " ".join(detail for (detail,) in relay.rows("SELECT detail FROM attempts"))
        assert "***" in said
        assert "certificate" in said


# -- visitors ---------------------------------------------------------------------------------------------------


async def test_what_a_visitor_wrote_stands_in_the_hook_and_in_what_is_sent_and_nowhere_else(
    tmp_path: Path,
) -> None:
    visitor = {
        "email": f"{WORDS}@example.com",
        "note": WORDS,
        "city": WORDS,
        "variables": {WORDS: {"label": WORDS, "value": WORDS}},
    }
    messages = [{"type": "visitor", "name": WORDS, "content": WORDS}]
    hook = a_hook(
        1,
        missed=True,
        visitor=visitor,
        messages=messages,
        paths=[{"url": f"https://x.example/{WORDS}"}],
    )
    log = io.StringIO()
    async with SmtpServer() as mail, HttpServer(HttpAnswer(status=500)) as room:
        with contextlib.redirect_stderr(log):
            async with running_relay(tmp_path, smtp=mail.port, http=room.port) as relay:
                assert (await relay.post(hook)).status == 202
                (one,) = await mail.received(1)
                ended = "SELECT count(DISTINCT delivery_id) FROM attempts WHERE ended_at > 0"
                await relay.until(ended, (2,))
                said = "".join([str(await relay.ready()), await _text(relay, "/metrics")])
    assert WORDS in one.part("plain")
    assert WORDS in one.part("html")
    assert WORDS.encode() in room.requests[0].body
    assert_silent(log.getvalue() + said, WORDS)
    found = tables(tmp_path / "relay.db")
    assert [name for name, text in found.items() if WORDS in text] == ["hook_bodies"]


async def _text(relay: RunningRelay, path: str) -> str:
    async with relay.client.get(relay.url + path) as answer:
        return await answer.text()


# -- commands ---------------------------------------------------------------------------------------------------


async def test_no_command_tells_a_secret(tmp_path: Path) -> None:
    (tmp_path / "chat.json").write_bytes(a_hook(1, missed=True))
    async with Everywhere(tmp_path) as everywhere:
        variables = settings(
            tmp_path, rules=rules(), **everywhere.variables(SMTP["wrong password"])
        )
    for arguments in (
        ["check"],
        ["explain", str(tmp_path / "chat.json")],
        ["fields"],
        ["post", str(tmp_path / "chat.json")],
    ):
        ran = await asyncio.to_thread(command, *arguments, variables=variables)
        assert ran.out + ran.err
        assert_silent(ran.out + ran.err)


@pytest.mark.parametrize("arguments", [["serve"], ["check"]])
async def test_no_refusal_of_settings_or_rules_tells_a_secret(
    tmp_path: Path, arguments: list[str]
) -> None:
    literal = "https://hooks.slack.com/services/T0/B0/CANARY"
    wrong = f"""\
destinations:
  room: {{slack: {{webhook: {literal}}}}}
  team: {{teams: {{webhook: "https://x.example/invoke?sig=CANARY"}}}}
  desk: {{email: {{to: desk@example.com}}}}
rules:
  - {{name: Missed, when: {{missed: true}}, send_to: [room, team, desk]}}
"""
    variables = settings(
        tmp_path,
        rules=wrong,
        RELAY_HOOK_TOKENS="CANARY/short",
        RELAY_SLACK_TOKEN="xoxp-CANARY",
        RELAY_SMTP_URL="smtps://me:CANARY#1@mail.example.com",
        RELAY_DATABASE="mysql://me:CANARY@db.example.com/relay",
        RELAY_SMTP_OAUTH_SECRET="CANARY",
        RELAY_PUBLIC_URL="https://me:CANARY@relay.example.com",
        RELAY_SLACK_API_URL="https://me:CANARY@slack.example.com",
        ROOM_WEBHOOK_FILE=literal,
    )
    ran = await asyncio.to_thread(command, *arguments, variables=variables)
    assert ran.status == 2
    for name in ("RELAY_HOOK_TOKENS", "RELAY_SLACK_TOKEN", "RELAY_SMTP_URL", "RELAY_DATABASE"):
        assert name in ran.out + ran.err
    assert "rules.yaml:2:" in ran.out + ran.err
    assert "Traceback" not in ran.err
    assert_silent(ran.out + ran.err)
