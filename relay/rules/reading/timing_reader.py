"""Reads when messages are sent: `hours`, `send`, `limit`, `once_per` and `schedules:`."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo

from relay.rules import schedule_parser
from relay.rules.reading import value_parsers
from relay.rules.reading.holidays_file import region_named
from relay.rules.reading.node_reader import (
    Reading,
    as_table,
    as_text,
    as_texts,
    check_keys,
    known_name,
    long_duration,
    parsed,
    timezone,
)
from relay.rules.reading.problem import Problems
from relay.rules.reading.value_parsers import BadValue, did_you_mean, listed, shown
from relay.rules.reading.yaml_document import Items, Node, Table, Text
from relay.timing.plan import AT_ONCE, DIGEST, SKIP, WAIT, At, Every, Limit, OncePer, Timing
from relay.timing.schedule import Schedule, Span

T = TypeVar("T")

TIMING_KEYS = ("hours", "outside_hours", "send", "limit")
"""The keys of a destination that control when messages are sent."""
MAX_WINDOW = timedelta(days=7)
_SHORTEST = timedelta(minutes=1)

_OUTSIDE = (WAIT, DIGEST, SKIP)
_OUTSIDE_HINT = f"write {listed(_OUTSIDE)}, or the name of a destination that gets them instead"
_SEND = "write at once, every 30m, 08:00, mon-fri 08:00, or a list such as [mon-fri 08:00, mon-fri 14:00]"
_EVERY = re.compile(r"every\s+(\S.*)", re.IGNORECASE)
_TIME = re.compile(r"(?:(?:on\s+)?(\D.*?)\s+)?(?:at\s+)?(\d{1,2}):(\d\d)", re.IGNORECASE)
_DAILY = ("daily", "every day")
_LIMIT = re.compile(r"(\d{1,6})\s+per\s+(?:an?\s+)?(\S.*?)(\s+per\s+visitor)?", re.IGNORECASE)
_LIMIT_HINT = "write 5 per hour, 20 per day, or 1 per 30m per visitor"
_LIKE_RATE = re.compile(r"(\d{1,6})\s*/\s*\d{0,6}\s*(s|sec|min|m|h|hour)\w*", re.IGNORECASE)
_UNITS = {"minute": "1m", "hour": "1h", "day": "1d", "week": "7d"}
_THEN = (DIGEST, "nothing")


def read_timing(
    reading: Reading, nodes: Mapping[str, Node], zone: ZoneInfo, destinations: Mapping[str, object]
) -> Timing:
    """Return the timing in a destination's keys; AT_ONCE without any. `destinations` has all names of the file."""
    if not any(key in nodes for key in TIMING_KEYS):
        return AT_ONCE
    problems = reading.problems
    outside, instead = _outside(problems, nodes, destinations)
    timing = Timing(
        hours=_hours(reading, nodes.get("hours")),
        outside_hours=outside,
        instead=instead,
        send=_send(problems, nodes.get("send")),
        limits=_read(problems, nodes.get("limit"), "a limit such as 5 per hour", limit),
        zone=zone,
    )
    if timing.send and "limit" in nodes:
        message = "`limit:` does nothing beside `send:`: all chats come in digests"
        problems.warning(nodes["limit"], message, "delete one of the two")
    return timing if timing.waits else AT_ONCE


def _hours(reading: Reading, node: Node | None) -> Schedule | None:
    """Return the schedule of the node, or a union if it names several; None without a node, or after noting a problem."""
    names = as_texts(reading.problems, node, "the name of a schedule")
    schedules = [schedule for name in names if (schedule := _schedule(reading, name))]
    return replace(schedules[0], also=tuple(schedules[1:])) if schedules else None


def _schedule(reading: Reading, name: Text) -> Schedule | None:
    problems = reading.problems
    reading.used_schedules.add(name.value)
    if name.value not in reading.schedules and re.search(r"\d", name.value):
        hint = f"write `office: {{hours: {shown(name.value)[1:-1]}}}` under `schedules:`, and its name here"
        problems.error(name, f"no schedule is called {shown(name.value)}", hint)
        return None
    return (
        reading.schedules[name.value]
        if known_name(problems, name, reading.schedules, "schedule")
        else None
    )


def _outside(
    problems: Problems, nodes: Mapping[str, Node], destinations: Mapping[str, object]
) -> tuple[str, str]:
    """Return the value of `outside_hours`, and the destination that gets messages outside the hours."""
    node = nodes.get("outside_hours")
    if node and "hours" not in nodes:
        hint = "write hours: as well, such as hours: office"
        problems.error(node, "nothing says when the hours are", hint)
    text = as_text(problems, node, listed((*_OUTSIDE, "the name of a destination")))
    if text is None:
        return WAIT, ""
    if text.value in destinations and text.value in _OUTSIDE:
        message = f"a destination is called {shown(text.value)} as well"
        problems.error(text, message, "give the destination another name")
    if text.value in _OUTSIDE:
        return text.value, ""
    if text.value in destinations:
        return WAIT, text.value
    near = did_you_mean(text.value, (*_OUTSIDE, *destinations))
    hint = near if near.startswith("did") else _OUTSIDE_HINT
    problems.error(text, f"no destination is called {shown(text.value)}", hint)
    return WAIT, ""


def _send(problems: Problems, node: Node | None) -> tuple[Every | At, ...]:
    if isinstance(node, Text) and node.value.strip().casefold() == "at once":
        return ()
    return _read(problems, node, "when to send, such as mon-fri 08:00", _slot)


def _read(
    problems: Problems, node: Node | None, expected: str, parse: Callable[[str], T]
) -> tuple[T, ...]:
    texts = as_texts(problems, node, expected)
    values = (parsed(problems, text, parse) for text in texts)
    return tuple(value for value in values if value is not None)


def _slot(text: str) -> Every | At:
    """Parse `every 30m`, `08:00` or `mon-fri 08:00`. Raises BadValue."""
    text = text.strip()
    if text.casefold() == "at once":
        raise BadValue("'at once' stands alone", "write `send: at once`")
    every = _EVERY.fullmatch(text)
    if every and ":" not in text and "day" not in text.casefold():
        return Every(_period(every[1], "each chat is sent by itself with `send: at once`"))
    clock = _TIME.fullmatch(text)
    if clock is None or int(clock[2]) > 23 or int(clock[3]) > 59:
        raise BadValue(f"expected when to send, got {shown(text)}", _SEND)
    named = (clock[1] or "daily").casefold().strip(" ,")
    named = named if named in _DAILY else named.removeprefix("every ")
    days = range(7) if named in _DAILY else schedule_parser.days(named.split(","))
    return At(frozenset(days), int(clock[2]) * 60 + int(clock[3]))


def _period(text: str, reason: str) -> timedelta:
    length = value_parsers.duration(_UNITS.get(text.casefold(), text))
    if length < _SHORTEST:
        raise BadValue(f"{shown(text)} is shorter than a minute", reason)
    return length


def limit(text: str) -> Limit:
    """Parse a limit: `5 per hour`, `1 per 30m per visitor`. Raises BadValue."""
    match = _LIMIT.fullmatch(text.strip())
    if rate := _LIKE_RATE.fullmatch(text.strip()):
        message = f"{shown(text)} is how a rate is written, which only slows down"
        unit = {"s": "second", "m": "minute", "h": "hour"}[rate[2][0].casefold()]
        hint = f"write {rate[1]} per {unit}" if unit != "second" else _LIMIT_HINT
        raise BadValue(message, f"{hint}: what is over it comes in a digest")
    if not match or not int(match[1]):
        raise BadValue(f"expected a limit, got {shown(text)}", _LIMIT_HINT)
    per = _period(match[2], "to send more slowly write `rate: 1/s`")
    if per > MAX_WINDOW:
        raise BadValue(f"{shown(match[2])} is longer than a week", _LIMIT_HINT)
    return Limit(int(match[1]), per, per_visitor=bool(match[3]))


Holidays = Callable[[str], Collection[date]]
"""A function that returns the holidays of a region, such as `CZ`. Raises BadValue."""


def read_schedule(
    problems: Problems, name: str, table: Table, zone: ZoneInfo, holidays: Holidays
) -> Schedule:
    """Return the schedule that a mapping describes, in `zone` unless it names another; note problems for parts that can't be read."""
    check_keys(problems, table, ("days", "hours", "timezone", "except"), "in a schedule")
    nodes = table.nodes
    some_days = "days such as mon-fri"
    days = _read(problems, nodes.get("days"), some_days, lambda text: schedule_parser.days([text]))
    hours = _read(problems, nodes.get("hours"), "hours such as 08:00-17:00", schedule_parser.hours)
    closed, special = _exceptions(problems, nodes.get("except"), holidays)
    return Schedule(
        name=name,
        zone=timezone(problems, nodes.get("timezone"), zone),
        days=frozenset().union(*days) if days else frozenset(range(7)),
        hours=hours or ((0, 24 * 60),),
        closed=closed,
        special=special,
    )


Dates = tuple[date, date]
"""The first and the last day of a period, both included."""


def _exceptions(
    problems: Problems, node: Node | None, holidays: Holidays
) -> tuple[tuple[Dates, ...], tuple[tuple[date, date, tuple[Span, ...]], ...]]:
    """Return a schedule's `except:` as closed periods, and as days with their own hours: `2026-12-24: 08:00-12:00`."""
    if node is None:
        return (), ()
    nodes = node.nodes if isinstance(node, Items) else [node]
    tables = [each for each in nodes if isinstance(each, Table)]
    special = []
    for day, hours in (pair for table in tables for pair in table.entries.values()):
        dates = parsed(problems, day, schedule_parser.closed)
        spans = _read(problems, hours, "hours such as 08:00-12:00", schedule_parser.hours)
        if dates and spans:
            special.append((*dates, spans))
    singles: list[Node] = [each for each in nodes if not isinstance(each, Table)]
    if tables and not singles:
        return (), tuple(special)
    days = Items(node.line, node.column, singles) if isinstance(node, Items) else node
    closed = _read(problems, days, "a day such as 2026-12-24", lambda text: _closed(text, holidays))
    return tuple(dates for periods in closed for dates in periods), tuple(special)


def _closed(text: str, holidays: Holidays) -> list[Dates]:
    """Return the periods of one exception, or each holiday of `holidays CZ`."""
    region = region_named(text)
    return [(day, day) for day in holidays(region)] if region else [schedule_parser.closed(text)]


def read_once_per(problems: Problems, node: Node | None) -> OncePer | None:
    """Return the `once_per:` of a rule; None if it has none, or after noting a problem."""
    table = as_table(problems, node, "how often, such as {visitor: 24h}")
    if table is None:
        return None
    check_keys(problems, table, ("visitor", "then"), "under once_per")
    if "visitor" not in table.entries:
        problems.error(table, "`once_per:` does not say how long", "write once_per: {visitor: 24h}")
        return None
    why = "the rule would notify about each chat"
    period = long_duration(problems, table.nodes["visitor"], "24h", why)
    return OncePer(period, read_then(problems, table.nodes.get("then"))) if period else None


def read_then(problems: Problems, node: Node | None) -> Literal["digest", "nothing"]:
    text = as_text(problems, node, listed(_THEN))
    if text and text.value not in _THEN:
        message = f"expected {listed(_THEN)}, got {shown(text.value)}"
        problems.error(text, message, "it says what becomes of the other chats")
    return "nothing" if text and text.value == "nothing" else "digest"
