"""The page that tells how the relay is, in words."""

from datetime import datetime
from typing import Any

from litestar import Request, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from relay import __version__
from relay.alerts.alert import alert_of
from relay.alerts.alert_text import alert_notification
from relay.console.page import READ, Page, Pages
from relay.outbox.people import Role
from relay.outbox.troubles import Trouble
from relay.web.app import Running


class TroubleInWords(Struct, frozen=True):
    """A trouble as an alert tells it."""

    headline: str
    summary: str
    why: str
    since: datetime
    told: tuple[str, ...]
    """Destinations."""


class HealthPage:
    """`/health`."""

    def __init__(self, running: Running, pages: Pages) -> None:
        self._running, self._pages = running, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """The route handlers."""

        @route("/health", http_method=READ, opt={"role": Role.VIEWER})
        async def health(request: Request[Any, Any, Any]) -> Page:
            _, readiness = await self._running.health.readiness()
            language = self._pages.language(request).name
            keeps = self._running.ready.settings.retention
            return await self._pages.show(
                request,
                "health.html",
                nav="health",
                ready=readiness,
                last_hook=_moment(readiness.get("last_hook")),
                next_scheduled=_moment(readiness.get("next_scheduled")),
                troubles=[
                    self._in_words(each, language) for each in self._running.watch.glance.troubles
                ],
                alerts_to=self._running.parts.in_force.rules.alerts_to,
                kept_days=keeps.days if keeps else 0,
                version=__version__,
            )

        return [health]

    def _in_words(self, trouble: Trouble, language: str) -> TroubleInWords:
        zone = self._running.parts.in_force.rules.timezone
        alert = alert_of(trouble, over=False, now=self._running.clock())
        said = alert_notification(alert, zone=zone, language=language)
        return TroubleInWords(
            said.subject, said.summary, trouble.why, trouble.since, tuple(trouble.told)
        )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
