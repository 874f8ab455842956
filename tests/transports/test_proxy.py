"""Where nothing gets out but through a proxy: everything that speaks HTTP takes that way, and nothing leaks on it."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from relay.settings.environment import SecretValue
from relay.settings.proxy import NoProxy, Proxy
from relay.transports import Ending
from tests.builders import a_hook
from tests.running import running_relay
from tests.servers import Certificates, HttpAnswer, HttpRequest, HttpServer, HttpStep, json_answer
from tests.tcp import Tunnel, free_port
from tests.transports.test_slack import by_webhook
from tests.transports.test_teams import teams_bench
from tests.transports.web_bench import WebBench

PASSWORD = "p%40ss-CANARY"
LOGIN = "Basic " + base64.b64encode(b"me:p@ss-CANARY").decode()
HOST = "hooks.chat.test"
"""No resolver of ours knows it: only the proxy does."""
Opened = Callable[..., AbstractAsyncContextManager[WebBench]]
BENCHES = pytest.mark.parametrize("opened", [by_webhook, teams_bench])


def a_proxy(port: int, exceptions: NoProxy | None = None) -> Proxy:
    url = SecretValue(f"http://me:{PASSWORD}@127.0.0.1:{port}")
    return Proxy(url, exceptions or NoProxy())


@asynccontextmanager
async def behind(opened: Opened, tunnel: Tunnel) -> AsyncIterator[WebBench]:
    """A server that only the proxy can reach, by TLS, as it is for everybody."""
    certificates = Certificates()
    async with opened(
        tls=certificates.server_for(HOST),
        trusted=certificates.client,
        allow_private=False,
        proxy=a_proxy(tunnel.port),
        url=lambda _: f"https://{HOST}/services/T/B/X",
    ) as bench:
        tunnel.lead_to(bench.server.port)
        yield bench


@BENCHES
async def test_posts_go_through_the_proxy_which_looks_up_the_name(opened: Opened) -> None:
    async with Tunnel() as tunnel, behind(opened, tunnel) as bench:
        for _ in range(2):
            outcome = await bench.send()
            assert outcome.ending in {Ending.DELIVERED, Ending.ACCEPTED}, outcome
        assert tunnel.asked == [f"CONNECT {HOST}:443 HTTP/1.1"]  # once: the connection is kept
        assert tunnel.logins == {f"Proxy-Authorization: {LOGIN}"}
        assert len(bench.server.requests) == 2
        assert all("proxy-authorization" not in one.headers for one in bench.server.requests)


@BENCHES
@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        ("407 Proxy Authentication Required", Ending.DESTINATION_BROKEN),
        ("403 Forbidden", Ending.DESTINATION_BROKEN),
        ("502 Bad Gateway", Ending.LATER),
        ("503 Service Unavailable", Ending.LATER),
        ("504 Gateway Timeout", Ending.LATER),
    ],
)
async def test_what_the_proxy_refuses_was_surely_not_sent(
    opened: Opened, answer: str, ending: Ending
) -> None:
    async with Tunnel(answer) as tunnel, behind(opened, tunnel) as bench:
        outcome = await bench.send()
        assert outcome.ending is ending
        assert outcome.detail.endswith(
            f" was not reached: the proxy of RELAY_HTTPS_PROXY answered {answer[:3]}"
        )
        assert bench.server.connections == 0


@BENCHES
async def test_a_proxy_that_is_away_is_waited_for_and_its_password_is_not_told(
    opened: Opened,
) -> None:
    away = Tunnel()
    away.port = free_port()
    async with behind(opened, away) as bench:
        outcome = await bench.send()
        assert outcome.ending is Ending.LATER
        assert "was not reached, nor the proxy of RELAY_HTTPS_PROXY: " in outcome.detail
        assert "CANARY" not in outcome.detail


@BENCHES
async def test_a_proxy_that_drops_the_line_is_no_proof_that_nothing_was_sent(
    opened: Opened,
) -> None:
    async with Tunnel("") as tunnel, behind(opened, tunnel) as bench:
        assert (await bench.send()).ending is Ending.MAYBE_DELIVERED
        assert bench.server.connections == 0


@BENCHES
@pytest.mark.parametrize(
    "exceptions",
    [NoProxy(names=("chat.test",)), NoProxy(names=(HOST,))],
)
async def test_what_is_named_beside_it_is_not_asked_of_the_proxy(
    opened: Opened, exceptions: NoProxy
) -> None:
    async with (
        Tunnel() as tunnel,
        opened(
            proxy=a_proxy(tunnel.port, exceptions), url=lambda _: f"https://{HOST}/services/T/B/X"
        ) as bench,
    ):
        outcome = await bench.send()
        assert outcome.ending is Ending.LATER  # no resolver of ours knows the name
        assert tunnel.asked == []


@pytest.mark.parametrize(
    ("host", "through"),
    [
        ("hooks.slack.com", True),
        ("notexample.com", True),
        ("example.com", False),
        ("chat.Example.com", False),
        ("example.com.", False),
        ("10.1.2.3", False),
        ("11.1.2.3", True),
        ("fd00::1", False),
        ("2606:4700::1111", True),
        ("localhost", False),
        ("127.0.0.1", False),
        ("::1", False),
    ],
)
def test_names_with_all_below_them_and_networks_are_reached_without_it(
    host: str, through: bool
) -> None:
    exceptions = NoProxy(("example.com",), (ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
    assert a_proxy(3128, exceptions).is_for(host) == through


RULES = """\
destinations:
  room: {slack: {webhook: $ROOM}, rate: unlimited}
  channel: {slack: {channel: C012345678}, rate: unlimited}
  team: {teams: {webhook: $TEAM}, rate: unlimited}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: [room, channel, team], template: missed}
"""


def _as_everybody_would(request: HttpRequest) -> HttpStep:
    if "/api/" in request.target:
        return json_answer({"ok": True, "channel": "C012345678", "ts": "1763800000.000100"})
    return HttpAnswer(status=202 if "flow" in request.target else 200, body="ok")


async def test_a_running_relay_sends_all_that_is_http_that_way_and_never_tells_the_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # In clear text a proxy is asked for the whole address, as any web server can be.
    async with HttpServer(usual=_as_everybody_would) as proxy:
        variables: dict[str, Any] = {
            "RELAY_HTTPS_PROXY": f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}",
            "RELAY_SLACK_TOKEN": "xoxb-for-tests",
            "RELAY_SLACK_API_URL": "http://slack.test/api",
            "ROOM": "http://hooks.slack.test/services/T/B/X",
            "TEAM": "http://flow.test/invoke",
        }
        async with running_relay(tmp_path, rules=RULES, **variables) as relay:
            await relay.post(a_hook(1, missed=True))
            await relay.until(
                "SELECT destination, state FROM deliveries ORDER BY destination",
                ("channel", "delivered"),
                ("room", "delivered"),
                ("team", "accepted"),
            )
        targets = {request.target for request in proxy.requests}
        assert targets >= {
            "http://slack.test/api/chat.postMessage",
            "http://hooks.slack.test/services/T/B/X",
            "http://flow.test/invoke",
        }
        assert {one.headers.get("proxy-authorization") for one in proxy.requests} == {LOGIN}
    assert "CANARY" not in capsys.readouterr().err
