"""The page about the relay's health, in words; and the hook's URL, for admins."""

import asyncio
import platform
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from relay import __version__
from relay.alerts.alert_loop import NO_ANSWER
from relay.alerts.alert_text import alert_notification
from relay.alerts.stored_alert import alert_of
from relay.console.delivery_pages import LANE_STATES
from relay.console.logged_acts import act_of
from relay.console.page import AnyRequest, Page, Pages, form_route, page_route
from relay.console.request_context import caller_of
from relay.delivery.lane import LaneState
from relay.languages import N_, Language
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.audit_log import add_act
from relay.outbox.process_identity import Process, known_relays
from relay.outbox.troubles import Trouble
from relay.outbox.user_accounts import Role
from relay.services.recent_counts import LastDay, last_day
from relay.web.app import Running
from relay.web.health import storage_trouble
from relay.web.hook import PATH

PATIENCE = 4.0
"""Seconds to wait for each part of the page that needs the database."""


class TroubleInWords(Struct, frozen=True):
    """A problem as an alert describes it."""

    headline: str
    summary: str
    why: str
    since: datetime
    destinations: tuple[str, ...]
    """The destinations that got the alert."""


class HealthPage:
    """`/health`, and the status in the head of each page."""

    def __init__(self, running: Running, pages: Pages) -> None:
        self._running, self._pages = running, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/health", Role.VIEWER, self._health, needs_no_database=True),
            page_route("/status", Role.VIEWER, self._status, needs_no_database=True),
            form_route("/hook-url", Role.ADMIN, self._show_hook_url),
        ]

    async def _health(self, request: AnyRequest) -> Page:
        running, settings = self._running, self._running.ready.settings
        readiness = await readiness_of(running, caller_of(request.scope).no_database)
        return await self._pages.show(
            request,
            "health.html",
            nav="health",
            ready=readiness,
            last_hook=_moment(readiness.get("last_hook")),
            next_scheduled=_moment(readiness.get("next_scheduled")),
            troubles=[self._in_words(request, each) for each in running.watch.glance.troubles],
            alerts_to=running.parts.in_force.rules.alerts_to,
            kept_days=settings.retention.days if settings.retention else 0,
            version=__version__,
            python=platform.python_version(),
            disk_free=disk_free(running),
            database=str(settings.database),
            rules_file=settings.rules,
            **await self._counted(request, has_database="deliveries" in readiness),
        )

    async def _counted(self, request: AnyRequest, *, has_database: bool) -> dict[str, Any]:
        """What the database says of deliveries and relays; without it, what this relay knows of its destinations."""
        if not has_database:
            lanes = self._lanes(self._pages.language(request))
            return {"day": None, "relays": [], "lanes": lanes}
        day, relays = await past_day(self._running), await all_relays(self._running)
        return {"day": day, "relays": relays, "lanes": []}

    async def _status(self, request: AnyRequest) -> Page:
        path = request.query_params.get("of", "")
        return self._pages.show_at_once(request, "status.html", path=path)

    async def _show_hook_url(self, request: AnyRequest) -> Page:
        parts, caller = self._running.parts, caller_of(request.scope)
        act = act_of(caller, "show hook url", "", each_time=True)
        sql, now = parts.outbox.operations.sql, self._running.clock()
        await parts.outbox.run(lambda cursor: add_act(sql, cursor, act, now))
        url = hook_url(self._running, request.headers["host"], parts.reload.hook_tokens[0])
        return await self._pages.show(request, "hook_url.html", nav="health", url=url)

    def _lanes(self, language: Language) -> list[tuple[str, str, str]]:
        """Each destination with the tone and the words of its state, as this relay knows it."""
        now, rows = self._running.clock(), []
        for name, lane in self._running.parts.in_force.lanes.items():
            state = lane.state(now)
            tone, words = LANE_STATES[state]
            if state is LaneState.WORKS:
                tone, words = "good", N_("works")
            rows.append((name, tone, language.gettext(words)))
        return rows

    def _in_words(self, request: AnyRequest, trouble: Trouble) -> TroubleInWords:
        alert = alert_of(trouble, over=False, now=self._running.clock())
        notification = alert_notification(
            alert, zone=self._pages.zone(request), language=self._pages.language(request).name
        )
        words = notification.subject, notification.summary
        return TroubleInWords(*words, trouble.why, trouble.since, tuple(trouble.alerted))


async def readiness_of(running: Running, no_database: str = "") -> dict[str, Any]:
    """The body of /readyz; if the database does not answer in time, only the reason.

    `no_database`: why the database is not asked; empty where it is.
    """
    if not no_database:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                return (await running.health.readiness())[1]
    why = storage_trouble(running.parts.outbox) or no_database or NO_ANSWER
    return {"ready": False, "reasons": [why]}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def hook_url(running: Running, host: str, token: str) -> str:
    """The URL to which Smartsupp posts, ending with `token`. `host` is used where RELAY_PUBLIC_URL is not set."""
    base = running.ready.settings.public_url or f"http://{host}"
    return f"{base}{PATH}/{token}"


def disk_free(running: Running) -> int | None:
    """Free bytes on the disk of the database file; None with a database server."""
    database = running.ready.settings.database
    if not isinstance(database, Path):
        return None
    with suppress(OSError):
        return shutil.disk_usage(database.resolve().parent).free
    return None


async def past_day(running: Running) -> LastDay | None:
    """Counts of the deliveries of the last 24 hours; None where the database does not answer in time."""
    with suppress(StorageUnavailable, StorageRefused, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            return await last_day(running.parts.outbox.sessions, running.clock())
    return None


async def all_relays(running: Running) -> list[tuple[Process, datetime]]:
    """The relays on the database server, with their last writes; none for a file."""
    outbox = running.parts.outbox
    if not outbox.is_shared:
        return []
    with suppress(StorageUnavailable, StorageRefused, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            return await outbox.read(lambda read: known_relays(read.operations.sql, read.cursor))
    return []
