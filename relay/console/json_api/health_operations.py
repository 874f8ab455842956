"""The relay's health, as the JSON API tells it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from litestar import HttpMethod
from msgspec import Struct

from relay import __version__
from relay.console.json_api.call import Call
from relay.console.json_api.operation import Operations
from relay.outbox.people import Role

health = Operations("Health")


class OpenTrouble(Struct, kw_only=True):
    """Something that is wrong with the relay."""

    kind: str
    subject: str
    since: datetime
    why: str
    told: tuple[str, ...]
    """Destinations that got the alert."""


class Readiness(Struct, kw_only=True):
    """What /readyz says. Where the database does not answer, the rest is empty."""

    ready: bool
    reasons: list[str]
    """Why no hook can be taken."""
    deliveries: Mapping[str, int] = {}
    oldest_queued_seconds: int = 0
    next_scheduled: datetime | None = None
    clock: str | None = None
    broken_destinations: Mapping[str, str] = {}
    destinations_not_in_the_rules: Mapping[str, int] = {}
    hooks_set_aside: int = 0
    last_hook: datetime | None = None


class RulesInForce(Struct, kw_only=True):
    """The rules file."""

    hash: str
    rules: int
    problems_of_the_saved_file: tuple[str, ...]
    """Why the file, as it was saved last, can't be used; empty where it is in force."""


class HealthAnswer(Struct, kw_only=True):
    """How the relay is."""

    version: str
    readiness: Readiness
    troubles: list[OpenTrouble]
    alerts_to: tuple[str, ...]
    rules: RulesInForce
    kept_days: int | None
    """Chats are erased then; null: never."""


@health.operation(HttpMethod.GET, "/health", Role.VIEWER)
async def get_health(call: Call) -> HealthAnswer:
    """Whether hooks are taken, what is wrong, and which rules are in force."""
    running = call.running
    _, readiness = await running.health.readiness()
    book, keeps = running.parts.in_force.rules, running.ready.settings.retention
    known: dict[str, Any] = {
        each.encode_name: readiness[each.encode_name]
        for each in msgspec.structs.fields(Readiness)
        if each.encode_name in readiness
    }
    return HealthAnswer(
        version=__version__,
        readiness=msgspec.convert(known, Readiness),
        troubles=[
            OpenTrouble(
                kind=each.kind,
                subject=each.subject,
                since=each.since,
                why=each.why,
                told=tuple(each.told),
            )
            for each in running.watch.glance.troubles
        ],
        alerts_to=tuple(book.alerts_to),
        rules=RulesInForce(
            hash=book.hash,
            rules=len(book.rules),
            problems_of_the_saved_file=tuple(running.parts.reload.problems),
        ),
        kept_days=keeps.days if keeps else None,
    )
