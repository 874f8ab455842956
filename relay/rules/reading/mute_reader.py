"""Reads `mutes:` of the rules file, and warns where a mute may have an unexpected effect."""

import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from relay.rules.conditions import Condition
from relay.rules.reading import value_parsers
from relay.rules.reading.node_reader import (
    Reading,
    as_table,
    as_text,
    check_keys,
    check_needed,
    known_name,
    parsed,
)
from relay.rules.reading.problem import Place, Problems, RulesError, TooManyProblems
from relay.rules.reading.timing_reader import read_then
from relay.rules.reading.value_parsers import BadValue, shown
from relay.rules.reading.when_reader import read_when
from relay.rules.reading.yaml_document import Items, Node, Unreadable, plain, read_document
from relay.rules.rule_book import Rule, RuleBook, urgent_and_muted
from relay.timing.plan import Mute
from relay.timing.schedule import Schedule, wall_moment

log = logging.getLogger(__name__)


def read_condition(text: str, schedules: Mapping[str, Schedule]) -> tuple[Condition, ...]:
    """Return the conditions in a `when:` written as one text, such as `{missed: true}`.

    Raises RulesError with all problems.
    """
    problems = Problems("when")
    conditions: tuple[Condition, ...] = ()
    with suppress(Unreadable, TooManyProblems):  # the problem is noted
        if node := read_document(text.encode(), problems):
            conditions = read_when(Reading(problems, schedules=dict(schedules)), node)
        else:
            problems.error(Place("when"), "expected conditions such as `missed: true`, got nothing")
    if problems.errors or not conditions:
        raise RulesError(problems.errors, text.encode())
    return conditions


def with_condition(rules: RuleBook, when: str) -> RuleBook:
    """Return the rules with the condition of a mute that was made by a command. Raises RulesError."""
    read = read_condition(when, rules.schedules)
    return replace(rules, mute_conditions={**rules.mute_conditions, when: read})


def with_conditions(rules: RuleBook, mutes: Iterable[Mute]) -> RuleBook:
    """Return the rules with the conditions of these mutes, also of those made by a command. A condition that can't be used is logged and left out."""
    for when in {mute.when for mute in mutes} - {"", *rules.mute_conditions}:
        try:
            rules = with_condition(rules, when)
        except RulesError as error:
            log.warning("a mute holds nothing back, its condition can't be used: %s", error)
    return rules


MAX_MUTE = timedelta(days=31)
"""The longest mute for which `relay check` gives no warning."""


@dataclass(frozen=True, slots=True)
class FileMute:
    """One mute of the rules file."""

    mute: Mute
    """The mute, with the number 0, because the database assigns the number."""
    conditions: tuple[Condition, ...]
    """The conditions that a chat must meet; empty if the mute has none."""
    decides_urgent: bool
    """Whether the mute says if it applies to urgent rules."""
    place: Place


def read_mutes(
    reading: Reading,
    node: Node | None,
    zone: ZoneInfo,
    rules: Mapping[str, object],
    destinations: Mapping[str, object],
) -> tuple[FileMute, ...]:
    """Return the mutes that can be read; note problems for the others."""
    if node is None:
        return ()
    if not isinstance(node, Items):
        message = "`mutes:` takes a list"
        reading.problems.error(node, message, "each mute begins with '- because: ...'")
        return ()
    reader = _MuteReader(reading, zone, {"rule": rules, "destination": destinations})
    mutes = (reader.read(each) for each in node.nodes)
    return tuple(mute for mute in mutes if mute)


_MUTE_KEYS = ("because", "by", "from", "until", "what", "then", "urgent_too", "alerts_too")
_MUTE_NEEDS = {
    "because": "write why, such as `because: Warehouse move`",
    "by": "write who wants it, such as `by: Anna`",
    "from": "write when it begins, such as `from: 2026-12-04 18:00`",
    "until": "write when it ends, such as `until: 2026-12-07 08:00`",
    "what": "write what is muted, such as `what: {rule: Missed chats}`",
}
_MUTE_WORDS = {
    **dict.fromkeys(("reason", "comment", "why"), "because"),
    **dict.fromkeys(("author", "who"), "by"),
    **dict.fromkeys(("begins", "start", "since"), "from"),
    **dict.fromkeys(("ends", "end", "to"), "until"),
    **dict.fromkeys(("rule", "destination", "when"), "it under `what:`"),
}
_SCOPE_KEYS = ("rule", "destination", "when")


class _MuteReader:
    def __init__(
        self, reading: Reading, zone: ZoneInfo, names: Mapping[str, Mapping[str, object]]
    ) -> None:
        self._reading = reading
        self._problems = reading.problems
        self._zone = zone
        self._names = names

    def read(self, node: Node) -> FileMute | None:
        table = as_table(self._problems, node, "a mute with because:, by:, from:, until: and what:")
        if table is None:
            return None
        check_keys(self._problems, table, _MUTE_KEYS, "in a mute", _MUTE_WORDS)
        check_needed(self._problems, table, "a mute", _MUTE_NEEDS)
        nodes = table.nodes
        begins, until = self._moment(nodes.get("from")), self._moment(nodes.get("until"))
        scope, conditions = self._scope(nodes.get("what"))
        mute = Mute(
            id=0,
            begins=begins or _NEVER,
            until=until or _NEVER,
            because=self._words(nodes.get("because"), "why it is muted"),
            by=self._words(nodes.get("by"), "who wants it"),
            then=read_then(self._problems, nodes.get("then")),
            urgent_too=self._flag(nodes.get("urgent_too")),
            alerts_too=self._flag(nodes.get("alerts_too")),
            **scope,
        )
        if begins and until:
            self._check_length(nodes["until"], until - begins)
        self._check_alerts_too(mute, nodes)
        return FileMute(mute, conditions, "urgent_too" in nodes, self._problems.place(table))

    def _check_alerts_too(self, mute: Mute, nodes: Mapping[str, Node]) -> None:
        if mute.alerts_too and (mute.rule or mute.when or not mute.destination):
            self._problems.error(
                nodes["alerts_too"],
                "`alerts_too` is for a mute of a destination alone",
                "write `what: {destination: ...}`",
            )

    def _check_length(self, node: Node, length: timedelta) -> None:
        if length <= timedelta():
            self._problems.error(node, "the mute ends before it begins")
        elif length > MAX_MUTE:
            message = f"this mute is {length.days} days long"
            self._problems.warning(node, message, "somebody may have forgotten it by then")

    def _words(self, node: Node | None, expected: str) -> str:
        text = as_text(self._problems, node, expected)
        return text.value.strip() if text else ""

    def _flag(self, node: Node | None) -> bool:
        text = as_text(self._problems, node, "true or false")
        return bool(parsed(self._problems, text, value_parsers.yes_no))

    def _moment(self, node: Node | None) -> datetime | None:
        text = as_text(self._problems, node, "a time such as 2026-12-04 18:00")
        return parsed(self._problems, text, self._read_moment)

    def _read_moment(self, text: str) -> datetime:
        with suppress(ValueError, OverflowError):
            if ":" in text:  # a day without a time: whether the mute includes it is unclear
                return wall_moment(text, self._zone)
        raise BadValue(f"{shown(text)} is not a time", "write 2026-12-04 18:00")

    def _scope(self, node: Node | None) -> tuple[dict[str, str], tuple[Condition, ...]]:
        table = as_table(self._problems, node, "what is muted")
        if table is None:
            return {}, ()
        check_keys(self._problems, table, _SCOPE_KEYS, "under what")
        scope: dict[str, str] = {}
        for key, names in self._names.items():
            text = as_text(self._problems, table.nodes.get(key), f"a {key}'s name")
            if text and known_name(self._problems, text, names, key):
                scope[key] = text.value
        if "when" not in table.entries:
            return scope, ()
        inner = table.entries["when"][1]
        return {**scope, "when": as_json(inner)}, read_when(self._reading, inner)


def refuse_undecided_urgent(
    problems: Problems, rules: Iterable[Rule], mutes: Iterable[FileMute]
) -> None:
    """Note a problem for a mute that affects urgent rules without saying whether it applies to them."""
    for file_mute in mutes:
        urgent = [shown(name) for name in urgent_and_muted(rules, file_mute.mute)]
        if not urgent or not file_mute.mute.destination or file_mute.decides_urgent:
            continue
        destination = shown(file_mute.mute.destination)
        they, them = ("is", "it") if len(urgent) == 1 else ("are", "them")
        problems.error(
            file_mute.place,
            f"this mute of {destination} does not say what becomes of {', '.join(urgent)}, which {they} urgent",
            f"write `urgent_too: false` if {destination} is to be told of {them} all the same, "
            "`urgent_too: true` if not, or name the rule that is muted under `what:`",
        )


_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a time that could not be read."""


def as_json(node: Node) -> str:
    """Return a node as one line; equal nodes give equal lines."""
    return json.dumps(plain(node), ensure_ascii=False)
