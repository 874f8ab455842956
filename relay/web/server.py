"""The relay as a process: socket, server, signals, and an orderly end."""

import asyncio
import contextlib
import gc
import itertools
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from relay import logs
from relay.clock import Clock, Rest, pause, utc_now
from relay.redaction import Redactor
from relay.runtime.startup import NotReady, Ready, get_ready
from relay.settings.table import Settings, likely_typos
from relay.web.app import USUAL, Deadlines, Pages, open_relay
from relay.web.connections import ConnectionTracker, most_connections
from relay.web.request_body import FROM_PROXY, BodyReader

GRACE_FOR_REQUESTS = 2
"""Seconds for requests that are being answered; their work is a commit, which takes milliseconds."""
COLLECT_AFTER = 10_000
"""New objects between two garbage collections. Half a hook makes Python's default of 700."""

log = logging.getLogger(__name__)
Started = Callable[[str], Awaitable[None]]
"""Gets the base URL as soon as hooks are accepted."""


async def run_relay(
    variables: Mapping[str, str],
    *,
    started: Started,
    stopping: asyncio.Event | None = None,
    pages: Callable[[Ready], Pages | None] = lambda _: None,
    deadlines: Deadlines = USUAL,
    between_looks: timedelta | None = None,
    clock: Clock = utc_now,
    rest: Rest = pause,
) -> None:
    """Run a relay until SIGTERM or SIGINT, or until `stopping` is set.

    `pages` returns the application for all paths that are not the relay's own. `between_looks`, `rest`: see `open_relay`.
    Raises NotReady and StorageRefused before anything listens.
    """
    ready = get_ready(variables)
    redact = Redactor()
    redact.add(_secrets(ready))
    logs.set_up(ready.settings.log_format, redact)
    _warn(variables, ready.settings)
    stopping, hurry = stopping or asyncio.Event(), asyncio.Event()
    with _collecting_later(), _listen(ready.settings) as listener, _signals(stopping, hurry):

        def load() -> Ready:
            loaded = get_ready(variables)
            redact.add(_secrets(loaded))
            return loaded

        async with open_relay(
            ready,
            load=load,
            pages=pages(ready),
            variables=variables,
            hurry=hurry,
            clock=clock,
            deadlines=deadlines,
            between_looks=between_looks,
            rest=rest,
        ) as relay:
            redact.add(relay.tokens)
            _collect_less_often()
            if not stopping.is_set():
                tracker = ConnectionTracker(most=most_connections(), deadline=deadlines.headers)
                server = _Server(relay.app, relay.reader, tracker)
                if ready.settings.console_trusted_header:
                    _mark_proxies(server.config)
                await _serve(server, listener, started, stopping)


def _warn(variables: Mapping[str, str], settings: Settings) -> None:
    for sentence in likely_typos(variables):
        log.warning(sentence)
    for name in settings.unused:
        log.warning("%s is set, but what it is for is not part of this version", name)


class _Server(uvicorn.Server):
    """uvicorn, which also stops the reader of bodies at the signal, not only when the last request is done."""

    def __init__(self, app: object, reader: BodyReader, tracker: ConnectionTracker) -> None:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]  # any ASGI application
            http=tracker.protocol,  # type: ignore[arg-type]  # any callable that makes one
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=GRACE_FOR_REQUESTS,
        )
        super().__init__(config)
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._reader.stop)

    def end(self) -> None:
        """End the server as a signal would."""
        self.should_exit = True
        self._reader.stop()


class _MarkedProxies(ProxyHeadersMiddleware):
    """Marks each request that comes from a trusted proxy, before the client's address replaces the proxy's."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        peer = scope.get("client")
        scope[FROM_PROXY] = bool(peer) and peer[0] in self.trusted_hosts
        await super().__call__(scope, receive, send)

    @property
    def trusts_everybody(self) -> bool:
        known = self.trusted_hosts
        return known.always_trust or any(net.prefixlen == 0 for net in known.trusted_networks)


def _mark_proxies(config: uvicorn.Config) -> None:
    """Mark requests from trusted proxies. Raises NotReady where every address is trusted."""
    app = _MarkedProxies(config.app, config.forwarded_allow_ips)  # type: ignore[arg-type]
    if app.trusts_everybody:
        raise NotReady(
            [
                "RELAY_CONSOLE_TRUSTED_HEADER: by FORWARDED_ALLOW_IPS everybody could say who they are; name the proxy's address there"
            ]
        )
    config.app, config.proxy_headers = app, False


async def _serve(
    server: _Server, listener: socket.socket, ready: Started, stopping: asyncio.Event
) -> None:
    helpers = [
        asyncio.create_task(_announce(server, _url(listener), ready)),
        asyncio.create_task(_stop_when(server, stopping)),
    ]
    try:
        await server.serve(sockets=[listener])
    finally:
        await _end(helpers)


@contextlib.contextmanager
def _collecting_later() -> Iterator[None]:
    """Collect no garbage until `_collect_less_often`: the start makes many objects, and nearly all stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _collect_less_often() -> None:
    """Exclude existing objects from garbage collection, and collect less often."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


async def _announce(server: _Server, url: str, started: Started) -> None:
    await server.is_up.wait()
    log.info("taking hooks at %s/hooks/smartsupp/***", url)
    try:
        await started(url)
    except BaseException:
        server.end()
        raise


async def _stop_when(server: _Server, stopping: asyncio.Event) -> None:
    await stopping.wait()
    server.end()


async def _end(helpers: list[asyncio.Task[None]]) -> None:
    for helper in helpers:
        helper.cancel()
    for result in await asyncio.gather(*helpers, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


@contextlib.contextmanager
def _listen(settings: Settings) -> Iterator[socket.socket]:
    """Bind the listening address, before the database is opened. Raises NotReady."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named. Without it the body of an answer would wait up to
    # 40 ms until the caller has acknowledged the headers.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise NotReady(
            [f"RELAY_LISTEN: {settings.host}:{settings.port} can't be used: {error.strerror}"]
        ) from None
    with listener:
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _signals(stopping: asyncio.Event, hurry: asyncio.Event) -> Iterator[None]:
    """Handle signals: the first sets `stopping`, also during the start; a second sets `hurry`.

    `hurry` cuts off what is still being sent. uvicorn raises the signal again when it has ended; that must not kill
    the process before the relay has ended.
    """
    loop = asyncio.get_running_loop()
    received = itertools.count(1)

    def handle(_number: int, _frame: FrameType | None) -> None:
        event = hurry if next(received) > 1 else stopping
        loop.call_soon_threadsafe(event.set)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # else `nohup` has it ignored
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, _hang_up)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hang_up(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)


def _secrets(ready: Ready) -> list[str]:
    known = (*ready.secrets.values(), *ready.settings.secrets)
    return [*ready.hook_tokens, *(secret.reveal() for secret in known)]
