"""The composition root: the only place that puts the parts together."""

import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Response, asgi
from litestar.exceptions import HTTPException

from relay.metrics import Metrics
from relay.outbox import Outbox
from relay.settings import Settings
from relay.startup import Ready
from relay.web.body import DEADLINE, BodyReader
from relay.web.health import Health
from relay.web.hook import PATH, HookRoute
from relay.web.in_force import InForce

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
    outbox = await Outbox.open(ready.settings.database, now=clock())
    metrics = Metrics()
    in_force = InForce(ready, outbox, metrics, clock)
    try:
        await in_force.start()
        reader = BodyReader(deadline=body_deadline)
        tokens = hook_tokens(ready.settings)
        route = HookRoute(
            tokens=tokens,
            take=in_force.take,
            has_room=outbox.has_room,
            reader=reader,
            metrics=metrics,
        )
        health = Health(
            outbox=outbox,
            rules=lambda: in_force.rules,
            lanes=lambda: in_force.lanes,
            metrics=metrics,
            clock=clock,
            is_stopping=lambda: reader.stopping,
        )
        yield Relay(_litestar(route, health), reader, tokens)
    finally:
        await in_force.stop(STOP_GRACE)
        await outbox.close()


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
