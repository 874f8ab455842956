"""Names are looked up without one waiting for another's, and answers are remembered for a while."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from relay.transports.resolver import FAILED, FRESH, STALE, Address, HttpResolver, Resolver
from tests.builders import a_hook
from tests.running import running_relay
from tests.servers import HttpServer, SmtpServer

AWAY = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def at(*hosts: str, port: int = 443) -> list[Address]:
    kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    return [(*kind, (host, port)) for host in hosts]


class NameServer:
    """Answers by a script, and then nothing until `speaks`."""

    def __init__(self, *steps: list[Address] | Exception) -> None:
        self.steps = list(steps)
        self.asked: list[str] = []
        self._heard = threading.Semaphore(0)
        self.speaks = threading.Event()
        self.now = 0.0

    def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        self._heard.release()
        if not self.steps:
            self.speaks.wait()
            raise AWAY
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    async def heard(self, count: int) -> None:
        for _ in range(count):
            await asyncio.to_thread(self._heard.acquire)

    def resolver(self) -> Resolver:
        return Resolver(self, monotonic=lambda: self.now, haste=0.01)


async def test_an_answer_is_used_for_a_while_and_then_asked_for_anew() -> None:
    server = NameServer(at("192.0.2.1"), at("192.0.2.2"))
    resolver = server.resolver()
    for _ in range(3):
        assert await resolver.addresses("a.example", 443) == at("192.0.2.1")
    server.now += FRESH
    assert await resolver.addresses("a.example", 443) == at("192.0.2.2")
    assert server.asked == ["a.example"] * 2


async def test_a_failure_is_remembered_for_a_moment() -> None:
    server = NameServer(AWAY, at("192.0.2.1"))
    resolver = server.resolver()
    for _ in range(3):
        with pytest.raises(socket.gaierror):
            await resolver.addresses("a.example", 443)
    server.now += FAILED
    assert await resolver.addresses("a.example", 443) == at("192.0.2.1")
    assert len(server.asked) == 2


@pytest.mark.parametrize("more", [[AWAY], []])
async def test_the_previous_answer_is_used_for_an_hour_where_the_name_servers_are_away(
    more: list[Exception],
) -> None:
    server = NameServer(at("192.0.2.1"), *more)
    resolver = server.resolver()
    await resolver.addresses("a.example", 443)
    server.now += FRESH
    for _ in range(3):
        assert await resolver.addresses("a.example", 443) == at("192.0.2.1")
    assert len(server.asked) == 2
    server.now += STALE
    server.speaks.set()
    with pytest.raises(socket.gaierror):
        await resolver.addresses("a.example", 443)


async def test_a_name_that_is_gone_is_gone() -> None:
    server = NameServer(at("192.0.2.1"), UNKNOWN)
    resolver = server.resolver()
    await resolver.addresses("a.example", 443)
    server.now += FRESH
    with pytest.raises(socket.gaierror):
        await resolver.addresses("a.example", 443)


async def test_who_needs_the_same_name_waits_for_one_look_up_and_may_leave() -> None:
    server = NameServer()
    resolver = server.resolver()
    waiting = [asyncio.ensure_future(resolver.addresses("a.example", 443)) for _ in range(9)]
    await server.heard(1)
    waiting.pop().cancel()
    server.speaks.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(one) for one in found} == {str(AWAY)}
    assert server.asked == ["a.example"]


async def test_no_name_waits_for_another_however_many_are_silent() -> None:
    silent, resolver = NameServer(), Resolver(lambda host, _: answers[host](host, 443))
    answers = {f"silent-{number}.example": silent for number in range(60)}
    waiting = [asyncio.ensure_future(resolver.addresses(host, 443)) for host in answers]
    await silent.heard(60)
    answers["good.example"] = NameServer(at("192.0.2.1"))
    assert await resolver.addresses("good.example", 443) == at("192.0.2.1")
    silent.speaks.set()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_addresses_are_not_looked_up_and_what_can_be_no_name_is_said() -> None:
    server = NameServer()
    resolver = server.resolver()
    ((*_, address),) = await resolver.addresses("192.0.2.7", 25)
    assert address == ("192.0.2.7", 25)
    ((*_, address),) = await resolver.addresses("::1", 25)
    assert address[:2] == ("::1", 25)
    assert server.asked == []
    with pytest.raises((OSError, ValueError)):
        await Resolver().addresses("a" * 70 + ".example", 25)


async def test_aiohttp_gets_all_addresses() -> None:
    server = NameServer(at("192.0.2.1", "192.0.2.2", port=8443))
    found = await HttpResolver(server.resolver()).resolve("a.example", 8443)
    assert [(one["host"], one["port"]) for one in found] == [
        ("192.0.2.1", 8443),
        ("192.0.2.2", 8443),
    ]


RULES = """\
destinations:
  desk: {email: {to: desk@example.com}, rate: unlimited}
  room: {slack: {webhook: $GOOD_WEBHOOK}, rate: unlimited}
%s
rules:
  - {name: All, when: {missed: true}, send_to: [%s, desk, room]}
"""


async def test_good_destinations_get_all_while_the_name_servers_of_others_are_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, speaks, asked = socket.getaddrinfo, threading.Event(), set[str]()
    bad = [f"bad{number}" for number in range(40)]
    rules = RULES % (
        "\n".join(f"  {name}: {{slack: {{webhook: ${name.upper()}}}}}" for name in bad),
        ", ".join(bad),
    )

    def look_up(host: str, *place: object, **more: object) -> object:
        if host.endswith(".silent.example"):
            asked.add(host)
            speaks.wait()
            raise AWAY
        return ask("127.0.0.1" if host.endswith(".example") else host, *place, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    hooks: dict[str, Any] = {
        name.upper(): f"https://{name}.silent.example/services/T0/B0/{name}" for name in bad
    }
    async with SmtpServer() as mail, HttpServer() as web:
        hooks["GOOD_WEBHOOK"] = f"http://good.example:{web.port}/services/T0/B0/x"
        server = f"smtp://mail.example:{mail.port}?insecure=yes"
        async with running_relay(tmp_path, rules=rules, **hooks, RELAY_SMTP_URL=server) as relay:
            for number in range(12):
                await relay.post(a_hook(number, missed=True))
            await mail.received(12)
            await web.received(12)
            assert len(asked) == 40
            speaks.set()
