"""The composition root: the only place that puts the parts together."""

import logging
import os
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Response, asgi
from litestar.exceptions import HTTPException

from relay.dispatcher import Dispatcher
from relay.intake import Receipt, take
from relay.lane import Lane
from relay.metrics import Metrics
from relay.outbox import Outbox
from relay.rendering import Fallbacks, Renderer
from relay.settings import Settings
from relay.startup import Ready
from relay.transports.access import Access
from relay.transports.registry import TRANSPORTS, open_transport
from relay.web.body import DEADLINE, BodyReader
from relay.web.health import Health
from relay.web.hook import PATH, HookRoute

STOP_GRACE = 7.0
"""Seconds that attempts under way get at a stop; Docker kills after 10."""

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Relay:
    """A running relay: the ASGI application, and how to let go of requests when it stops."""

    app: Litestar
    reader: BodyReader
    tokens: tuple[str, ...]


@asynccontextmanager
async def open_relay(
    ready: Ready,
    *,
    clock: Callable[[], datetime] = utc_now,
    body_deadline: float = DEADLINE,
) -> AsyncIterator[Relay]:
    """Open the database, start sending, and build the application; undo it all at the end.

    `body_deadline`: seconds that a hook's body may take. Raises StorageRefused.
    """
    settings = ready.settings
    metrics = Metrics()
    outbox = await Outbox.open(settings.database, now=clock())
    access = Access(settings, lambda name: ready.secrets[name].reveal(), clock=clock)
    try:
        dispatcher, lanes = await _open_dispatcher(ready, outbox, access, metrics, clock)
        reader = BodyReader(deadline=body_deadline)
        tokens = hook_tokens(settings)

        async def take_hook(body: bytes) -> Receipt:
            receipt = await take(
                body,
                rules=ready.rules,
                outbox=outbox,
                now=clock(),
                mail_domain=_mail_domain(settings),
            )
            dispatcher.wake(receipt.destinations)
            return receipt

        route = HookRoute(
            tokens=tokens, take=take_hook, has_room=outbox.has_room, reader=reader, metrics=metrics
        )
        health = Health(
            outbox=outbox,
            rules=ready.rules,
            lanes=lanes,
            metrics=metrics,
            clock=clock,
            is_stopping=lambda: reader.stopping,
        )
        dispatcher.start()
        try:
            yield Relay(_litestar(route, health), reader, tokens)
        finally:
            await dispatcher.stop(STOP_GRACE)
    finally:
        await access.close()
        await outbox.close()


async def _open_dispatcher(
    ready: Ready,
    outbox: Outbox,
    access: Access,
    metrics: Metrics,
    clock: Callable[[], datetime],
) -> tuple[Dispatcher, Mapping[str, Lane]]:
    gates = await outbox.gates()
    lanes = {
        name: Lane(
            destination, TRANSPORTS[destination.transport], open_transport(destination, access)
        )
        for name, destination in ready.rules.destinations.items()
    }
    for name, gate in gates.items():
        # A broken one may have been mended while the relay was off: look at once.
        if name in lanes and gate.broken_since is None:
            lanes[name].gate = gate
    fallbacks = Fallbacks(ready.rules.recipients, _mail_domain(ready.settings))
    return Dispatcher(
        outbox=outbox,
        lanes=lanes,
        render=Renderer(ready.templates, ready.settings.public_url).render,
        owe_fallback=fallbacks.owe,
        metrics=metrics,
        clock=clock,
        random=random.random,
    ), lanes


def _litestar(route: HookRoute, health: Health) -> Litestar:
    # A mount, not "{token:str}": litestar 2.25 fails with KeyError on ASGI routes with parameters.
    hook = asgi(PATH, is_mount=True, copy_scope=True)(route)
    return Litestar(
        [hook, *health.routes()],
        openapi_config=None,
        logging_config=None,
        debug=False,
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


def _refused(_request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    words = {404: "not found", 405: "method not allowed"}.get(error.status_code, error.detail)
    return Response(
        {"error": words},
        status_code=error.status_code,
        headers={"x-content-type-options": "nosniff", **(error.headers or {})},
    )


def _failed(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    # Litestar itself would answer 500 and leave no trace.
    log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    return Response({"error": "the relay failed; its log says how"}, status_code=500)


def hook_tokens(settings: Settings) -> tuple[str, ...]:
    """Those of the settings; otherwise one made at the first start and kept beside the database."""
    if settings.hook_tokens:
        return tuple(token.reveal() for token in settings.hook_tokens)
    path = token_file(settings)
    try:
        return (path.read_text(encoding="ascii").strip(),)
    except FileNotFoundError:
        token = secrets.token_urlsafe(24)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
        return (token,)


def token_file(settings: Settings) -> Path:
    return settings.database.with_name(f"{settings.database.name}.token")


def _mail_domain(settings: Settings) -> str:
    return settings.mail_from.domain if settings.mail_from else ""
