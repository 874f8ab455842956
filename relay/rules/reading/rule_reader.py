"""Reads `rules:`, and warns of rules that can never match."""

from collections.abc import Collection, Mapping

from relay.rules.conditions import Always
from relay.rules.reading import value_parsers
from relay.rules.reading.destination_reader import NOBODY
from relay.rules.reading.node_reader import (
    Reading,
    as_table,
    as_text,
    as_texts,
    called,
    check_keys,
    check_needed,
    known_name,
    new_name,
    parsed,
)
from relay.rules.reading.rule_warnings import contradiction
from relay.rules.reading.timing_reader import read_once_per
from relay.rules.reading.value_parsers import did_you_mean, shown
from relay.rules.reading.when_reader import read_when
from relay.rules.reading.yaml_document import Items, Node, Text
from relay.rules.rule_book import Rule

_KEYS = ("name", "when", "send_to", "template", "enabled", "stop", "urgent", "once_per")
_CORRECTIONS = {
    **dict.fromkeys(("if", "condition", "conditions", "filter", "match"), "when"),
    **dict.fromkeys(("to", "notify", "recipients", "destination", "destinations"), "send_to"),
    **dict.fromkeys(("disabled", "active", "on", "off"), "enabled: false"),
    **dict.fromkeys(("final", "last", "break", "continue"), "stop: true"),
    **dict.fromkeys(("title", "rule"), "name"),
    **dict.fromkeys(("important", "now", "at_once"), "urgent: true"),
    **dict.fromkeys(("hours", "outside_hours", "send", "limit"), "it under the destination"),
}
"""Maps keys that people write by mistake to the right ones."""
_NEEDED = {
    "name": "give it one, such as `name: Missed chats`",
    "when": "write `when: always` if every chat is meant",
    "send_to": "name a destination, such as `send_to: sales`, or write `send_to: nobody`",
}
_FOR_NOBODY = "for nobody write `send_to: nobody`"
_EXAMPLE = "such as {name: Missed chats, when: {missed: true}, send_to: sales}"


class RuleReader:
    """Reads rules against the destinations and templates that exist."""

    def __init__(
        self, reading: Reading, destinations: Mapping[str, object], templates: Collection[str]
    ) -> None:
        self._reading = reading
        self._problems = reading.problems
        self._destinations = destinations
        self._templates = templates
        self._lines: dict[str, int] = {}
        """The names of the rules so far, with their lines."""

    def read(self, node: Node | None) -> tuple[Rule, ...]:
        """Return all rules that can be read; note problems for the others."""
        if node is None:
            return ()
        if not isinstance(node, Items):
            message = f"`rules:` takes a list, got {called(node)}"
            self._problems.error(node, message, "each rule begins with '- name: ...'")
            return ()
        read = (self._rule(each) for each in node.nodes)
        return tuple(rule for rule in read if rule)

    def _rule(self, node: Node) -> Rule | None:
        table = as_table(self._problems, node, "a rule", _EXAMPLE)
        if not table:
            return None
        check_keys(self._problems, table, _KEYS, "in a rule", _CORRECTIONS)
        check_needed(self._problems, table, "a rule", _NEEDED)
        nodes = table.nodes
        rule = Rule(
            name=new_name(self._problems, nodes.get("name"), "rule", self._lines),
            conditions=read_when(self._reading, nodes["when"]) if "when" in nodes else (),
            send_to=self._send_to(nodes.get("send_to")),
            template=self._template(nodes.get("template")),
            enabled=self._flag(nodes.get("enabled"), default=True),
            stop=self._flag(nodes.get("stop"), default=False),
            urgent=self._flag(nodes.get("urgent"), default=False),
            once_per=read_once_per(self._problems, nodes.get("once_per")),
            place=self._problems.place(table),
        )
        if _is_nobody(nodes.get("send_to")) and not rule.stop:
            message = "a rule for nobody changes nothing: the rules below it are asked all the same"
            self._problems.warning(table, message, "`stop: true` keeps the chat from them")
        return rule

    def _send_to(self, node: Node | None) -> tuple[str, ...]:
        if _is_nobody(node):
            return ()
        names: list[str] = []
        expected = "a destination's name"
        for text in as_texts(self._problems, node, expected, _NEEDED["send_to"]):
            if text.value in names:
                self._problems.error(text, f"{shown(text.value)} is named twice", "once is enough")
            elif text.value == NOBODY:
                self._problems.error(text, "`nobody` stands alone", "write `send_to: nobody`")
            elif "@" in text.value and text.value not in self._destinations:
                hint = "write its name here, and the address under `destinations:`"
                self._problems.error(text, f"unknown destination {shown(text.value)}", hint)
            elif known_name(self._problems, text, self._destinations, "destination", _FOR_NOBODY):
                names.append(text.value)
        return tuple(names)

    def _template(self, node: Node | None) -> str:
        text = as_text(self._problems, node, "a template's name")
        if text is None:
            return "chat"
        if text.value not in self._templates:
            message = f"unknown template {shown(text.value)}"
            self._problems.error(text, message, did_you_mean(text.value, self._templates))
        return text.value

    def _flag(self, node: Node | None, *, default: bool) -> bool:
        text = as_text(self._problems, node, "true or false")
        value = parsed(self._problems, text, value_parsers.yes_no)
        return default if value is None else value


def _is_nobody(node: Node | None) -> bool:
    return isinstance(node, Text) and node.value == NOBODY


def warn_of_unreachable(reading: Reading, rules: tuple[Rule, ...]) -> None:
    """Warn of rules that can never match, and of rules below one that always matches and stops."""
    for rule in _reachable(reading, [rule for rule in rules if rule.enabled]):
        if reason := contradiction(rule.conditions):
            reading.problems.warning(rule.place, f"{shown(rule.name)} can never match", reason)


def _reachable(reading: Reading, rules: list[Rule]) -> list[Rule]:
    """Return the rules up to one that always matches and stops; warn if others follow it."""
    for index, rule in enumerate(rules[:-1]):
        if rule.stop and any(isinstance(each, Always) for each in rule.conditions):
            later = len(rules) - index - 1
            subject = "the rule" if later == 1 else f"the {later} rules"
            reading.problems.warning(
                rules[index + 1].place,
                f"{subject} from here on {'is' if later == 1 else 'are'} never asked",
                f"{shown(rule.name)} on line {rule.place.line} matches every chat and says `stop`",
            )
            return rules[: index + 1]
    return rules
