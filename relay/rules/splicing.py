"""Changes a rules file as a person would: one line differs, and comments and alignment stay."""

import codecs
import re
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

from relay.rules.differences import plain
from relay.rules.reading.document import (
    BREAK,
    Items,
    Node,
    Table,
    Text,
    Unreadable,
    member,
    read_document,
)
from relay.rules.reading.problem import Problems, TooManyProblems

_ENABLED = "enabled"


class NotSpliced(Exception):
    """Raised if a change would need guessing, because of how the file is written."""


def switched(source: bytes, rule: str, *, on: bool) -> bytes:
    """Return the file with a rule turned on or off; unchanged if it is so already. Raises NotSpliced.

    The result is parsed again, to make sure that nothing else has changed.
    """
    document = _document(source)
    rules = member(document, "rules")
    listed = rules.nodes if isinstance(rules, Items) else []
    places = [at for at, node in enumerate(listed) if _is_called(node, rule)]
    if len(places) != 1 or not isinstance(table := listed[places[0]], Table):
        raise NotSpliced
    said = member(table, _ENABLED)
    is_on = not (isinstance(said, Text) and said.value.lower() in {"false", "no", "off"})
    if is_on is on:
        return source
    mark = codecs.BOM_UTF8 if source.startswith(codecs.BOM_UTF8) else b""
    text = source.removeprefix(mark).decode()
    for candidate in _candidates(_Lines(text), table, on=on):
        result = mark + candidate.encode()
        if _says(result, document, places[0], on=on):
            return result
    raise NotSpliced


def text_of_rule(source: bytes, rule: str) -> str:
    """Return the lines of a rule with the comments directly above it; empty if there is no such rule."""
    text = source.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    node = _rule_called(source, rule)
    if node is None:
        return ""
    lines = BREAK.split(text)
    first, last = node.line - 1, _last_line(node)
    while first and (lines[first - 1].lstrip().startswith("#") or lines[first - 1].strip() == "-"):
        first -= 1
    while (
        last < len(lines)
        and lines[last].strip()
        and not lines[last].lstrip().startswith(("-", "#"))
    ):
        last += 1
    return dedent("\n".join(lines[first:last]))


def line_of_rule(source: bytes, rule: str) -> int:
    """Return the number of a rule's first line, from 1; 0 if there is no such rule."""
    node = _rule_called(source, rule)
    return node.line if node else 0


def _rule_called(source: bytes, rule: str) -> Node | None:
    try:
        rules = member(_document(source), "rules")
    except NotSpliced:
        return None
    listed = rules.nodes if isinstance(rules, Items) else []
    return next((each for each in listed if _is_called(each, rule)), None)


def _document(source: bytes) -> Node | None:
    """Return the root node of the text. Raises NotSpliced if the text has any problem."""
    problems = Problems("")
    try:
        document = read_document(source, problems)
    except (Unreadable, TooManyProblems):
        raise NotSpliced from None
    if problems.errors:
        raise NotSpliced
    return document


def _is_called(node: Node, rule: str) -> bool:
    name = member(node, "name")
    return isinstance(name, Text) and name.value == rule


def _says(result: bytes, before: Node | None, at: int, *, on: bool) -> bool:
    """Whether the text differs from the previous one only in whether one rule is on."""
    try:
        after = plain(_document(result))
    except NotSpliced:
        return False
    wanted: Any = plain(before)
    said: Any = after
    wanted["rules"][at].pop(_ENABLED, None)
    try:
        is_on = said["rules"][at].pop(_ENABLED, "true")
    except (TypeError, KeyError, IndexError):
        return False
    return bool(said == wanted and is_on == ("true" if on else "false"))


class _Lines:
    """A text with the positions of its lines, as YAML counts them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(found.end() for found in BREAK.finditer(text))]

    def at(self, node: Node) -> int:
        """Return the number of characters before a node."""
        return self._starts[node.line - 1] + node.column - 1

    def line(self, number: int) -> tuple[int, int, str]:
        """Return the start of a line, the start of the next one, and the line break. `number` counts from 1."""
        start = self._starts[number - 1]
        end = self._starts[number] if number < len(self._starts) else len(self.text)
        ending = BREAK.search(self.text, start, end)
        return start, end, ending.group() if ending else ""


def _candidates(lines: _Lines, table: Table, *, on: bool) -> Iterator[str]:
    """Yield possible texts with the change, best first."""
    key, value = table.entries.get(_ENABLED, (None, None))
    if key is None:
        yield from _with_line(lines, table)
        return
    if on:
        yield from _without(lines, key)
    if isinstance(value, Text):
        yield from _replaced(lines.text, lines.at(value), "true" if on else "false")


def _with_line(lines: _Lines, table: Table) -> Iterator[str]:
    text, opening = lines.text, lines.at(table)
    name = table.entries["name"][1]
    if text[opening : opening + 1] == "{":
        end = lines.at(name) + len(name.value) if isinstance(name, Text) else 0
        yield f"{text[:end]}, enabled: false{text[end:]}"
        yield f"{text[: opening + 1]}enabled: false, {text[opening + 1 :]}"
        return
    usual = next((found.group() for found in BREAK.finditer(text)), "\n")
    for number in range(name.line, _last_line(table) + 1):
        _, end, ending = lines.line(number)
        added = f"{' ' * (table.column - 1)}enabled: false"
        if ending:
            yield f"{text[:end]}{added}{ending}{text[end:]}"
        else:
            yield f"{text[:end]}{usual}{added}"


def _last_line(node: Node) -> int:
    match node:
        case Table():
            return max((_last_line(each) for _, each in node.entries.values()), default=node.line)
        case Items():
            return max(map(_last_line, node.nodes), default=node.line)
    return node.line


def _without(lines: _Lines, key: Text) -> Iterator[str]:
    text, at = lines.text, lines.at(key)
    start, end, ending = lines.line(key.line)
    if text[start:end].strip() == "enabled: false":
        before = lines.line(key.line - 1)[2] if key.line > 1 and not ending else ""
        yield text[: start - len(before)] + text[end:]
    for shape, back in ((", enabled: false", 2), ("enabled: false, ", 0)):
        if text.startswith(shape, at - back):
            yield text[: at - back] + text[at - back + len(shape) :]


def _replaced(text: str, at: int, value: str) -> Iterator[str]:
    if found := re.compile(r"""["']?[A-Za-z]+["']?""").match(text, at):
        yield text[:at] + value + text[found.end() :]
