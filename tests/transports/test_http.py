"""What all webhooks share: where they may lead, redirects, certificates, answers without end."""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.transports import Ending
from relay.transports.resolver import is_private
from tests.servers import Certificates, HttpAnswer, HttpServer
from tests.transports.contract import a_black_hole
from tests.transports.examples import MISSED
from tests.transports.test_slack import by_token, by_webhook
from tests.transports.test_teams import teams_bench
from tests.transports.web_bench import WebBench

BENCHES = pytest.mark.parametrize("opened", [by_webhook, teams_bench])
Opened = Callable[..., AbstractAsyncContextManager[WebBench]]


@BENCHES
@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:{}/x",
        "https://[::1]:{}/x",
        "https://[::ffff:127.0.0.1]:{}/x",
        "https://10.0.0.1:{}/x",
        "https://169.254.169.254:{}/latest",
        "https://localhost:{}/x",
        "https://0x7f000001:{}/x",
        "https://0.0.0.0:{}/x",
    ],
)
async def test_a_webhook_that_leads_to_a_private_address_is_not_called(
    opened: Opened, url: str
) -> None:
    certificates = Certificates()
    async with opened(
        tls=certificates.server,
        trusted=certificates.client,
        allow_private=False,
        url=lambda server: url.format(server.port),
    ) as bench:
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN, outcome
        assert "not on the public internet" in outcome.detail
        assert "RELAY_ALLOW_PRIVATE_WEBHOOKS" in outcome.detail
        assert bench.server.connections == 0


@BENCHES
@pytest.mark.parametrize("url", ["https://localhost.:{}/x", "https://2130706433:{}/x"])
async def test_however_a_private_address_is_written_it_is_not_called(
    opened: Opened, url: str
) -> None:
    certificates = Certificates()
    async with opened(
        tls=certificates.server,
        trusted=certificates.client,
        allow_private=False,
        url=lambda server: url.format(server.port),
    ) as bench:
        # What the resolver of the machine makes of it differs.
        assert (await bench.send()).ending in {Ending.DESTINATION_BROKEN, Ending.LATER}
        assert bench.server.connections == 0


@BENCHES
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://hooks.example.com/x", "it must be https://"),
        ("file:///etc/passwd", "is not a web address"),
        ("gopher://127.0.0.1:25/x", "is not a web address"),
        ("hooks.example.com/x", "is not a web address"),
        ("https://", "is not a web address"),
        ("https://[::1/x", "is not a web address"),
        ("https://a.example/x\r\nHost: b", "is not a web address"),
    ],
)
async def test_a_webhook_that_is_no_https_address_is_not_called(
    opened: Opened, url: str, words: str
) -> None:
    async with opened(allow_private=False, url=lambda _: url) as bench:
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN
        assert outcome.detail.startswith("what $WEBHOOK holds")
        assert words in outcome.detail
        assert url not in outcome.detail


async def test_slacks_api_is_held_to_the_same() -> None:
    async with by_token(allow_private=False) as bench:
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN
        assert outcome.detail.startswith("what RELAY_SLACK_API_URL holds")


# The first and the last address of each, from IANA's registries.
PRIVATE = """
    0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255
    169.254.0.0 169.254.169.254 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.8 192.0.0.170 192.0.0.255
    192.0.2.0 192.0.2.255 192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.7 203.0.113.255
    224.0.0.1 239.255.255.255 240.0.0.0 255.255.255.255
    :: ::1 ::2 100:: 100:0:0:1::1 64:ff9b:1:: 64:ff9b:1::808:808 64:ff9b:1:ffff:ffff:ffff:ffff:ffff 64:ff9b:0:1::808:808
    2001:1:: 2001:1::4 2001:2::1 2001:10::1 2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff 2001:db8::1 3fff:: 3fff:fff::1
    1fff:: 4000:: 5f00::1 fc00:: fd00::1 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fe80::1%eth0 febf::1 fec0::1 ff02::1 ff0e::1
    ::127.0.0.1 ::10.0.0.1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8
    64:ff9b::127.0.0.1 64:ff9b::10.1.2.3 2002:7f00:1:: 2002:a00:1::1 2002:c0a8:101::1
    2001:0:a00:1::f7f7:f7f7 2001:0:808:808::80ff:fffe 2001:0:808:808::f5ff:fffe
    2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:192.168.1.1
"""
PUBLIC = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.0.0.9 192.0.0.10 192.0.1.1
    192.31.196.1 192.52.193.1 192.175.48.1 198.17.255.255 198.20.0.0 223.255.255.255
    2000::1 2001:1::1 2001:1::2 2001:1::3 2001:3::1 2001:4:112::1 2001:20::1 2001:3f:ffff::1 2001:200::1 2001:4860:4860::8888
    2606:4700::1111 2620:4f:8000::1 3ffe::1
    ::8.8.8.8 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1 2001:0:808:808::f7f7:f7f7 2606:4700::5efe:8.8.8.8
"""


@pytest.mark.parametrize("address", [*PRIVATE.split(), "not an address", "", "8.8.8.8.8"])
def test_what_is_not_reachable_from_everywhere_is_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_what_is_reachable_from_everywhere_is_public(address: str) -> None:
    assert not is_private(address)


@given(st.ip_addresses(v=4).map(int))
def test_an_ipv6_address_that_leads_to_an_ipv4_address_is_judged_by_that(number: int) -> None:
    wanted = is_private(str(IPv4Address(number)))
    for prefix, shift in ((0, 0), (0xFFFF << 32, 0), (0x64FF9B << 96, 0), (0x2002 << 112, 80)):
        assert is_private(str(IPv6Address(prefix | number << shift))) is wanted
    teredo = 0x2001 << 112 | 0x08080808 << 64 | ~number & 0xFFFFFFFF
    assert is_private(str(IPv6Address(teredo))) is wanted


@BENCHES
async def test_a_redirect_is_not_followed(opened: Opened) -> None:
    async with HttpServer() as internal, opened() as bench:
        bench.server.usual = HttpAnswer(status=302, headers={"Location": internal.url("/")})
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN
        assert "answered 302, a redirect" in outcome.detail
        assert internal.connections == 0
        assert internal.url() not in outcome.detail


@pytest.mark.parametrize("opened", [by_webhook, by_token, teams_bench])
async def test_a_certificate_of_an_unknown_authority_breaks_the_destination(opened: Opened) -> None:
    stranger = Certificates()
    async with opened(tls=stranger.server, trusted=Certificates().client) as bench:
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN
        assert "certificate that can't be trusted" in outcome.detail
        assert bench.server.requests == []


@pytest.mark.parametrize("opened", [by_webhook, by_token, teams_bench])
async def test_a_trusted_certificate_lets_the_post_through(opened: Opened) -> None:
    certificates = Certificates()
    async with opened(tls=certificates.server, trusted=certificates.client) as bench:
        assert (await bench.send()).ending in {Ending.DELIVERED, Ending.ACCEPTED}


@BENCHES
async def test_a_name_that_leads_nowhere_is_for_later(opened: Opened) -> None:
    async with opened(url=lambda _: "https://nowhere.invalid/x") as bench:
        outcome = await bench.send()
        assert outcome.ending is Ending.LATER
        assert "could not be reached" in outcome.detail


@BENCHES
async def test_an_address_that_takes_no_connection_and_refuses_none_is_for_later(
    opened: Opened,
) -> None:
    async with opened(connect=0.3, url=lambda server: f"http://127.0.0.2:{server.port}/x") as bench:
        with a_black_hole("127.0.0.2", bench.server.port):
            outcome = await bench.send()
        assert outcome.ending is Ending.LATER
        assert "could not be reached in time" in outcome.detail


@pytest.mark.parametrize("opened", [by_webhook, by_token, teams_bench])
@pytest.mark.parametrize("endless", [True, False])
async def test_an_answer_of_any_length_is_read_to_64_kb(opened: Opened, endless: bool) -> None:
    async with opened() as bench:
        body = b"x" * (1_000 if endless else 20_000_000)
        bench.server.usual = HttpAnswer(status=400, body=body, endless=endless)
        outcome = await bench.send()
        assert outcome.ending is Ending.REFUSED
        assert len(outcome.detail) <= 300
        await bench.server.until(lambda: bench.server.open_connections == 0)


@BENCHES
async def test_posts_one_after_another_share_a_connection(opened: Opened) -> None:
    async with opened() as bench:
        for _ in range(4):
            await bench.send()
        assert bench.server.connections == 1


@pytest.mark.parametrize("opened", [by_webhook, by_token, teams_bench])
async def test_nothing_of_a_post_or_its_secrets_is_logged(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with opened() as bench:
            await bench.send()
            secrets = [*bench.secrets, MISSED.summary]
    assert [secret for secret in secrets if secret in caplog.text] == []


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with HttpServer() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url())
        for opened in (by_webhook, by_token, teams_bench):
            async with opened() as bench:
                assert (await bench.send()).ending in {Ending.DELIVERED, Ending.ACCEPTED}
        assert proxy.connections == 0


@pytest.mark.parametrize("opened", [by_webhook, by_token, teams_bench])
async def test_a_connection_that_was_idle_is_not_used_again(
    opened: Opened, idle_clock: list[float]
) -> None:
    """Servers close kept connections after a while, some after 200 ms: what is sent just then is lost."""
    async with opened() as bench:
        await bench.send()
        opened_by_first = bench.server.connections
        await bench.send()
        assert bench.server.connections == opened_by_first
        idle_clock[0] += 0.1
        await bench.send()
        assert bench.server.connections == opened_by_first + 1
