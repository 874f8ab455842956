"""Parses YAML into nodes that know their place, with limits on size and depth.

Built from libyaml's events without recursion. Scalars stay text, so YAML's guesses (`NO` as false,
`12:30` as 45000) don't apply, and duplicate keys are errors. Anchors, aliases and tags are refused:
they can make a small file expand to a huge one.
"""

from collections.abc import Iterator

import regex
import yaml
from msgspec import Struct

from relay.rules.reading.problem import Place, Problems, in_plain_words
from relay.rules.reading.value_parsers import shown
from relay.text import clean

MAX_BYTES = 600_000
"""The largest file in bytes: about 5,000 rules, while a hostile file takes at most a second."""
MAX_DEPTH = 64

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Characters that YAML forbids. Checked first, because libyaml's error has no line number.
_CONTROL = regex.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ufffd\U00010000-\U0010ffff]")
_LIKE_TEXT = regex.compile("[ \t](#[^\\s#][^\n\r]*)")
BREAK = regex.compile("\r\n|[\r\n\x85\u2028\u2029]")
"""A line break, as YAML counts lines."""


class Text(Struct):
    """A scalar of a YAML document: its text as written, and its place."""

    value: str
    plain: bool
    """Whether the text is written without quotes."""
    line: int
    column: int

    @property
    def missing(self) -> bool:
        """Whether the value is empty or one of YAML's words for null."""
        return self.plain and self.value in {"", "~", "null", "Null", "NULL"}


class Items(Struct):
    """A list in a YAML document, with its place."""

    line: int
    column: int
    nodes: list["Node"] = []


class Table(Struct):
    """A mapping in a YAML document, with its keys in order."""

    line: int
    column: int
    entries: dict[str, tuple[Text, "Node"]] = {}
    key: Text | None = None
    """While the mapping is built: the key whose value comes next."""

    @property
    def nodes(self) -> dict[str, "Node"]:
        """The values by their keys."""
        return {name: node for name, (_, node) in self.entries.items()}


Node = Text | Items | Table


def member(node: Node | None, name: str) -> Node | None:
    """Return a mapping's value for a key; None if the key is missing or the node is no mapping."""
    entry = node.entries.get(name) if isinstance(node, Table) else None
    return entry[1] if entry else None


def plain(node: Node | None) -> object:
    """Return a node's content as dicts, lists and texts, without its places and its style."""
    match node:
        case Table():
            return {name: plain(value) for name, value in node.nodes.items()}
        case Items():
            return [plain(each) for each in node.nodes]
        case Text():
            return None if node.missing else node.value
    return None


def texts_in(node: Node, at: str = "") -> Iterator[tuple[str, Text]]:
    """Yield the texts below a node, each with its path, such as `contact.email` or `tags[1]`."""
    match node:
        case Table():
            for name, child in node.nodes.items():
                yield from texts_in(child, f"{at}.{name}".strip("."))
        case Items():
            for number, child in enumerate(node.nodes):
                yield from texts_in(child, f"{at}[{number}]")
        case Text():
            yield at, node


class Unreadable(Exception):
    """Raised for a text that is no YAML or exceeds a limit; the problem has been noted."""


def read_document(source: bytes, problems: Problems) -> Node | None:
    """Return the root node of a YAML file; None for an empty file. Raises Unreadable."""
    if len(source) > MAX_BYTES:
        # The full size is unknown: reading stopped here.
        problems.error(
            Place(problems.path),
            f"the file has more than {MAX_BYTES // 1000} kB, which is all that a rules file may have",
            "is it the right file?",
        )
        raise Unreadable
    text = _decoded(source, problems)
    return _Builder(problems, text).build(_events(text, problems))


def lines_of(source: bytes) -> list[str]:
    """Return the lines of a file as problems count them."""
    return BREAK.split(source.decode("utf-8-sig", "replace"))


def _decoded(source: bytes, problems: Problems) -> str:
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.error(
            _place_after(source[: error.start].decode("utf-8-sig", "replace")),
            f"the byte 0x{source[error.start]:02x} is not UTF-8",
            "save the file with the encoding UTF-8",
        )
        raise Unreadable from None
    if match := _CONTROL.search(text):
        problems.error(
            _place_after(text[: match.start()]),
            f"there is an invisible character here, U+{ord(match.group()):04X}",
            "delete it",
        )
        raise Unreadable
    return text


def _place_after(text: str) -> Place:
    lines = BREAK.split(text)
    return Place("", len(lines), len(lines[-1]) + 1)


def _events(text: str, problems: Problems) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place("", mark.line + 1, mark.column + 1) if mark else Place("")
        problems.error(place, *in_plain_words(error, text))
        raise Unreadable from None
    except yaml.YAMLError as error:
        problems.error(Place(""), f"this is not YAML: {clean(str(error)).splitlines()[0]}")
        raise Unreadable from None


class _Builder:
    """Builds nodes from the events of the YAML parser, with a stack instead of recursion."""

    def __init__(self, problems: Problems, text: str) -> None:
        self._problems = problems
        self._source = text
        self._has_like_text = _LIKE_TEXT.search(text) is not None
        self._open: list[Items | Table] = []
        self._root: Node | None = None
        self._documents = 0

    def build(self, events: Iterator[yaml.Event]) -> Node | None:
        for event in events:
            match event:
                case yaml.ScalarEvent():
                    self._place(self._text(event))
                case yaml.MappingStartEvent():
                    self._enter(Table(*_spot(event)), event)
                case yaml.SequenceStartEvent():
                    self._enter(Items(*_spot(event)), event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._open.pop()
                case yaml.AliasEvent():
                    self._alias(event)
                case yaml.DocumentStartEvent():
                    self._document(event)
        return self._root

    def _text(self, event: yaml.ScalarEvent) -> Text:
        if event.anchor or event.tag:
            self._refuse_extras(event)
        node = Text(event.value, not event.style, *_spot(event))
        if (cleaned := clean(node.value)) != node.value:
            hidden = next(c for c in node.value if c not in cleaned)
            message = f"this text holds an invisible character, U+{ord(hidden):04X}"
            self._problems.error(node, message, "leave it out")
            node.value = cleaned
        if self._has_like_text and node.plain and node.value and event.end_mark:
            self._warn_of_comment(node, event.end_mark.index)
        return node

    def _warn_of_comment(self, node: Text, end: int) -> None:
        """Warn of text such as `Ticket #12`, where YAML treats the number as a comment and drops it silently."""
        match = _LIKE_TEXT.match(self._source, end)
        if match:
            message = f"only {shown(node.value)} counts, YAML takes {shown(match[1])} for a comment"
            hint = "put quotes around all of it, or a space after the # of a comment"
            self._problems.warning(node, message, hint)

    def _enter(self, node: Items | Table, event: yaml.CollectionStartEvent) -> None:
        if event.anchor or event.tag:
            self._refuse_extras(event)
        if len(self._open) >= MAX_DEPTH:
            self._fail(node, f"nested deeper than {MAX_DEPTH} levels")
        self._place(node)
        self._open.append(node)

    def _place(self, node: Node) -> None:
        """Add a node to the innermost open list or mapping."""
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if isinstance(parent, Items):
            parent.nodes.append(node)
        elif parent.key is not None:
            self._entry(parent, parent.key, node)
        elif isinstance(node, Text):
            parent.key = node
        else:
            self._fail(
                node,
                "a key can only be a word",
                "put quotes around a text that begins with { or [",
            )

    def _entry(self, table: Table, key: Text, node: Node) -> None:
        table.key = None
        if (earlier := table.entries.get(key.value)) is None:
            table.entries[key.value] = (key, node)
            return
        line = earlier[0].line
        self._problems.error(
            key,
            f"{shown(key.value)} is set twice",
            f"it is already set on line {line}",
        )

    def _alias(self, event: yaml.AliasEvent) -> None:
        node = Text("", plain=True, line=_spot(event)[0], column=_spot(event)[1])
        self._fail(
            node,
            f"*{event.anchor} is YAML's way to repeat something, which is not allowed here",
            "write it out, or put quotes around a text that begins with *",
        )

    def _refuse_extras(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.anchor:
            self._problems.error(
                Place("", *_spot(event)),
                f"&{event.anchor} is YAML's way to name something, which is not allowed here",
                "leave it out, or put quotes around a text that begins with &",
            )
        if event.tag:
            self._problems.error(
                Place("", *_spot(event)),
                f"{event.tag.replace('tag:yaml.org,2002:', '!!')[:80]} is a YAML tag, which is not allowed here",
                "leave it out, or put quotes around a text that begins with !",
            )

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            place = Place("", *_spot(event))
            self._fail(place, "a second document begins here", "leave out the line of ---")

    def _fail(self, spot: Node | Place, message: str, hint: str = "") -> None:
        self._problems.error(spot, message, hint)
        raise Unreadable


def _spot(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)
