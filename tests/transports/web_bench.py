"""Benches for the transports that speak HTTP, against `tests.servers.HttpServer`."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from relay.clock import utc_now
from relay.destination import Destination
from relay.settings.environment import SecretValue
from relay.settings.proxy import Proxy
from relay.settings.table import Settings
from relay.transports.access import Access
from relay.transports.http import HttpTimeouts
from relay.transports.registry import open_transport
from tests.servers import PATIENCE, HttpRequest, HttpServer, HttpStep, LoopClock
from tests.transports.contract import Bench, Weather
from tests.transports.examples import NOON

TOKEN = "xoxb-123456789-TOPSECRET"

Answers = Mapping[Weather, HttpStep | Callable[[HttpRequest], HttpStep]]


class WebBench(Bench):
    """A transport whose server is a web server."""

    recipient = ""

    def __init__(
        self, server: HttpServer, access: Access, answers: Answers, clock: "HandMovedClock"
    ) -> None:
        self.server = server
        self.access = access
        self.answers = answers
        self.clock = clock

    def set(self, weather: Weather) -> None:
        self.clock.now += timedelta(minutes=1)  # longer than the wait that was asked for
        self.server.usual = self.answers[weather]

    def tries(self) -> int:
        return len(self.server.requests)

    async def heard(self, count: int) -> None:
        await self.server.received(count)

    def taken(self) -> list[bytes]:
        return [request.body for request in self.server.requests]

    def shown(self) -> str:
        return "\n".join(texts(self.server.requests[-1].json()))

    async def leave(self) -> None:
        await self.server.__aexit__(None, None, None)


def texts(json: Any) -> list[str]:
    """All strings of a JSON value."""
    if isinstance(json, str):
        return [json]
    if isinstance(json, dict):
        return [text for value in json.values() for text in texts(value)]
    if isinstance(json, list):
        return [text for value in json for text in texts(value)]
    return []


class HandMovedClock:
    """Stands still at noon."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()


@asynccontextmanager
async def web_bench(
    destination: Destination,
    answers: Answers,
    *,
    path: str,
    secrets: tuple[str, ...],
    hurried: bool = False,
    connect: float | None = None,
    tls: ssl.SSLContext | None = None,
    trusted: ssl.SSLContext | None = None,
    allow_private: bool = True,
    proxy: Proxy | None = None,
    url: Callable[[HttpServer], str] | None = None,
    kind: type[WebBench] = WebBench,
    others: Mapping[str, str] = {},
    wall_clock: bool = False,
) -> AsyncIterator[WebBench]:
    async with HttpServer(usual=answers[Weather.FAIR], tls=tls) as server:
        server.clock = LoopClock() if hurried else None
        target = url(server) if url else server.url(path)
        clock = HandMovedClock()
        if wall_clock:
            clock.now = utc_now()
        access = Access(
            Settings(
                slack_token=SecretValue(TOKEN),
                slack_api_url=server.url("/api/"),
                allow_private_webhooks=allow_private,
                proxy=proxy,
            ),
            {"WEBHOOK": target, **others}.__getitem__,
            clock=clock,
            tls=trusted,
            http_timeouts=HttpTimeouts(total=PATIENCE, connect=connect or PATIENCE, flow=PATIENCE),
        )
        bench = kind(server, access, answers, clock)
        bench.transport = open_transport(destination, access)
        bench.secrets = secrets
        try:
            yield bench
        finally:
            await access.close()
