"""Reads the cases of a test file, `rules.test.yaml`: expected results of a rules file for certain chats."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeGuard

from relay.chat import Chat
from relay.rules.field_type import Field, Kind, Raw
from relay.rules.reading import value_parsers
from relay.rules.reading.destination_reader import NOBODY
from relay.rules.reading.node_reader import (
    as_table,
    as_text,
    as_texts,
    called,
    check_keys,
    check_needed,
    known_name,
    new_name,
    parsed,
    root_table,
)
from relay.rules.reading.problem import Place, Problem, Problems, RulesError, TooManyProblems
from relay.rules.reading.value_parsers import shown
from relay.rules.reading.when_reader import field_or_complaint
from relay.rules.reading.yaml_document import Items, Node, Table, Text, Unreadable
from relay.rules.rule_book import RuleBook
from relay.rules.schedule_parser import AT_ONCE, PLAIN_DAY, is_time, moment, next_moment
from relay.text import nearest

ExpectedRecipients = Mapping[str, tuple[str, ...]]
"""The destinations that get a message, each with its recipients."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A rule that a case expects to match, with the messages that it should send."""

    rule: str
    recipients: ExpectedRecipients | None = None
    """All destinations that should get a message; without recipients, any are accepted. None: not checked."""
    times: Mapping[str, datetime | None] = field(default_factory=dict)
    """When destinations should get the message, where the case says so; None means at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test case: a chat, and the rules that should match it."""

    name: str
    place: Place
    chat: Chat
    stated: Mapping[Field, Raw] | None = None
    """The values of an inline chat; None for a chat from a file."""
    at: datetime | None = None
    """When the chat began, as an aware datetime; replaces the chat's own time."""
    arrives: datetime
    """When the chat's hook arrives, as an aware datetime."""
    expected: tuple[Expected, ...]
    """All rules that should match; empty means that nobody should be notified."""


def made_up_chat(stated: Mapping[Field, Raw]) -> Chat:
    """Return a chat with these field values and nothing else."""
    chat = Chat(account="1", id="1")
    for key, value in stated.items():
        if key.put:
            chat = key.put(chat, value)
    return chat


_KEYS = ("rules", "cases", "stories")
_CASE_KEYS = ("name", "chat", "at", "arrives", "expect")
_EXAMPLE = (
    "such as {name: Missed at night, chat: {missed: true}, at: sat 23:30, expect: Missed chats}"
)
_NEEDED = {
    "name": "give it one, such as `name: Missed at night`",
    "chat": "write a file's name, or what matters of a chat: {missed: true}",
    "expect": "write the rules that should match, or `nothing`",
}

OpenChat = Callable[[str], Chat]
"""A function that returns the chat in a file named in the test file. Raises BadValue."""


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A test file whose top level was read but whose cases were not."""

    rules: str
    """The name of the rules file as written; empty if the test file has none."""
    source: bytes
    problems: Problems
    stories: Node | None
    _cases: Items | None

    def cases(self, book: RuleBook, open_chat: OpenChat) -> tuple[Case, ...]:
        """Return the cases of the file. Raises RulesError with all problems."""
        reader = CaseReader(self.problems, book, open_chat)
        try:
            read = [reader.case(node) for node in self._cases.nodes] if self._cases else []
        except TooManyProblems:
            raise self.problems.cut_short(self.source, "fix these first") from None
        if self.problems.errors:
            raise RulesError([*self.problems.errors, *reader.deleted_names()], self.source)
        return tuple(case for case in read if case)


def read_case_file(source: bytes, name: str) -> CaseFile:
    """Read a test file as far as that needs no rules; problems name the file `name`. Raises RulesError."""
    problems = Problems(name)
    try:
        hint, if_empty = "docs/testing-rules.md shows how", "it begins with `cases:`"
        if table := root_table(problems, source, "`cases:`", hint, if_empty):
            return _case_file(problems, table, source)
    except Unreadable:
        pass  # the problem is noted already
    except TooManyProblems:
        raise problems.cut_short(source, "fix these first") from None
    raise RulesError(problems.errors, source)


def _case_file(problems: Problems, table: Table, source: bytes) -> CaseFile:
    check_keys(problems, table, _KEYS, "at the top of a test file")
    rules = as_text(problems, table.nodes.get("rules"), "a rules file's name")
    cases, stories = table.nodes.get("cases"), table.nodes.get("stories")
    if cases is None and stories is None:
        problems.error(table, "the file has no `cases:`", "each case begins with '- name: ...'")
    elif cases and (not isinstance(cases, Items) or not cases.nodes):
        kind = "an empty list" if isinstance(cases, Items) else called(cases)
        problems.error(cases, f"`cases:` takes a list, got {kind}", _EXAMPLE)
    return CaseFile(
        rules=rules.value if rules else "",
        source=source,
        problems=problems,
        stories=stories,
        _cases=cases if isinstance(cases, Items) else None,
    )


class CaseReader:
    """Reads cases against the names in a rules file."""

    def __init__(self, problems: Problems, book: RuleBook, open_chat: OpenChat) -> None:
        self._problems = problems
        self._book = book
        self._open_chat = open_chat
        self._rules = {rule.name: rule for rule in book.rules}
        self._lines: dict[str, int] = {}
        """The names of the cases so far, with their lines."""
        self._unknown_names: list[str] = []
        """Names of rules and destinations that are not in the rules file, and resemble none there."""

    def deleted_names(self) -> Iterator[Problem]:
        """Yield a problem that suggests deleting cases of deleted rules."""
        if self._unknown_names:
            yield Problem(
                path=self._problems.path,
                line=0,
                column=0,
                message="the rules file has no rules or destinations of some names that cases expect",
                hint="if you deleted or renamed them there, delete or change these cases too",
            )

    def case(self, node: Node) -> Case | None:
        """Return the test case of a node; None after noting a problem."""
        table = as_table(self._problems, node, "a case", _EXAMPLE)
        if table is None:
            return None
        check_keys(self._problems, table, _CASE_KEYS, "in a case")
        check_needed(self._problems, table, "a case", _NEEDED)
        nodes = table.nodes
        chat, stated = self.chat(nodes.get("chat"))
        at = self._at(nodes.get("at"), chat.began)
        ended = (at + (chat.duration or timedelta()) if at else chat.ended) or chat.began
        arrives = self._at(nodes.get("arrives"), ended) or ended or PLAIN_DAY
        expected = self._expected(nodes["expect"], arrives) if "expect" in nodes else ()
        return Case(
            name=new_name(self._problems, nodes.get("name"), "case", self._lines, limit=200),
            place=self._problems.place(table),
            chat=chat,
            stated=stated,
            at=at,
            arrives=arrives,
            expected=expected,
        )

    def _at(self, node: Node | None, near: datetime | None) -> datetime | None:
        text = as_text(self._problems, node, "a time such as sat 23:30")
        zone = self._book.timezone
        return parsed(self._problems, text, lambda value: moment(value, zone, near))

    # -- the chat

    def chat(self, node: Node | None) -> tuple[Chat, Mapping[Field, Raw] | None]:
        """Return a case's chat, and the values that it states; None for a chat from a file."""
        if isinstance(node, Table):
            stated = dict(self._stated(node))
            return made_up_chat(stated), stated
        text = as_text(self._problems, node, "a chat", _NEEDED["chat"])
        return parsed(self._problems, text, self._open_chat) or Chat(account="1", id="1"), None

    def _stated(self, table: Table) -> list[tuple[Field, Raw]]:
        values: list[tuple[Field, Raw]] = []
        for key, node in table.entries.values():
            field = field_or_complaint(self._problems, key)
            if field is None:
                continue
            if isinstance(node, Table):
                message = f"a chat has one value for {shown(field.name)}, got a mapping"
                self._problems.error(node, message, "operators belong into the rules file")
            elif field.kind is Kind.TEXTS:
                texts = as_texts(self._problems, node, f"a value for {shown(field.name)}")
                values.append((field, tuple(text.value for text in texts)))
            elif text := as_text(self._problems, node, f"one value for {shown(field.name)}"):
                value = parsed(self._problems, text, partial(self._value, field))
                values.append((field, value))
        return values

    def _value(self, field: Field, text: str) -> bool | float | timedelta | datetime | str:
        match field.kind:
            case Kind.YES_NO:
                return value_parsers.yes_no(text)
            case Kind.NUMBER:
                return value_parsers.number(text)
            case Kind.DURATION:
                return value_parsers.duration(text)
            case Kind.TIME:
                return moment(text, self._book.timezone, None)
            case _:
                return value_parsers.text(text)

    # -- what is expected

    def _expected(self, node: Node, arrives: datetime) -> tuple[Expected, ...]:
        if isinstance(node, Text) and node.value == "nothing":
            return ()
        entries = node.nodes if isinstance(node, Items) else [node]
        if not entries:
            self._problems.error(
                node,
                "expected rules, got an empty list",
                "if nothing should be sent, write `nothing`",
            )
        return tuple(expected for entry in entries for expected in self._entry(entry, arrives))

    def _entry(self, node: Node, arrives: datetime) -> list[Expected]:
        if isinstance(node, Table):
            return [
                self._expectation(key.value, value, arrives)
                for key, value in node.entries.values()
                if self._is_known(key, self._rules, "rule")
            ]
        text = as_text(
            self._problems, node, "a rule's name", "if nothing should be sent, write `nothing`"
        )
        if text and text.value == "nothing":
            self._problems.error(text, "`nothing` stands alone", "write `expect: nothing`")
        elif text and self._is_known(text, self._rules, "rule"):
            return [Expected(text.value)]
        return []

    def _expectation(self, rule: str, node: Node, arrives: datetime) -> Expected:
        """Read what a rule should send: `sales`, `[sales, managers]`, `{owner: petr@example.com, room: mon 08:00}`."""
        if isinstance(node, Text) and node.value == NOBODY:
            return Expected(rule, {})
        if not isinstance(node, Table):
            names = as_texts(self._problems, node, "a destination's name")
            return Expected(rule, {name.value: () for name in names if self._is_destination(name)})
        known = {
            key.value: value for key, value in node.entries.values() if self._is_destination(key)
        }
        times = {name: value for name, value in known.items() if _is_time(value)}
        return Expected(
            rule,
            {name: () if name in times else self._addresses(node) for name, node in known.items()},
            {name: self._time(value, arrives) for name, value in times.items()},
        )

    def _time(self, node: Text, arrives: datetime) -> datetime | None:
        """Return the first such time from the arrival on; None for `at once`, or after noting a problem."""
        if node.value == AT_ONCE:
            return None
        now = arrives - timedelta.resolution
        moment_of = partial(next_moment, zone=self._book.timezone, now=now)
        return parsed(self._problems, node, moment_of)

    def _is_destination(self, name: Text) -> bool:
        return self._is_known(name, self._book.destinations, "destination")

    def _is_known(self, name: Text, names: Mapping[str, object], kind: str) -> bool:
        if name.value not in names and not nearest(name.value, names):
            self._unknown_names.append(name.value)
        return known_name(self._problems, name, names, kind)

    def _addresses(self, node: Node) -> tuple[str, ...]:
        texts = as_texts(self._problems, node, "the address of a recipient, or a list of them")
        return tuple(text.value for text in texts)


def _is_time(node: Node) -> TypeGuard[Text]:
    return isinstance(node, Text) and (node.value == AT_ONCE or is_time(node.value))
