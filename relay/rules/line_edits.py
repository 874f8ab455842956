"""Changes a rules file as a person would: comments, alignment and all other lines stay as they are."""

import codecs
import re
from collections.abc import Iterator
from itertools import islice
from textwrap import dedent, indent
from typing import Any

from relay.rules.reading.problem import Problems, TooManyProblems
from relay.rules.reading.yaml_document import (
    BREAK,
    Items,
    Node,
    Table,
    Text,
    Unreadable,
    member,
    plain,
    read_document,
)

_ENABLED = "enabled"
MOST_TRIED = 50
"""How many places for a new rule are tried."""


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
    enabled = member(table, _ENABLED)
    is_on = not (isinstance(enabled, Text) and enabled.value.lower() in {"false", "no", "off"})
    if is_on is on:
        return source
    mark = codecs.BOM_UTF8 if source.startswith(codecs.BOM_UTF8) else b""
    text = source.removeprefix(mark).decode()
    for candidate in _candidates(_Lines(text), table, on=on):
        result = mark + candidate.encode()
        if _is_switched(result, document, places[0], on=on):
            return result
    raise NotSpliced


def with_rule(source: bytes, rule: str) -> bytes:
    """Return the file with a rule below the last one. Raises NotSpliced.

    `rule`: its lines without indentation, ended by LF, comments first, then `- name: ...`. The result is parsed again, to
    make sure that nothing else has changed.
    """
    document = _document(source)
    added: Any = plain(member(_document(f"rules:\n{rule}".encode()), "rules"))
    if not (document is None or isinstance(document, Table)) or not isinstance(added, list):
        raise NotSpliced
    wanted: Any = plain(document) or {}
    wanted["rules"] = [*(wanted.get("rules") or []), *added]
    mark = codecs.BOM_UTF8 if source.startswith(codecs.BOM_UTF8) else b""
    lines = _Lines(source.removeprefix(mark).decode())
    for candidate in islice(_with_rule(lines, document, rule), MOST_TRIED):
        result = mark + candidate.encode()
        try:
            if plain(_document(result)) == wanted:
                return result
        except NotSpliced:
            continue
    raise NotSpliced


def names_in(source: bytes, section: str) -> list[str]:
    """Return the names of all rules, destinations or schedules of a file, whose key is `section`. Raises NotSpliced."""
    match member(_document(source), section):
        case Table() as table:
            return list(table.entries)
        case Items() as items:
            names = [member(each, "name") for each in items.nodes]
            return [each.value for each in names if isinstance(each, Text)]
    return []


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


def _is_switched(result: bytes, before: Node | None, at: int, *, on: bool) -> bool:
    """Whether the text differs from the previous one only in whether one rule is on."""
    try:
        after = plain(_document(result))
    except NotSpliced:
        return False
    original: Any = plain(before)
    edited: Any = after
    original["rules"][at].pop(_ENABLED, None)
    try:
        is_on = edited["rules"][at].pop(_ENABLED, "true")
    except (TypeError, KeyError, IndexError):
        return False
    return bool(edited == original and is_on == ("true" if on else "false"))


class _Lines:
    """A text with the positions of its lines, as YAML counts them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(match.end() for match in BREAK.finditer(text))]

    @property
    def count(self) -> int:
        """How many lines there are; an empty one after the last line break does not count."""
        return len(self._starts) - (self._starts[-1] == len(self.text))

    @property
    def usual_break(self) -> str:
        """The line break that the text begins with."""
        return next((match.group() for match in BREAK.finditer(self.text)), "\n")

    def at(self, node: Node) -> int:
        """Return the number of characters before a node."""
        return self._starts[node.line - 1] + node.column - 1

    def line(self, number: int) -> tuple[int, int, str]:
        """Return the start of a line, the start of the next one, and the line break. `number` counts from 1."""
        start = self._starts[number - 1]
        end = self._starts[number] if number < len(self._starts) else len(self.text)
        ending = BREAK.search(self.text, start, end)
        return start, end, ending.group() if ending else ""

    def words(self, number: int) -> str:
        """Return a line without the white space around it."""
        start, end, _ = self.line(number)
        return self.text[start:end].strip()

    def is_comment(self, number: int, *, deeper_than: int) -> bool:
        """Whether a line has nothing but a comment, which begins after the column."""
        start, end, _ = self.line(number)
        bare = self.text[start:end].lstrip(" ")
        return bare.startswith("#") and end - start - len(bare) > deeper_than


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
    for number in range(name.line, _last_line(table) + 1):
        _, end, ending = lines.line(number)
        added = f"{' ' * (table.column - 1)}enabled: false"
        if ending:
            yield f"{text[:end]}{added}{ending}{text[end:]}"
        else:
            yield f"{text[:end]}{lines.usual_break}{added}"


def _with_rule(lines: _Lines, document: Node | None, rule: str) -> Iterator[str]:
    """Yield possible texts with a rule below the last one, best first."""
    rules = member(document, "rules")
    if isinstance(rules, Items) and rules.nodes:
        last = _last_line(rules)
        between = [lines.words(number) for number in range(rules.line, last)]
        is_spaced = len(rules.nodes) == 1 or "" in between
        yield from _below(lines, last, rule, rules.column - 1, is_spaced=is_spaced)
    elif isinstance(document, Table) and "rules" in document.entries:
        key = document.entries["rules"][0]
        start, end, _ = lines.line(key.line)
        bare = _NO_RULES.sub(r"\1", lines.text[start:end])
        changed = _Lines(lines.text[:start] + bare + lines.text[end:])
        yield from _below(changed, key.line, rule, 2, is_spaced=False)
    else:
        section = "rules:\n" + indent(rule, "  ")
        yield from _below(lines, lines.count, section, 0, is_spaced=bool(lines.text))


_NO_RULES = re.compile(r"^(\s*rules:)\s*(?:\[\s*\]|~|null)")


def _below(lines: _Lines, last: int, block: str, column: int, *, is_spaced: bool) -> Iterator[str]:
    """Yield texts with a block of lines below line `last`, or else below one that follows it, indented by `column`."""
    text, usual = lines.text, lines.usual_break
    for first in range(last, lines.count + 1):
        number = first
        while number < lines.count and lines.is_comment(number + 1, deeper_than=column):
            number += 1
        _, end, ending = lines.line(number) if number else (0, 0, usual)
        before = "" if ending else usual
        if is_spaced and lines.words(number):
            before += usual
        after = usual if is_spaced and number < lines.count and lines.words(number + 1) else ""
        added = indent(block, " " * column).replace("\n", usual)
        yield f"{text[:end]}{before}{added}{after}{text[end:]}"


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
    if match := re.compile(r"""["']?[A-Za-z]+["']?""").match(text, at):
        yield text[:at] + value + text[match.end() :]
