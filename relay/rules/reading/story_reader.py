"""Reads `stories:` of a test file: chats that arrive over time, and the messages expected at each time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from relay.chat import Chat
from relay.rules.field_type import Field, Raw
from relay.rules.reading import value_parsers
from relay.rules.reading.case_reader import CaseFile, CaseReader, OpenChat
from relay.rules.reading.node_reader import (
    as_table,
    as_text,
    check_keys,
    check_name,
    check_needed,
    parsed,
)
from relay.rules.reading.problem import Place, Problems, RulesError
from relay.rules.reading.value_parsers import BadValue, did_you_mean, shown
from relay.rules.reading.yaml_document import Items, Node, Table
from relay.rules.rule_book import RuleBook
from relay.rules.schedule_parser import PLAIN_DAY, next_moment

MOST_CHATS = 1000
"""The most chats of one story."""
_NEEDED = ("name", "happens", "sent")
_KEYS = (*_NEEDED, "and_nothing_until")
_HAPPENS = ("at", "chats", "every", "like")
_SENT = ("at", "to", "times", "digest_of")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One chat of a story, with its time of arrival."""

    at: datetime
    chat: Chat
    stated: Mapping[Field, Raw] | None
    """The values of an inline chat; None for a chat from a file."""


@dataclass(frozen=True, slots=True)
class ExpectedMessages:
    """The messages that a destination should get at a time."""

    at: datetime
    """When the messages should be sent."""
    destination: str
    times: int
    """How many notifications of single chats; 0 for a digest."""
    digest_of: int
    """How many chats the digest has; 0 for notifications of single chats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A story of a test file: chats that arrive one after another, and the messages that should be sent."""

    name: str
    place: Place
    arrivals: tuple[Arrival, ...]
    sent: tuple[ExpectedMessages, ...]
    until: datetime | None
    """The time up to which nothing else should be sent; None means for ever."""


def read_stories(file: CaseFile, book: RuleBook, open_chat: OpenChat) -> tuple[Story, ...]:
    """Return the stories of a test file. Raises RulesError with all problems."""
    problems, node = file.problems, file.stories
    if node is None:
        return ()
    stories: list[Story] = []
    if not isinstance(node, Items) or not node.nodes:
        problems.error(node, "`stories:` takes a list", "each story begins with '- name: ...'")
    else:
        reader = _StoryReader(problems, book, CaseReader(problems, book, open_chat))
        stories = [story for each in node.nodes if (story := reader.read(each))]
    if problems.errors:
        raise RulesError(problems.errors, file.source)
    return tuple(stories)


class _StoryReader:
    def __init__(self, problems: Problems, book: RuleBook, cases: CaseReader) -> None:
        self._problems = problems
        self._book = book
        self._cases = cases
        self._now = PLAIN_DAY
        """The latest time so far: `mon 10:00` means the first Monday after it."""

    def read(self, node: Node) -> Story | None:
        table = as_table(self._problems, node, "a story with name:, happens: and sent:")
        if table is None:
            return None
        check_keys(self._problems, table, _KEYS, "in a story")
        check_needed(self._problems, table, "a story", dict.fromkeys(_NEEDED, ""))
        nodes = table.nodes
        arrivals = self._happens(nodes.get("happens"))
        entries = self._tables(nodes.get("sent"), _SENT)
        sent = [message for entry in entries if (message := self._sent(entry))]
        name = as_text(self._problems, nodes.get("name"), "the story's name")
        if name:
            check_name(self._problems, name, "story", limit=200)
        until = nodes.get("and_nothing_until")
        return Story(
            name=name.value if name else "",
            place=self._problems.place(table),
            arrivals=tuple(arrivals),
            sent=tuple(sent),
            until=self._time(until) if until else None,
        )

    def _happens(self, node: Node | None) -> list[Arrival]:
        # Start at the beginning of a Monday.
        self._now = PLAIN_DAY.astimezone(self._book.timezone).replace(hour=0, minute=0)
        entries = self._tables(node, _HAPPENS)
        arrivals = [arrival for entry in entries for arrival in self._arrivals(entry)]
        self._now = min((arrival.at for arrival in arrivals), default=self._now)
        return arrivals

    def _tables(self, node: Node | None, keys: tuple[str, ...]) -> list[Mapping[str, Node]]:
        nodes = node.nodes if isinstance(node, Items) else [node] if node else []
        mappings: list[Mapping[str, Node]] = []
        for entry in nodes:
            if table := as_table(self._problems, entry, f"a mapping with {keys[0]}:"):
                check_keys(self._problems, table, keys, "in a story")
                if keys[0] not in table.entries:
                    self._problems.error(table, "nothing says when", "write at: mon 10:00")
                mappings.append(table.nodes)
        return mappings

    def _arrivals(self, nodes: Mapping[str, Node]) -> list[Arrival]:
        at = self._time(nodes.get("at"))
        count = min(self._count(nodes.get("chats"), 1), MOST_CHATS)
        every = self._duration(nodes.get("every"))
        chat, stated = self._cases.chat(nodes.get("like") or Table(0, 0))
        return [Arrival(at + number * every, chat, stated) for number in range(count)]

    def _sent(self, nodes: Mapping[str, Node]) -> ExpectedMessages | None:
        at = self._time(nodes.get("at"))
        to = as_text(self._problems, nodes.get("to"), "a destination")
        if to is None:
            return None
        if to.value not in self._book.destinations:
            message = f"no destination is called {shown(to.value)}"
            self._problems.error(to, message, did_you_mean(to.value, self._book.destinations))
        digest_of = self._count(nodes.get("digest_of"), 0)
        times = 0 if digest_of else self._count(nodes.get("times"), 1)
        return ExpectedMessages(at, to.value, times, digest_of)

    def _time(self, node: Node | None) -> datetime:
        text = as_text(self._problems, node, "a time such as mon 10:00")
        now = self._now - timedelta.resolution
        read = partial(next_moment, zone=self._book.timezone, now=now)
        self._now = parsed(self._problems, text, read) or self._now
        return self._now

    def _count(self, node: Node | None, default: int) -> int:
        text = as_text(self._problems, node, "a number")
        number = parsed(self._problems, text, _whole)
        return default if number is None else number

    def _duration(self, node: Node | None) -> timedelta:
        text = as_text(self._problems, node, "a duration such as 1m")
        duration = parsed(self._problems, text, value_parsers.duration)
        return timedelta(minutes=1) if duration is None else duration


def _whole(text: str) -> int:
    number = value_parsers.number(text)
    if not isinstance(number, int) or number < 1:
        raise BadValue(f"expected a whole number, got {shown(text)}")
    return number
