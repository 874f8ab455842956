"""Operations about the relay's health, and the hook's address."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from litestar import HttpMethod
from msgspec import Struct

from relay import __version__
from relay.console.health_page import all_relays, disk_free, hook_url, past_day, readiness_of
from relay.console.json_api.api_request import Call, copied
from relay.console.json_api.operation import Operations
from relay.console.logged_acts import act_of, write_act
from relay.outbox.user_accounts import Role

health = Operations("Health")


class OpenTrouble(Struct, kw_only=True):
    """A problem with the relay that is not over."""

    kind: str
    """The kind of problem, such as `broken`."""
    subject: str
    """The subject of the problem, such as the name of a destination; may be empty."""
    since: datetime
    """When it began, in UTC."""
    why: str
    """The message of the server or the system."""
    told: tuple[str, ...]
    """The names of the destinations that got the alert."""


class Readiness(Struct, kw_only=True):
    """The answer of /readyz. Where the database does not answer, the rest is empty."""

    ready: bool
    """Whether hooks are accepted."""
    reasons: list[str]
    """Why no hook can be accepted."""
    deliveries: Mapping[str, int] = {}
    """How many deliveries, by state."""
    oldest_queued_seconds: int = 0
    """For how many seconds the oldest delivery has been due; 0 where none is."""
    next_scheduled: datetime | None = None
    """When the next scheduled delivery is due, in UTC; null where none is."""
    clock: str | None = None
    """Why the computer's clock may be wrong; null where it seems right."""
    broken_destinations: Mapping[str, str] = {}
    """The server's answers, by the name of the broken destination."""
    destinations_not_in_the_rules: Mapping[str, int] = {}
    """How many deliveries wait, by the name of the missing destination."""
    hooks_set_aside: int = 0
    """How many unreadable posts are kept."""
    last_hook: datetime | None = None
    """When the newest hook came in, in UTC; null where none has."""


class RulesInForce(Struct, kw_only=True):
    """The rules in force."""

    hash: str
    """SHA-256 in hex of the text in force."""
    rules: int
    """The number of rules."""
    problems_of_the_saved_file: tuple[str, ...]
    """Why the newest saved file can't be used; empty where it is in force."""


class Hour(Struct, kw_only=True):
    """The deliveries that were made in one hour, counted by their present state."""

    begins: datetime
    """When the hour begins, in UTC."""
    done: int
    """How many reached their end well, or were left out."""
    waiting: int
    """How many are under way."""
    failed: int
    """How many ended badly."""


class RelayProcess(Struct, kw_only=True):
    """A relay that shares the database."""

    host: str
    """The name of its computer; may be empty."""
    listens: str
    """The address and port on which the relay listens; may be empty."""
    wrote_at: datetime
    """When it last wrote to the database, in UTC; it may have ended since."""


class HealthAnswer(Struct, kw_only=True):
    """The relay's health."""

    version: str
    """The version of the relay, such as `0.1.0`."""
    readiness: Readiness
    """The answer of /readyz."""
    troubles: list[OpenTrouble]
    """The problems that are not over; usually empty."""
    alerts_to: tuple[str, ...]
    """The names of the destinations that get alerts."""
    rules: RulesInForce
    """The rules in force."""
    kept_days: int | None
    """After how many days chats are erased; null: never."""
    last_day: list[Hour]
    """The last 24 hours, the oldest first; empty where the database does not answer in time."""
    relays: list[RelayProcess]
    """All relays on the database, where it is on a server; else empty."""
    disk_free: int | None
    """Free bytes on the disk of the database file; null with a database server."""


@health.operation(HttpMethod.GET, "/health", Role.VIEWER)
async def get_health(call: Call) -> HealthAnswer:
    """Whether hooks are accepted, which problems there are, and which rules are in force."""
    running = call.running
    readiness = await readiness_of(running)
    has_database = "deliveries" in readiness
    book, keeps = running.parts.in_force.rules, running.ready.settings.retention
    troubles, problems = running.watch.glance.troubles, tuple(running.parts.reload.problems)
    day = await past_day(running) if has_database else None
    relays = await all_relays(running) if has_database else ()
    return HealthAnswer(
        version=__version__,
        readiness=msgspec.convert(readiness, Readiness),
        troubles=[copied(OpenTrouble, each, told=tuple(each.alerted)) for each in troubles],
        alerts_to=tuple(book.alerts_to),
        rules=copied(
            RulesInForce, book, rules=len(book.rules), problems_of_the_saved_file=problems
        ),
        kept_days=keeps.days if keeps else None,
        last_day=[copied(Hour, each) for each in (day.every if day else ())],
        relays=[copied(RelayProcess, each, wrote_at=wrote_at) for each, wrote_at in relays],
        disk_free=disk_free(running),
    )


class HookAddress(Struct, kw_only=True):
    """The URL to which Smartsupp posts chats."""

    url: str
    """The whole URL, with its secret part."""


@health.operation(HttpMethod.POST, "/hook-url", Role.ADMIN)
async def show_hook_url(call: Call) -> HookAddress:
    """The URL for Smartsupp, with its secret part; the log of acts says who requested it."""
    await write_act(call.sessions, act_of(call.caller, "show hook url", ""), call.now)
    token = call.running.parts.reload.hook_tokens[0]
    return HookAddress(url=hook_url(call.running, call.headers["host"], token))
