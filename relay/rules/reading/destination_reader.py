"""Reads `destinations:` by the specs of the available transports."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from zoneinfo import ZoneInfo

from relay.destination import Destination, Rate, TransportSpec, WhenUnsure
from relay.languages.tags import EXAMPLES, guess_tag, is_tag
from relay.rules.reading import value_parsers
from relay.rules.reading.node_reader import (
    Reading,
    as_table,
    as_text,
    as_texts,
    called,
    check_keys,
    check_name,
    known_name,
    long_duration,
    parsed,
    timezone,
)
from relay.rules.reading.problem import Problems
from relay.rules.reading.timing_reader import TIMING_KEYS, read_timing
from relay.rules.reading.transport_options import (
    Entries,
    Options,
    check_option_set,
    example,
    read_options,
)
from relay.rules.reading.value_parsers import did_you_mean, duration_words, listed, shown, there_are
from relay.rules.reading.yaml_document import Items, Node, Table, Text
from relay.rules.recipients import Recipients

Transports = Mapping[str, TransportSpec]
"""The specs of the transports by their names."""
NOBODY = "nobody"
"""The value of `send_to` in a rule that notifies nobody."""
SLOW = timedelta(minutes=10)
"""The longest interval per message of a rate; a slower one was probably meant to limit the number of messages."""
_COMMON = (
    *("language", "timezone", "rate", "most_per_hour"),
    *("fallback", "fallback_after", "when_unsure"),
    *TIMING_KEYS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """The values for destinations that don't set their own."""

    language: str
    timezone: ZoneInfo
    languages: Collection[str]
    domains: frozenset[str]
    """The domains in which a chat may choose the recipient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A destination with the nodes that define it."""

    key: Text
    destination: Destination
    recipients: Recipients
    options: Options
    fallback: Text | None
    nodes: Mapping[str, Node]
    """The nodes of the keys that every destination may have."""


def read_destinations(
    reading: Reading, table: Table | None, transports: Transports, defaults: Defaults
) -> dict[str, Entry]:
    """Return the valid destinations by name; note a problem for each of the others."""
    problems = reading.problems
    named = table.entries if table else {}
    read: dict[str, Entry] = {}
    for key, node in named.values():
        check_name(problems, key, "destination")
        if key.value == NOBODY:
            message = "a destination can't be called 'nobody'"
            problems.error(key, message, "`send_to: nobody` sends to nobody")
        if entry := _read(problems, key, node, transports, defaults):
            read[key.value] = _timed(reading, entry, named)
    _check_fallbacks(problems, read, named)
    _check_stand_ins(problems, read)
    return read


def _timed(reading: Reading, entry: Entry, destinations: Mapping[str, object]) -> Entry:
    timing = read_timing(reading, entry.nodes, entry.destination.timezone, destinations)
    return replace(entry, destination=replace(entry.destination, timing=timing))


def _read(
    problems: Problems, key: Text, node: Node, transports: Transports, defaults: Defaults
) -> Entry | None:
    hint = f"such as {example(next(iter(transports.values())))}" if transports else ""
    table = as_table(problems, node, f"how {shown(key.value)} is reached", hint)
    spec = _transport(problems, key, table, transports) if table else None
    if not table or not spec:
        return None
    entries = _entries(problems, table, spec, transports)
    options = read_options(problems, spec, entries, defaults.domains)
    nodes = {name: node for name, node in table.nodes.items() if name in _COMMON}
    fallback = as_text(problems, nodes.get("fallback"), "the name of a destination")
    destination = Destination(name=key.value, transport=spec.name, options=options.values)
    return Entry(
        key=key,
        destination=_with_common(problems, destination, nodes, fallback, defaults),
        recipients=options.recipients or Recipients((key.value,)),
        options=options,
        fallback=fallback,
        nodes=nodes,
    )


def _with_common(
    problems: Problems,
    destination: Destination,
    nodes: Mapping[str, Node],
    fallback: Text | None,
    defaults: Defaults,
) -> Destination:
    """Return the destination with what every transport's destinations may set, except for their timing."""
    tongue = nodes.get("language")
    return replace(
        destination,
        rates=_rates(problems, nodes.get("rate")),
        most_per_hour=_most_per_hour(problems, nodes.get("most_per_hour")),
        language=language(problems, tongue, defaults.languages, defaults.language),
        timezone=timezone(problems, nodes.get("timezone"), defaults.timezone),
        fallback=fallback.value if fallback else "",
        fallback_after=_fallback_after(problems, nodes.get("fallback_after"), fallback),
        when_unsure=_when_unsure(problems, nodes.get("when_unsure")),
    )


def _transport(
    problems: Problems, key: Text, table: Table, transports: Transports
) -> TransportSpec | None:
    names = [name for name in transports if name in table.entries]
    if len(names) == 1:
        return transports[names[0]]
    if names:
        message = f"{shown(key.value)} has {listed(names, 'and')}"
        problems.error(key, message, "make a destination of each, and send to both")
        return None
    for name, (inner, _) in table.entries.items():
        near = did_you_mean(name, transports)
        if near.startswith("did"):
            problems.error(inner, f"unknown way to send {shown(name)}", near)
            return None
    keys = listed(transports)
    problems.error(key, f"nothing says how {shown(key.value)} is reached", f"write {keys} under it")
    return None


def _entries(
    problems: Problems, table: Table, spec: TransportSpec, transports: Transports
) -> Entries:
    """Return the options under the transport's key and those written beside it."""
    where = f"for {'an' if spec.name[0] in 'aeiou' else 'a'} {spec.name} destination"
    check_keys(problems, table, (*transports, *_COMMON, *spec.common_options), where)
    key, node = table.entries[spec.name]
    if not isinstance(node, Table):
        kind = "a text" if isinstance(node, Text) and not node.missing else called(node)
        message = f"expected options of {spec.name}, got {kind}"
        # The text may be a webhook's URL.
        problems.error(node, message, f"write {example(spec)}", private=isinstance(node, Text))
        return {}
    check_keys(problems, node, spec.options, f"under {spec.name}")
    beside = {name: table.entries[name] for name in spec.common_options if name in table.entries}
    for name in [name for name in beside if name in node.entries]:
        hint = f"it is already set on line {node.entries[name][0].line}"
        problems.error(beside[name][0], f"{shown(name)} is set twice", hint)
    entries = {**beside, **node.entries}
    check_option_set(problems, spec, key, entries)
    return entries


def _rates(problems: Problems, node: Node | None) -> tuple[Rate, ...] | None:
    if node is None:
        return None
    texts = as_texts(problems, node, "a rate such as 5/s")
    rates: list[Rate] = []
    for text in texts:
        if (rate := parsed(problems, text, value_parsers.rate)) is not None:
            rates.append(rate)
            _warn_of_slow(problems, text, rate)
        elif isinstance(node, Items) and text.value.casefold() == "unlimited":
            problems.error(text, "'unlimited' stands alone", "write `rate: unlimited`")
    return tuple(rates)


def _most_per_hour(problems: Problems, node: Node | None) -> int | None:
    text = as_text(problems, node, "a number such as 200, or unlimited")
    return parsed(problems, text, value_parsers.most_per_hour)


def _warn_of_slow(problems: Problems, text: Text, rate: Rate) -> None:
    interval = rate.per / rate.count
    if interval > SLOW:
        message = f"{shown(text.value)} sends one message every {duration_words(interval)}, and all others wait"
        hint = (
            "none is left out, so a queue grows, and what waits too long fails; "
            "`limit: 5 per hour` collects what is too much in a digest"
        )
        problems.warning(text, message, hint)


def _when_unsure(problems: Problems, node: Node | None) -> WhenUnsure | None:
    text = as_text(problems, node, listed(WhenUnsure))
    return parsed(problems, text, value_parsers.when_unsure)


def _fallback_after(
    problems: Problems, node: Node | None, fallback: Text | None
) -> timedelta | None:
    after = long_duration(problems, node, "15m", "what fails once is tried again within a minute")
    if node and fallback is None:
        message = "nothing says where notifications go after that"
        problems.error(node, message, "write fallback: as well")
    return after


def language(
    problems: Problems, node: Node | None, languages: Collection[str], default: str
) -> str:
    """Return the language that a node names; `default` without a node, or after noting a problem."""
    text = as_text(problems, node, "a language")
    if text is None or text.value in languages:
        return text.value if text else default
    message = f"the relay does not speak {shown(text.value)}"
    problems.error(text, message, _language_hint(text.value, languages))
    return default


def _language_hint(name: str, languages: Collection[str]) -> str:
    tag = name if is_tag(name) else guess_tag(name)
    if tag in languages:
        return f"did you mean {tag}?"
    add = (
        f"`relay translate {tag}` begins it"
        if tag
        else f"a language is named by its tag, {EXAMPLES}"
    )
    return f"{there_are(languages)}; {add}"


def _check_fallbacks(
    problems: Problems, entries: Mapping[str, Entry], named: Mapping[str, object]
) -> None:
    """Note problems for unknown fallbacks and for fallbacks that form a circle."""
    following: dict[str, Text] = {}
    for name, entry in entries.items():
        if entry.fallback and known_name(
            problems, entry.fallback, named, "destination", "leave `fallback:` out"
        ):
            following[name] = entry.fallback
            if (target := entries.get(entry.fallback.value)) and _may_reach_nobody(target):
                message = f"the chat chooses all recipients of {shown(entry.fallback.value)}, so this fallback may reach nobody"
                problems.warning(entry.fallback, message, "give that one a fallback too")
    _refuse_circles(problems, following, "fallbacks go", "can't be its own fallback")


def _check_stand_ins(problems: Problems, entries: Mapping[str, Entry]) -> None:
    """Note problems for destinations that get each other's messages outside their hours, in a circle."""
    following = {
        name: node
        for name, entry in entries.items()
        if entry.destination.timing.instead
        and isinstance(node := entry.nodes["outside_hours"], Text)
    }
    beginning, ending = "outside their hours they go", "can't stand in for itself"
    _refuse_circles(problems, following, beginning, ending)


def _refuse_circles(
    problems: Problems, following: Mapping[str, Text], beginning: str, ending: str
) -> None:
    passed: set[str] = set()
    for start in following:
        path: dict[str, None] = {}
        name = start
        while name in following and name not in path and name not in passed:
            path[name] = None
            name = following[name].value
        if name in path:
            circle = list(path)[list(path).index(name) :]
            _refuse_circle(problems, following[name], circle, beginning, ending)
        passed.update(path)


def _refuse_circle(
    problems: Problems, node: Text, circle: list[str], beginning: str, ending: str
) -> None:
    if len(circle) == 1:
        problems.error(node, f"{shown(node.value)} {ending}")
        return
    path = " -> ".join([*circle[:5], "..."] if len(circle) > 5 else [*circle, circle[0]])
    problems.error(node, f"{beginning} in a circle: {path}", "let one of them have none")


def _may_reach_nobody(entry: Entry) -> bool:
    return not entry.recipients.fixed and not entry.fallback
