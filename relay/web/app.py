"""The composition root: the only place that puts the parts of a relay together. Also the time limits of requests."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException

from relay.alerts.alert_loop import Watch
from relay.alerts.problem_detection import LocalState
from relay.clock import Background, Clock, Rest, pause, utc_now
from relay.metrics import Metrics
from relay.outbox import LONGEST_WRITE, Outbox
from relay.outbox.process_identity import Process
from relay.outbox.retention import Retention
from relay.rendering.isolation.worker_pool import RenderPool
from relay.rendering.template_checks import misplaced
from relay.rendering.template_folders import DIGEST
from relay.runtime.file_watch import digests_of
from relay.runtime.hook_tokens import new_token, token_file, write_tokens
from relay.runtime.reload import Catalogues, KeptVersions, Reload
from relay.runtime.rules_in_force import RulesInForce
from relay.runtime.startup import NotReady, Ready, template_names
from relay.settings.table import Settings
from relay.web.health import Health, Parts, storage_trouble
from relay.web.hook import PATH, HookRoute
from relay.web.request_body import BodyReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Time limits for the parts of a request and for writing, in seconds."""

    headers: float = 10.0
    """The time limit from the connection, or the previous answer, to the end of a request's headers."""
    body: float = 10.0
    """The time limit from there to the last byte of a hook's body. No known server has one for that."""
    write: float = LONGEST_WRITE
    """The time limit from there until the hook is stored."""


USUAL = Deadlines()
NO_VARIABLES: Mapping[str, str] = {}


MOST_PROBLEMS = 3
"""How many problems of the rules file an alert contains."""
SAFE = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
"""Headers of every answer."""
STOP_GRACE = 7.0
"""Seconds that deliveries being sent get when the relay stops; Docker kills after 10."""

log = logging.getLogger(__name__)


Asgi = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application."""
OWN_PATHS = {"hooks", "healthz", "readyz", "metrics"}
"""First parts of paths that belong to the relay, not to pages."""


@dataclass(frozen=True, slots=True)
class App:
    """The ASGI application. A hook goes straight to its route, which Litestar would need 20 us to find."""

    hook: HookRoute
    others: Litestar
    pages: Asgi | None = None
    """The application for all other paths; None: they are not found."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        rest = below(PATH, scope)
        if rest is not None:
            await self.hook({**scope, "path": rest}, receive, send)
        elif self.pages is None or scope["path"].strip("/").partition("/")[0] in OWN_PATHS:
            await self.others(scope, receive, send)
        else:
            await self.pages(scope, receive, send)


def below(mount: str, scope: Any) -> str | None:  # noqa: ANN401 - ASGI
    """The rest of a path that begins with `mount`; None for another path."""
    path: str = scope.get("path", "").removeprefix(scope.get("root_path", ""))
    if not path.startswith(f"{mount}/"):
        # As on the other routes, extra or missing slashes do not matter.
        path = f"/{'/'.join(filter(None, path.split('/')))}/"
    return path.removeprefix(mount) if path.startswith(f"{mount}/") else None


@dataclass(frozen=True, slots=True)
class Relay:
    """A running relay: the ASGI application, the reader of request bodies, and the hook's tokens."""

    app: App
    reader: BodyReader
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Running:
    """The parts of a running relay that pages may use and show."""

    ready: Ready
    parts: Parts
    watch: Watch
    health: Health
    reader: BodyReader
    clock: Clock
    variables: Mapping[str, str]
    """The environment with settings and secrets."""
    rest: Rest
    """Lets long work wait between two of its transactions."""


Pages = Callable[[Running], AbstractAsyncContextManager[Asgi | None]]
"""Opens the application for all paths that are not the relay's own; None where there is none."""


@asynccontextmanager
async def open_relay(
    ready: Ready,
    *,
    load: Callable[[], Ready],
    pages: Pages | None = None,
    variables: Mapping[str, str] = NO_VARIABLES,
    hurry: asyncio.Event | None = None,
    clock: Clock = utc_now,
    deadlines: Deadlines = USUAL,
    between_looks: timedelta | None = None,
    rest: Rest = pause,
) -> AsyncIterator[Relay]:
    """Open the database, start sending, and build the application; undo everything at the end.

    `load` reads rules and secrets again after a file was saved. `pages` serves all other paths; it gets the
    environment's `variables`. `between_looks`: how often problems, the database and the clock are looked at; None: as
    usual. `hurry`, once set, cuts the end short. `rest` waits between two transactions of long work. Raises
    StorageRefused, and NotReady where the token file can't be used.
    """
    async with AsyncExitStack() as undo:
        outbox = await Outbox.open(
            ready.settings.database,
            now=clock(),
            process=Process.own(_listens(ready.settings)),
            longest_write=deadlines.write,
        )
        undo.push_async_callback(outbox.close)
        ready = _with_tokens(ready, known=(await outbox.summary()).last_hook is not None)
        parts = await _open_parts(
            undo,
            ready,
            outbox,
            load=load,
            hurry=hurry or asyncio.Event(),
            clock=clock,
            between_looks=between_looks,
        )
        watch = _watch(parts, ready, clock, between_looks)
        undo.push_async_callback(watch.stop)
        watch.start()
        reader = BodyReader(deadline=deadlines.body)
        health = Health(parts, watch, clock=clock, is_stopping=lambda: reader.stopping)
        running = Running(ready, parts, watch, health, reader, clock, variables, rest)
        more = await undo.enter_async_context(pages(running)) if pages else None
        app = App(_hook_route(parts, reader, deadlines), _litestar(health), more)
        yield Relay(app, reader, ready.hook_tokens)


def _hook_route(parts: Parts, reader: BodyReader, deadlines: Deadlines) -> HookRoute:
    return HookRoute(
        tokens=lambda: parts.reload.hook_tokens,
        take=parts.in_force.take,
        trouble=partial(storage_trouble, parts.outbox),
        reader=reader,
        write_deadline=deadlines.write,
        metrics=parts.metrics,
        precedence=parts.outbox.sessions.precedence,
    )


async def _open_parts(
    undo: AsyncExitStack,
    ready: Ready,
    outbox: Outbox,
    *,
    load: Callable[[], Ready],
    hurry: asyncio.Event,
    clock: Clock,
    between_looks: timedelta | None,
) -> Parts:
    """Open and start the parts of a relay; `undo` closes them, the last first."""
    metrics = Metrics()
    catalogues = Catalogues(ready)
    undo.push_async_callback(catalogues.stop)
    catalogues.start()
    workers = RenderPool(ready.template_folders)
    undo.push_async_callback(workers.close)
    in_force = RulesInForce(ready, outbox, workers, metrics, clock, between_looks=between_looks)
    undo.push_async_callback(in_force.stop, STOP_GRACE, hurry)
    await in_force.start()
    retention = Retention(
        outbox,
        keep_for=ready.settings.retention,
        clock=clock,
        look_again=in_force.look_again,
        erased=metrics.erased,
        between_looks=between_looks,
    )
    undo.push_async_callback(retention.stop)
    retention.start()
    versions = KeptVersions(outbox, clock, ready.settings.rules)
    undo.push_async_callback(versions.stop)
    versions.start()
    reload = Reload(ready, load=load, change=in_force.change, metrics=metrics, keep=versions.keep)
    undo.push_async_callback(reload.stop)
    reload.start()
    checking = Background()
    undo.push_async_callback(checking.stop)
    checking.start(_check_templates(workers, ready))
    return Parts(
        outbox=outbox, in_force=in_force, reload=reload, retention=retention, metrics=metrics
    )


def _watch(parts: Parts, ready: Ready, clock: Clock, between: timedelta | None) -> Watch:
    def local() -> LocalState:
        lanes = parts.in_force.lanes
        return LocalState(
            rules=parts.in_force.rules,
            rules_trouble="; ".join(parts.reload.problems[:MOST_PROBLEMS]),
            storage_trouble=storage_trouble(parts.outbox),
            worked={name: lane.worked_at for name, lane in lanes.items() if lane.worked_at},
            broken={name for name, lane in lanes.items() if lane.is_broken},
        )

    return Watch(
        parts.outbox,
        local=local,
        wake=parts.in_force.wake,
        send=parts.in_force.send_once,
        mail_domain=parts.in_force.mail_domain,
        box="" if isinstance(ready.settings.database, Path) else socket.gethostname(),
        clock=clock,
        between=between,
    )


def _listens(settings: Settings) -> str:
    """The address at which only this relay can listen on its host; empty where the system chooses the port."""
    return f"{settings.host}:{settings.port}" if settings.port else ""


async def _check_templates(workers: RenderPool, ready: Ready) -> None:
    """Log problems of the user's own templates, in the background, as a template that hangs must not delay the start."""
    if ready.settings.templates is None:
        return
    for path, words in misplaced(ready.settings.templates):
        log.warning("%s: %s", path, words)
    for name in (*template_names(ready.template_folders), DIGEST):
        for problem in await workers.check(name, in_no_hurry=True):
            log.error("%s; until it is fixed, the built-in wording is sent instead", problem)


def _litestar(health: Health) -> Litestar:
    return Litestar(
        health.routes(),
        openapi_config=None,
        logging_config=None,
        debug=False,
        response_headers=SAFE,
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


def _refused(_request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    words = {404: "not found", 405: "method not allowed"}.get(error.status_code, error.detail)
    return Response(
        {"error": words},
        status_code=error.status_code,
        headers={**SAFE, **(error.headers or {})},
    )


def _failed(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    # Litestar itself would answer 500 and leave no trace.
    log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    return Response({"error": "the relay failed; its log says how"}, status_code=500, headers=SAFE)


def _with_tokens(ready: Ready, *, known: bool) -> Ready:
    """Make a token at the first start, and write it beside the database. Raises NotReady where that fails.

    `known`: the database has chats, so Smartsupp has a URL already, and a new token leads to a warning.
    """
    path = token_file(ready.settings)
    if ready.hook_tokens or path is None:
        return ready
    if known:
        log.warning(
            "%s is not there, so the hook's URL has a new token. If Smartsupp posts to a URL already, set "
            "RELAY_HOOK_TOKENS to the token at its end, and restart",
            path,
        )
    tokens = (new_token(),)
    try:
        write_tokens(path, tokens)
    except ValueError as error:
        raise NotReady([str(error)]) from None
    return replace(
        ready, hook_tokens=tokens, other_files={**ready.other_files, **digests_of([path])}
    )
