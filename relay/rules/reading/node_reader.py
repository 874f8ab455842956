"""Functions to read values from nodes of a rules file, which note a problem for each unusable node."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from relay.rules.compared_values import SECONDS_TO_FOLD
from relay.rules.reading import value_parsers
from relay.rules.reading.problem import Place, Problems
from relay.rules.reading.value_parsers import BadValue, did_you_mean, listed, shown
from relay.rules.reading.yaml_document import Items, Node, Table, Text, read_document
from relay.rules.text_search import TYPOGRAPHIC
from relay.timing.schedule import Schedule

T = TypeVar("T")

_MEANS_NOBODY = frozenset(
    {
        *[
            "nobody",
            "none",
            "nothing",
            "null",
            "no",
            "noone",
            "no-one",
            "no_one",
            "off",
            "false",
            "ignore",
            "skip",
            "drop",
        ],
        "no one",
    }
)
"""Words that people write to mean nobody in place of a destination's name, in lower case."""


@dataclass(slots=True)
class Reading:
    """The state while one rules file is read: problems, schedules, and the cost of its patterns."""

    problems: Problems
    schedules: dict[str, Schedule] = field(default_factory=dict)
    used_schedules: set[str] = field(default_factory=set)
    patterns: int = 0
    """How many regular expressions were compiled so far; each takes up to two milliseconds."""
    seconds: float = SECONDS_TO_FOLD
    """The most seconds that one condition takes for each byte of a chat, so far."""


def called(node: Node) -> str:
    """Return a description of a node for `expected ..., got ...`."""
    match node:
        case Items():
            return "a list"
        case Table():
            return "a mapping (`key: value`)"
        case Text():
            return "nothing" if node.missing else shown(node.value)


def as_text(problems: Problems, node: Node | None, expected: str, hint: str = "") -> Text | None:
    """Return the text of a node; None without a node, or after noting a problem."""
    if isinstance(node, Text) and not node.missing and node.value.strip():
        _warn_of_quotes(problems, node)
        return node
    if node:
        problems.error(node, f"expected {expected}, got {called(node)}", hint)
    return None


def _warn_of_quotes(problems: Problems, node: Text) -> None:
    """Warn of typographic quotes (`“refund”`): in YAML they are part of the text."""
    begins, ends = node.value[0], node.value[-1]
    if not (node.plain and begins in TYPOGRAPHIC and ends in f"{TYPOGRAPHIC}'\""):
        return
    if inner := node.value[1:-1].strip():
        message = (
            f"the quotes {begins} and {ends} are a part of this text; YAML knows only \" and '"
        )
        problems.warning(node, message, f"write {_in_quotes(inner)}")


def _in_quotes(text: str) -> str:
    """Return the text as a quoted YAML value."""
    quote = '"' if "'" in text and '"' not in text else "'"
    return f"{quote}{shown(text)[1:-1]}{quote}"


def as_table(problems: Problems, node: Node | None, expected: str, hint: str = "") -> Table | None:
    """Return the node if it is a mapping that is not empty; None without a node, or after noting a problem."""
    if isinstance(node, Table) and node.entries:
        return node
    if node:
        kind = "an empty mapping" if isinstance(node, Table) else called(node)
        problems.error(node, f"expected {expected}, got {kind}", hint)
    return None


def root_table(
    problems: Problems, source: bytes, expected: str, hint: str, if_empty: str
) -> Table | None:
    """Return the mapping of which a YAML file consists; None after noting a problem. Raises Unreadable.

    `if_empty` is the hint for an empty file, `hint` the one for a file that is something else.
    """
    node = read_document(source, problems)
    if node is None or (isinstance(node, Text) and node.missing):
        problems.error(Place(problems.path), "the file is empty", if_empty)
        return None
    return as_table(problems, node, expected, hint)


def as_texts(problems: Problems, node: Node | None, expected: str, hint: str = "") -> list[Text]:
    """Return a text, or the texts of a list, as a list; empty without a node, or after noting a problem."""
    nodes = node.nodes if isinstance(node, Items) else [node]
    if node and not nodes:
        problems.error(node, f"expected {expected}, got an empty list", hint)
    texts = (as_text(problems, each, expected, hint) for each in nodes)
    return [text for text in texts if text]


def parsed(problems: Problems, node: Text | None, parse: Callable[[str], T]) -> T | None:
    """Return the result of `parse` for a text; None without a text, or after noting a problem."""
    if node is None:
        return None
    try:
        return parse(node.value)
    except BadValue as bad:
        problems.error(node, bad.message, bad.hint)
        return None


def long_duration(
    problems: Problems, node: Node | None, example: str, reason: str
) -> timedelta | None:
    """Return a duration of at least a minute; None without a node, or after noting a problem.

    `reason` says why no shorter one is allowed.
    """
    text = as_text(problems, node, f"a duration such as {example}")
    length = parsed(problems, text, value_parsers.duration)
    if text and length is not None and length < timedelta(minutes=1):
        problems.error(text, f"{shown(text.value)} is shorter than a minute", reason)
        return None
    return length


def check_keys(
    problems: Problems,
    table: Table,
    keys: Collection[str],
    where: str,
    corrections: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Note a problem for each unknown key. `corrections` maps words that people write by mistake to the right ones."""
    for key, value in table.entries.values():
        if key.value not in keys:
            ours = corrections.get(key.value.casefold())
            hint = f"write {ours}" if ours else _key_hint(key.value, value, keys)
            problems.error(key, f"unknown key {shown(key.value)} {where}", hint)


def check_needed(problems: Problems, table: Table, subject: str, hints: Mapping[str, str]) -> None:
    """Note a problem for each key that is missing. `hints` has a hint for each key that `subject` needs."""
    for key, hint in hints.items():
        if key not in table.entries:
            problems.error(table, f"{subject} needs `{key}`", hint)


def _key_hint(key: str, value: Node, keys: Iterable[str]) -> str:
    if key == "<<":
        return "YAML's way to take over the keys of another mapping is not allowed here, write them out"
    names = list(keys)
    hint = did_you_mean(key, names)
    if hint.startswith("did"):
        return hint
    if isinstance(value, Text) and value.plain and not value.value:
        return "a list stands in brackets, such as [a, b]; or a ':' and a value are missing"
    return f"possible keys: {listed(names)}"


def check_name(problems: Problems, key: Text, kind: str, limit: int = 100) -> None:
    """Note a problem for a name that is not readable in lists and messages."""
    if not key.value.strip() or "\n" in key.value or len(key.value) > limit:
        message = f"{shown(key.value)} can't be the name of a {kind}"
        problems.error(key, message, f"one line, up to {limit} characters")


def new_name(
    problems: Problems, node: Node | None, kind: str, lines: dict[str, int], limit: int = 100
) -> str:
    """Return the name of a rule or case; note a problem for one that can't be read or is used already.

    `lines` has the lines of the names so far; the name is added to it.
    """
    text = as_text(problems, node, f"the {kind}'s name")
    if text is None:
        return ""
    check_name(problems, text, kind, limit)
    earlier = lines.setdefault(text.value, text.line)
    if earlier != text.line:
        message = f"a {kind} called {shown(text.value)} stands on line {earlier} already"
        problems.error(text, message, "give this one another name")
    return text.value


def known_name(
    problems: Problems, node: Text, names: Mapping[str, object], kind: str, for_nobody: str = ""
) -> bool:
    """Whether the name is known; if not, note a problem. `for_nobody` is the hint for names such as `none`."""
    if node.value in names:
        return True
    hint = for_nobody if node.value.casefold() in _MEANS_NOBODY else ""
    words = [*names, "nobody"] if "nobody" in for_nobody else names
    problems.error(
        node, f"no {kind} is called {shown(node.value)}", hint or did_you_mean(node.value, words)
    )
    return False


_OFFSET = re.compile(r"(?:UTC|GMT|Z)?\s*([+\u2212-])\s*(\d{1,2})(?::?(\d\d))?", re.IGNORECASE)
_OF_POSIX = re.compile(r"Etc/GMT([+-])(\d{1,2})", re.IGNORECASE)
_ABBREVIATIONS = {
    **dict.fromkeys(("CEST", "MEZ", "MESZ"), "Europe/Prague"),
    **dict.fromkeys(("EEST",), "Europe/Athens"),
    **dict.fromkeys(("WEST",), "Europe/Lisbon"),
    **dict.fromkeys(("BST",), "Europe/London"),
    **dict.fromkeys(("MSK",), "Europe/Moscow"),
    **dict.fromkeys(("EDT", "ET", "EST"), "America/New_York"),
    **dict.fromkeys(("CST", "CDT", "CT"), "America/Chicago"),
    **dict.fromkeys(("MDT", "MT", "MST"), "America/Denver"),
    **dict.fromkeys(("PST", "PDT", "PT"), "America/Los_Angeles"),
    **dict.fromkeys(("HST",), "Pacific/Honolulu"),
    **dict.fromkeys(("IST",), "Asia/Kolkata"),
    **dict.fromkeys(("JST",), "Asia/Tokyo"),
    **dict.fromkeys(("AEST", "AEDT"), "Australia/Sydney"),
}
"""Maps abbreviations, and zones without summer time, to the zone that is usually meant."""
_CITIES = (
    *("Europe/Prague", "Europe/Berlin", "Europe/London", "Europe/Lisbon", "Europe/Athens", "Europe/Kyiv"),
    *("Europe/Istanbul", "Asia/Dubai", "Asia/Karachi", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Dhaka"),
    *("Asia/Bangkok", "Asia/Singapore", "Asia/Tokyo", "Australia/Adelaide", "Australia/Sydney"),
    *("Pacific/Auckland", "Atlantic/Azores", "America/Sao_Paulo", "America/Halifax", "America/New_York"),
    *("America/Chicago", "America/Denver", "America/Los_Angeles", "America/Anchorage", "Pacific/Honolulu"),
)  # fmt: skip
"""The time zones that are suggested for an offset such as GMT+1."""
_FEW = 3
_JANUARY, _JULY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)


def timezone(problems: Problems, node: Node | None, default: ZoneInfo) -> ZoneInfo:
    """Return the time zone that a node names; `default` without a node, or after noting a problem.

    Warns of a zone with a fixed offset.
    """
    text = as_text(problems, node, "a time zone")
    zone = parsed(problems, text, _zone)
    if text is None or zone is None:
        return default
    if match := _OF_POSIX.fullmatch(zone.key):
        turned = timedelta(hours=int(match[2])) * (-1 if match[1] == "+" else 1)
        if turned:
            message = f"{shown(zone.key)} is UTC{_signed(turned)}: its sign is inverted"
            problems.warning(text, message, f"it has no summer time either; {_cities(turned)}")
    elif zone.key in _ABBREVIATIONS:
        message = f"{shown(zone.key)} has no summer time"
        problems.warning(text, message, f"did you mean {_ABBREVIATIONS[zone.key]}?")
    return zone


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadValue(f"{shown(name)} is not a time zone", _hint(name.strip())) from None


def _hint(name: str) -> str:
    if match := _OFFSET.fullmatch(name):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        offset *= 1 if match[1] == "+" else -1
        return f"an offset knows no summer time; {_cities(offset)}"
    if meant := _ABBREVIATIONS.get(name.upper()):
        return f"did you mean {meant}?"
    zones = sorted(available_timezones())
    city = name.casefold().replace(" ", "_")
    same = [each for each in zones if each.rpartition("/")[2].casefold() == city]
    if same and "/" in same[0]:
        return f"did you mean {listed(same[:_FEW])}?"
    hint = did_you_mean(name, zones)
    return hint if hint.startswith("did") else "write it as Europe/Prague"


def _cities(offset: timedelta) -> str:
    """Return time zones that have this offset from UTC, in winter or in summer."""
    standard = list(_with_offset(offset, winter=True))
    summer = [each for each in _with_offset(offset, winter=False) if each not in standard]
    if standard:
        more = f", or {summer[0]} if that is its summer time" if summer else ""
        return f"write {listed(standard[:_FEW])}{more}"
    if summer:
        return f"write {listed(summer[:_FEW])}, if that is its summer time"
    return "write it as Europe/Prague"


def _with_offset(offset: timedelta, *, winter: bool) -> Iterator[str]:
    for name in _CITIES:
        zone = ZoneInfo(name)
        offsets = [day.astimezone(zone).utcoffset() or timedelta() for day in (_JANUARY, _JULY)]
        if offset == (min(offsets) if winter else max(offsets)):
            yield name


def _signed(offset: timedelta) -> str:
    hours = offset / timedelta(hours=1)
    return f"{hours:+g}"
