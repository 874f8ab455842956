"""Logging in to a mail server with OAuth: where tokens come from, how long they serve, what may go wrong."""

import asyncio
import base64
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs

import pytest

from relay.destination import Destination
from relay.mail_address import MailAddress
from relay.settings.database import Database, PostgresServer
from relay.settings.environment import SecretValue
from relay.settings.smtp import SmtpOAuth, SmtpServer, SmtpTls
from relay.settings.table import Settings
from relay.transports import Ending, Outcome
from relay.transports.access import Access
from relay.transports.email.pool import PoolLimits
from relay.transports.email.smtp_client import SmtpTimeouts
from relay.transports.http import HttpTimeouts
from tests.servers import (
    DROP,
    HANG,
    PATIENCE,
    Certificates,
    HttpAnswer,
    HttpRequest,
    HttpServer,
    HttpStep,
    LoopClock,
    Raw,
    json_answer,
)
from tests.servers import SmtpServer as FarEnd
from tests.transports.contract import TransportContract, Weather
from tests.transports.test_email import MailBench
from tests.transports.web_bench import HandMovedClock

USER = "relay@example.org"
SECRET = "client-SECRET"
REFRESH = "refresh-SECRET"
SCOPE = "https://outlook.office365.com/.default"
TO = Destination(name="desk", transport="email", options={"to": ("desk@example.com",)})
FRESH = PoolLimits(mails=1)
"""A connection for each mail, so that each one logs in."""


class OAuthBench(MailBench):
    """A mail server that takes the token given out last, and the endpoint that gives them out."""

    endpoint: HttpServer
    clock: HandMovedClock
    given = 0

    def give(self, request: HttpRequest) -> HttpStep:
        """The usual answer: a token for an hour."""
        self.given += 1
        token = f"token-{self.given}-SECRET"
        self.server.users[USER] = token
        return json_answer({"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    def asked(self) -> list[dict[str, str]]:
        """What each request to the endpoint said."""
        return [
            {name: value for name, (value,) in parse_qs(request.body.decode()).items()}
            for request in self.endpoint.requests
        ]

    def logins(self) -> int:
        return self.server.verbs().count("AUTH")


@asynccontextmanager
async def oauth_bench(
    *,
    refresh_token: str = "",
    limits: PoolLimits | None = None,
    hurried: bool = False,
    mechanisms: str = "LOGIN XOAUTH2",
    token_url: str = "",
    allow_private: bool = True,
    database: Database | None = None,
) -> AsyncIterator[OAuthBench]:
    """`database`: beside which a newer refresh token is kept."""
    certificates = Certificates()
    clock = HandMovedClock()
    async with (
        contextlib.AsyncExitStack() as stack,
        FarEnd(tls=certificates.server, users={USER: "none"}, mechanisms=mechanisms) as far_end,
        HttpServer() as endpoint,
    ):
        far_end.clock = endpoint.clock = LoopClock() if hurried else None
        oauth = SmtpOAuth(
            token_url=token_url or endpoint.url("/tenant/oauth2/v2.0/token"),
            client_id="client-1",
            client_secret=SecretValue(SECRET),
            scope=SCOPE,
            refresh_token=SecretValue(refresh_token),
        )
        smtp = SmtpServer(
            host="127.0.0.1",
            port=far_end.port,
            tls=SmtpTls.STARTTLS,
            username=USER,
            oauth=oauth,
        )
        access = Access(
            Settings(
                smtp=smtp,
                mail_from=MailAddress("Relay", USER),
                database=database or Path(stack.enter_context(TemporaryDirectory())) / "relay.db",
                allow_private_webhooks=allow_private,
            ),
            str,
            tls=certificates.client,
            clock=clock,
            http_timeouts=HttpTimeouts(total=PATIENCE, connect=PATIENCE),
            smtp_timeouts=SmtpTimeouts(connect=PATIENCE, command=PATIENCE, end_of_data=PATIENCE),
            pool_limits=limits or PoolLimits(after_refusal=0),
            pool_clock=clock.seconds,
        )
        bench = OAuthBench(far_end, access)
        bench.endpoint, bench.clock = endpoint, clock
        endpoint.usual = bench.give
        coded = base64.b64encode(f"user={USER}\1auth=Bearer token-1-SECRET\1\1".encode())
        bench.secrets = (SECRET, REFRESH, "token-1-SECRET", coded.decode())
        try:
            yield bench
        finally:
            await access.close()


class TestEmailWithOAuth(TransportContract):
    success_says = "250 2.0.0 queued as T"
    rate_limits = False

    open = staticmethod(oauth_bench)


# -- where tokens come from --------------------------------------------------------------------------------


async def test_the_client_asks_for_a_token_of_its_own() -> None:
    async with oauth_bench() as bench:
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.asked() == [
            {
                "grant_type": "client_credentials",
                "client_id": "client-1",
                "client_secret": SECRET,
                "scope": SCOPE,
            }
        ]
        assert bench.server.mails[0].user == USER
        assert bench.endpoint.requests[0].target == "/tenant/oauth2/v2.0/token"
        assert b"SECRET" not in bench.endpoint.requests[0].target.encode()


async def test_the_mailbox_lends_its_refresh_token() -> None:
    async with oauth_bench(refresh_token=REFRESH) as bench:
        assert (await bench.send()).ending is Ending.DELIVERED
        (asked,) = bench.asked()
        assert (asked["grant_type"], asked["refresh_token"]) == ("refresh_token", REFRESH)


async def test_a_new_refresh_token_takes_the_place_of_the_old_one() -> None:
    async with oauth_bench(refresh_token=REFRESH, limits=FRESH) as bench:
        bench.server.users[USER] = "one"
        bench.endpoint.steps += [
            json_answer({"access_token": "one", "expires_in": 60, "refresh_token": "next-SECRET"})
        ]
        await bench.send()
        bench.clock.now += timedelta(minutes=1)
        await bench.send()
        assert [asked["refresh_token"] for asked in bench.asked()] == [REFRESH, "next-SECRET"]


# -- a refresh token that changes ---------------------------------------------------------------------------


class Rotation:
    """An endpoint that gives another refresh token each time, and takes none but the newest."""

    def __init__(self, bench: OAuthBench, newest: str = REFRESH) -> None:
        self.bench = bench
        self.newest = newest
        self.given = 0
        bench.endpoint.usual = self

    def __call__(self, request: HttpRequest) -> HttpStep:
        asked = parse_qs(request.body.decode())["refresh_token"][0]
        if asked != self.newest:
            return no("invalid_grant")
        self.given += 1
        self.newest = f"{REFRESH}-{self.bench.endpoint.port}-{self.given}"
        token = f"token-{self.newest}"
        self.bench.server.users[USER] = token
        answer = {"access_token": token, "expires_in": 60, "refresh_token": self.newest}
        return json_answer(answer)


def kept_in(folder: Path) -> Path:
    return folder / "relay.db.refresh-token"


async def test_a_newer_refresh_token_is_used_after_a_restart_too(tmp_path: Path) -> None:
    newest = REFRESH
    for start in range(3):
        async with oauth_bench(
            refresh_token=REFRESH, limits=FRESH, database=tmp_path / "relay.db"
        ) as bench:
            rotation = Rotation(bench, newest)
            for _ in range(2):
                assert (await bench.send()).ending is Ending.DELIVERED
                bench.clock.now += timedelta(minutes=1)
            newest = rotation.newest
            first, second = [asked["refresh_token"] for asked in bench.asked()]
            assert first != second
            assert (first == REFRESH) is (start == 0)
    assert newest in kept_in(tmp_path).read_text("utf-8")
    assert kept_in(tmp_path).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["relay.db.refresh-token"]


async def test_a_refresh_token_that_is_set_anew_makes_the_kept_one_void(tmp_path: Path) -> None:
    for refresh_token in (REFRESH, "another-SECRET"):
        async with oauth_bench(
            refresh_token=refresh_token, database=tmp_path / "relay.db"
        ) as bench:
            Rotation(bench, refresh_token)
            assert (await bench.send()).ending is Ending.DELIVERED
            assert [asked["refresh_token"] for asked in bench.asked()] == [refresh_token]


async def test_a_kept_refresh_token_that_is_refused_makes_way_for_that_of_the_settings(
    tmp_path: Path,
) -> None:
    async with oauth_bench(refresh_token=REFRESH, database=tmp_path / "relay.db") as bench:
        Rotation(bench)
        await bench.send()
    async with oauth_bench(refresh_token=REFRESH, database=tmp_path / "relay.db") as bench:
        Rotation(bench)
        assert (await bench.send()).ending is Ending.DELIVERED
        kept, ours = [asked["refresh_token"] for asked in bench.asked()]
        assert (kept != REFRESH, ours) == (True, REFRESH)


async def test_two_refused_refresh_tokens_break_the_destination(tmp_path: Path) -> None:
    async with oauth_bench(refresh_token=REFRESH, database=tmp_path / "relay.db") as bench:
        Rotation(bench)
        await bench.send()
    async with oauth_bench(refresh_token=REFRESH, database=tmp_path / "relay.db") as bench:
        bench.endpoint.usual = no("invalid_grant")
        assert (await bench.send()).ending is BROKEN
        assert len(bench.asked()) == 2


async def test_a_refresh_token_that_another_process_was_given_is_taken_up(tmp_path: Path) -> None:
    database = tmp_path / "relay.db"
    async with (
        oauth_bench(refresh_token=REFRESH, limits=FRESH, database=database) as relay,
        oauth_bench(refresh_token=REFRESH, limits=FRESH, database=database) as command,
    ):
        first = Rotation(relay)
        await relay.send()
        second = Rotation(command, first.newest)
        assert (await command.send()).ending is Ending.DELIVERED
        first.newest = second.newest
        relay.clock.now += timedelta(minutes=1)
        assert (await relay.send()).ending is Ending.DELIVERED


@pytest.mark.parametrize(
    "found", ["", "{", "[]", "\0", '{"token": "x"}', '{"instead_of": 5, "token": 6}', "[" * 99_999]
)
async def test_a_kept_refresh_token_that_makes_no_sense_is_passed_by(
    tmp_path: Path, found: str
) -> None:
    kept_in(tmp_path).write_text(found, "utf-8")
    async with oauth_bench(refresh_token=REFRESH, database=tmp_path / "relay.db") as bench:
        Rotation(bench)
        assert (await bench.send()).ending is Ending.DELIVERED


async def test_a_refresh_token_that_can_not_be_kept_serves_until_the_relay_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with oauth_bench(
        refresh_token=REFRESH, limits=FRESH, database=tmp_path / "gone" / "relay.db"
    ) as bench:
        Rotation(bench)
        for _ in range(3):
            assert (await bench.send()).ending is Ending.DELIVERED
            bench.clock.now += timedelta(minutes=1)
    assert "can't be kept in" in caplog.text
    assert "SECRET" not in caplog.text


async def test_beside_a_database_server_a_newer_refresh_token_is_not_kept_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = PostgresServer(SecretValue("postgresql://127.0.0.1/relay"))
    async with oauth_bench(refresh_token=REFRESH, limits=FRESH, database=server) as bench:
        Rotation(bench)
        for _ in range(2):
            assert (await bench.send()).ending is Ending.DELIVERED
            bench.clock.now += timedelta(minutes=1)
    assert "relays on a database server can't keep it" in caplog.text


async def test_a_mail_that_is_cancelled_while_it_asks_does_not_lose_the_refresh_token(
    tmp_path: Path,
) -> None:
    async with oauth_bench(refresh_token=REFRESH, database=tmp_path / "relay.db") as bench:
        now = asyncio.Event()
        bench.server.users[USER] = "one"
        bench.endpoint.steps.append(
            HttpAnswer(
                body=json.dumps({"access_token": "one", "refresh_token": "next-SECRET"}), after=now
            )
        )
        attempt = asyncio.create_task(bench.send())
        await bench.endpoint.received(1)
        attempt.cancel()
        await asyncio.wait([attempt])
        now.set()
        assert (await bench.send()).ending is Ending.DELIVERED
        assert len(bench.asked()) == 1
    assert "next-SECRET" in kept_in(tmp_path).read_text("utf-8")


async def test_no_refresh_token_is_ever_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with oauth_bench(refresh_token=REFRESH, database=tmp_path / "relay.db") as bench:
            Rotation(bench)
            await bench.send()
    assert "SECRET" not in caplog.text


# -- how long they serve -----------------------------------------------------------------------------------


async def test_a_token_serves_until_shortly_before_its_end() -> None:
    async with oauth_bench(limits=FRESH) as bench:
        for minutes in (0, 30, 24):
            bench.clock.now += timedelta(minutes=minutes)
            await bench.send()
        assert bench.logins() == 3
        assert len(bench.asked()) == 1
        bench.clock.now += timedelta(minutes=2)
        assert (await bench.send()).ending is Ending.DELIVERED
        assert len(bench.asked()) == 2


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [(100, 50), ("100", 50), (None, 150), ("soon", 150), (-5, 150), (True, 1), (1e12, 86_000)],
)
async def test_the_life_of_a_token_is_read_in_every_form(expires_in: Any, seconds: int) -> None:
    async with oauth_bench(limits=FRESH) as bench:
        answer = {"access_token": "t", "expires_in": expires_in}
        bench.endpoint.usual = json_answer({k: v for k, v in answer.items() if v is not None})
        bench.server.users[USER] = "t"
        await bench.send()
        bench.clock.now += timedelta(seconds=seconds - 1)
        await bench.send()
        assert len(bench.asked()) == 1
        bench.clock.now += timedelta(seconds=500)
        await bench.send()
        assert len(bench.asked()) == 2


async def test_no_connection_is_used_for_longer_than_the_token_that_opened_it() -> None:
    async with oauth_bench(limits=PoolLimits(idle=1_000)) as bench:
        bench.server.users[USER] = "short"
        bench.endpoint.usual = json_answer({"access_token": "short", "expires_in": 100})
        for seconds, connections in ((0, 1), (60, 1), (41, 2)):
            bench.clock.now += timedelta(seconds=seconds)
            assert (await bench.send()).ending is Ending.DELIVERED
            assert bench.server.connections == connections


async def test_many_mails_at_a_time_ask_for_one_token() -> None:
    async with oauth_bench() as bench:
        outcomes: list[Outcome] = await asyncio.gather(*(bench.send() for _ in range(20)))
        assert {outcome.ending for outcome in outcomes} == {Ending.DELIVERED}
        assert bench.logins() > 1
        assert len(bench.asked()) == 1


async def test_a_token_that_was_revoked_is_replaced_once_and_the_mail_goes_out() -> None:
    async with oauth_bench(limits=FRESH) as bench:
        await bench.send()
        bench.server.users[USER] = "revoked"
        assert (await bench.send()).ending is Ending.DELIVERED
        assert len(bench.asked()) == 2
        assert bench.logins() == 3


async def test_a_mail_server_that_takes_no_token_at_all_is_asked_twice_and_no_more() -> None:
    async with oauth_bench() as bench:
        bench.server.at("auth", "535 5.7.3 Authentication unsuccessful", times=None)
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN
        assert "the login with 535 5.7.3 Authentication unsuccessful" in outcome.detail
        assert (bench.logins(), len(bench.asked())) == (2, 2)
        assert bench.server.mails == []


async def test_many_mails_with_a_revoked_token_ask_for_one_new_token() -> None:
    async with oauth_bench(limits=PoolLimits(mails=1, connections=4)) as bench:
        await bench.send()
        bench.server.users[USER] = "revoked"
        await asyncio.gather(*(bench.send() for _ in range(4)))
        assert len(bench.server.mails) == 5
        assert len(bench.asked()) == 2


async def test_no_token_is_sent_before_the_line_is_encrypted() -> None:
    async with oauth_bench() as bench:
        await bench.send()
        assert bench.server.verbs()[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]
        assert bench.server.mails[0].encrypted


async def test_a_server_without_xoauth2_breaks_the_destination() -> None:
    async with oauth_bench(mechanisms="PLAIN LOGIN") as bench:
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN
        assert "XOAUTH2 is needed, it offers PLAIN, LOGIN" in outcome.detail
        assert bench.logins() == 0


async def test_a_login_put_off_by_the_server_is_for_later_and_keeps_the_token() -> None:
    async with oauth_bench() as bench:
        bench.server.at("auth", "454 4.7.0 Temporary authentication failure")
        assert (await bench.send()).ending is Ending.LATER
        assert (await bench.send()).ending is Ending.DELIVERED
        assert len(bench.asked()) == 1


# -- what may go wrong at the endpoint ---------------------------------------------------------------------


def no(error: str, status: int = 400, words: str = "AADSTS7000: not so") -> HttpAnswer:
    return json_answer({"error": error, "error_description": words}, status)


LATER, BROKEN = Ending.LATER, Ending.DESTINATION_BROKEN


@pytest.mark.parametrize(
    ("answer", "ending", "words"),
    [
        (
            no("invalid_client", 401),
            BROKEN,
            "check RELAY_SMTP_OAUTH_CLIENT_ID and RELAY_SMTP_OAUTH_CLIENT_SECRET",
        ),
        (
            no("invalid_grant"),
            BROKEN,
            "the refresh token was revoked or ran out: sign in again, set RELAY_SMTP_OAUTH_REFRESH_TOKEN",
        ),
        (no("invalid_scope"), BROKEN, "check RELAY_SMTP_OAUTH_SCOPE"),
        (no("unauthorized_client"), BROKEN, "the app may not get tokens this way"),
        (no("unsupported_grant_type"), BROKEN, "check RELAY_SMTP_OAUTH_TOKEN_URL"),
        (no("never_heard_of"), BROKEN, "answered 400 never_heard_of AADSTS7000: not so"),
        (HttpAnswer(status=404, body="nothing here"), BROKEN, "check RELAY_SMTP_OAUTH_TOKEN_URL"),
        (HttpAnswer(body="<html>log in</html>"), BROKEN, "answered 200 <html>log in</html>"),
        (json_answer(["no"]), BROKEN, "check RELAY_SMTP_OAUTH_TOKEN_URL"),
        (json_answer({"token_type": "Bearer"}), BROKEN, "check RELAY_SMTP_OAUTH_TOKEN_URL"),
        (json_answer({"access_token": "a\r\nRSET"}), BROKEN, "something that is not a token"),
        (json_answer({"access_token": ""}), BROKEN, "something that is not a token"),
        (json_answer({"access_token": 5}), BROKEN, "something that is not a token"),
        (HttpAnswer(body="[" * 100_000), BROKEN, "check RELAY_SMTP_OAUTH_TOKEN_URL"),
        (
            HttpAnswer(status=302, headers={"Location": "http://127.0.0.1/"}),
            BROKEN,
            "the token endpoint answered 302, a redirect",
        ),
        (no("temporarily_unavailable"), LATER, "temporarily_unavailable"),
        (no("server_error", 500), LATER, "server_error"),
        (HttpAnswer(status=503, body="busy"), LATER, "the token endpoint answered 503 busy"),
        (HttpAnswer(status=429, body="slow down"), LATER, "answered 429 slow down"),
        (DROP, LATER, "the token endpoint dropped the line"),
        (HANG, LATER, "the token endpoint did not answer in time"),
        (Raw(b"220 mail.example.com ESMTP\r\n"), LATER, "the token endpoint dropped the line"),
        (Raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000), LATER, "the token endpoint"),
        (HttpAnswer(body=b"x" * 20_000_000), BROKEN, "check RELAY_SMTP_OAUTH_TOKEN_URL"),
        (HttpAnswer(body="x", endless=True), BROKEN, "check RELAY_SMTP_OAUTH_TOKEN_URL"),
        (HttpAnswer(body='{"access_token": "half', missing=9), LATER, "broke off in the middle"),
        (HttpAnswer(status=400, body='{"error": "inv', missing=9), LATER, "broke off"),
        (HttpAnswer(status=503, body="", headers={"Retry-After": "99"}), LATER, "answered 503"),
        (HttpAnswer(status=204, body=""), BROKEN, "answered 204"),
        (HttpAnswer(body='{"expires_in": ' + "9" * 5_000 + "}"), BROKEN, "check RELAY_SMTP"),
    ],
)
@pytest.mark.long
async def test_each_answer_of_the_endpoint_ends_the_attempt_so(
    answer: HttpStep, ending: Ending, words: str
) -> None:
    async with oauth_bench(hurried=answer is HANG) as bench:
        bench.endpoint.steps.append(answer)
        outcome = await bench.send()
        assert outcome.ending is ending
        assert words in outcome.detail
        assert bench.server.connections == 0
        assert (await bench.send()).ending is Ending.DELIVERED


async def test_an_endpoint_whose_answer_does_not_come_to_an_end_is_for_later() -> None:
    async with oauth_bench(hurried=True) as bench:
        bench.endpoint.steps.append(HttpAnswer(body='{"a": 1, ', drips=True))
        outcome = await bench.send()
        assert (outcome.ending, "broke off" in outcome.detail) == (LATER, True)


async def test_an_endpoint_that_is_not_there_is_for_later() -> None:
    async with oauth_bench(token_url="https://nowhere.invalid/token") as bench:
        outcome = await bench.send()
        assert outcome.ending is LATER
        assert outcome.detail.startswith("the token endpoint could not be reached")


@pytest.mark.parametrize("url", ["http://login.example.com/token", "https://10.0.0.1/token"])
async def test_an_endpoint_in_clear_text_or_within_the_house_is_not_called(url: str) -> None:
    async with oauth_bench(token_url=url, allow_private=False) as bench:
        outcome = await bench.send()
        assert outcome.ending is BROKEN
        assert outcome.detail.startswith("what RELAY_SMTP_OAUTH_TOKEN_URL holds")


@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(body='{"access_token": "ya29.SECRET", }'),
        HttpAnswer(body="access_token=ya29.SECRET&expires_in=3600"),
        HttpAnswer(status=500, body='{"access_token": "ya29.SECRET"}'),
        HttpAnswer(status=400, body="<p>client_id=x&amp;client_secret=SECRET</p>"),
    ],
)
async def test_a_token_that_nobody_can_read_is_not_quoted(answer: HttpAnswer) -> None:
    async with oauth_bench() as bench:
        bench.endpoint.steps.append(answer)
        detail = (await bench.send()).detail
        assert "the token endpoint answered" in detail
        assert "SECRET" not in detail.replace("CLIENT_SECRET", "")


@pytest.mark.parametrize("expires_in", [10**400, float("nan"), "1e999", True, None, [3600]])
async def test_a_token_serves_whatever_is_said_of_its_end(expires_in: object) -> None:
    async with oauth_bench() as bench:
        given = {"access_token": "token-1-SECRET", "expires_in": expires_in}
        bench.endpoint.steps.append(json_answer(given, 201))
        assert (await bench.send()).ending is Ending.DELIVERED


async def test_an_endpoint_that_says_secrets_back_is_not_quoted() -> None:
    async with oauth_bench(refresh_token=REFRESH) as bench:
        bench.endpoint.steps.append(no("invalid_grant", 400, json.dumps([SECRET, REFRESH])))
        detail = (await bench.send()).detail
        assert "invalid_grant" in detail
        assert "SECRET" not in detail.replace("CLIENT_SECRET", "")


async def test_a_mail_server_that_says_the_token_back_is_not_quoted() -> None:
    async with oauth_bench() as bench:
        coded = bench.secrets[-1]
        bench.server.at("auth", f"550 5.7.1 no: {coded} is token-1-SECRET", times=None)
        outcome = await bench.send()
        assert outcome.detail.endswith("no: *** is ***")


@pytest.mark.parametrize("weather", [Weather.LOCKED, Weather.DROPPING])
async def test_the_token_is_not_asked_for_again_for_another_reason(weather: Weather) -> None:
    async with oauth_bench() as bench:
        bench.set(weather)
        await bench.send()
        assert len(bench.asked()) == 1
