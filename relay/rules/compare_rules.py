"""Compares two versions of a rules file, and finds changes that only an admin may make."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from enum import StrEnum
from zoneinfo import ZoneInfo

from msgspec import Struct

from relay.chat import Chat
from relay.rules.compared_values import ChatView
from relay.rules.conditions import Finding, findings
from relay.rules.reading.problem import Place, Problem, Problems, TooManyProblems
from relay.rules.reading.yaml_document import (
    Items,
    Node,
    Table,
    Text,
    Unreadable,
    member,
    plain,
    read_document,
    texts_in,
)
from relay.rules.rule_book import Rule, RuleBook

FOR_ADMINS = ("destinations", "alerts_to", "recipient_domains")
"""The keys that decide where visitors' words may be sent; only an admin may change them."""


def changes_for_admins(allowed: Sequence[bytes], source: bytes, path: str) -> list[Problem]:
    """Return a problem for each changed place that only an admin may change.

    `source` is compared with the first of the `allowed` texts that can be parsed.
    """
    before = next((node for text in allowed if (node := _document(text)) is not None), None)
    after = _document(source)
    problems = []
    for key in FOR_ADMINS:
        old, new = member(before, key), member(after, key)
        for at, spot in _different(old, new, key, after):
            message = f"`{at}` can only be changed by an admin"
            problems.append(
                Problem(path=path, line=spot.line, column=spot.column, message=message, hint=_HINT)
            )
    return problems


_HINT = "leave it as it was, or ask an admin to publish this"


def _document(source: bytes) -> Node | None:
    try:
        return read_document(source, Problems(""))
    except (Unreadable, TooManyProblems):
        return None


def _different(
    old: Node | None, new: Node | None, at: str, within: Node | None
) -> Iterator[tuple[str, Node | Place]]:
    """Yield the name and place of each difference between two nodes.

    `within` is the surrounding node, whose place is used for something that was deleted.
    """
    match old, new:
        case Table(), Table():
            for name in dict.fromkeys((*old.entries, *new.entries)):
                yield from _different(member(old, name), member(new, name), f"{at}.{name}", new)
        case Items(), Items() if len(old.nodes) == len(new.nodes):
            for number, (before, after) in enumerate(zip(old.nodes, new.nodes, strict=True)):
                yield from _different(before, after, f"{at}[{number}]", new)
        case Text(), Text() if (old.value, old.missing) == (new.value, new.missing):
            return
        case None, None:
            return
        case _:
            yield at, new or within or Place("")


# -- what a change means ---------------------------------------------------------------------------------------


class Kind(StrEnum):
    """The kind of a change between two versions of a rules file."""

    ADDED = "rule added"
    REMOVED = "rule removed"
    RENAMED = "rule renamed"
    ON = "rule turned on"
    OFF = "rule turned off"
    MOVED = "rule moved"
    WHEN = "conditions changed"
    SEND_TO = "recipients changed"
    TEMPLATE = "template changed"
    OTHER = "rule changed otherwise"
    PART_ADDED = "part added"
    PART_REMOVED = "part removed"
    PART_CHANGED = "part changed"


class Change(Struct, frozen=True, kw_only=True):
    """A difference between two rules files, for display."""

    kind: Kind
    """The kind of the change."""
    name: str
    """The rule's name, or the path of another part, such as `destinations.desk` or `timezone`."""
    before: tuple[str, ...] = ()
    """The previous conditions in words, destinations or template; for a renamed rule its previous name."""
    after: tuple[str, ...] = ()
    """What replaces `before`, in the same form; empty if it was removed."""
    send_to: tuple[str, ...] = ()
    """Destinations of a new rule; none where it is for nobody."""


def changes(old: RuleBook, new: RuleBook, before: bytes, after: bytes) -> list[Change]:
    """Return the differences between two valid rules files, whose bytes are `before` and `after`."""
    old_root, new_root = _document(before), _document(after)
    return [*_rule_changes(old, new, old_root, new_root), *_part_changes(old_root, new_root)]


def _rule_changes(
    old: RuleBook, new: RuleBook, old_root: Node | None, new_root: Node | None
) -> Iterator[Change]:
    old_rules, new_rules = _rules_by_name(old, old_root), _rules_by_name(new, new_root)
    renamed = _renamed(old_rules, new_rules)
    for name in old_rules.keys() - new_rules.keys() - renamed.keys():
        yield Change(kind=Kind.REMOVED, name=name)
    order = [renamed.get(name, name) for name in old_rules if name in new_rules or name in renamed]
    moved = set(_moved(order, [name for name in new_rules if name in order]))
    previous = {name: earlier for earlier, name in renamed.items()}
    for name, (rule, node) in new_rules.items():
        if name not in old_rules and name not in previous:
            yield Change(kind=Kind.ADDED, name=name, after=words_of(rule), send_to=rule.send_to)
            continue
        if name in previous:
            yield Change(kind=Kind.RENAMED, name=name, before=(previous[name],))
        if name in moved:
            yield Change(kind=Kind.MOVED, name=name)
        yield from _changes_of_rule(*old_rules[previous.get(name, name)], rule, node)


def _changes_of_rule(old: Rule, old_node: Node, new: Rule, new_node: Node) -> Iterator[Change]:
    if old.enabled != new.enabled:
        yield Change(kind=Kind.ON if new.enabled else Kind.OFF, name=new.name)
    if plain(member(old_node, "when")) != plain(member(new_node, "when")):
        yield Change(kind=Kind.WHEN, name=new.name, before=words_of(old), after=words_of(new))
    if old.send_to != new.send_to:
        yield Change(kind=Kind.SEND_TO, name=new.name, before=old.send_to, after=new.send_to)
    if old.template != new.template:
        template = {"before": (old.template,), "after": (new.template,)}
        yield Change(kind=Kind.TEMPLATE, name=new.name, **template)
    for key in ("stop", "urgent", "once_per"):
        if getattr(old, key) != getattr(new, key):
            texts = [_written(key, member(node, key)) for node in (old_node, new_node)]
            yield Change(kind=Kind.OTHER, name=new.name, before=texts[0], after=texts[1])


def _rules_by_name(book: RuleBook, document: Node | None) -> dict[str, tuple[Rule, Node]]:
    nodes = member(document, "rules")
    listed = nodes.nodes if isinstance(nodes, Items) else []
    return {rule.name: (rule, node) for rule, node in zip(book.rules, listed, strict=False)}


def _renamed(
    old: Mapping[str, tuple[Rule, Node]], new: Mapping[str, tuple[Rule, Node]]
) -> dict[str, str]:
    """Return the new name of each rule that changed only its name, by the previous name."""
    removed = {name: _without_name(node) for name, (_, node) in old.items() if name not in new}
    renamed = dict[str, str]()
    for name, (_, node) in new.items():
        if name in old:
            continue
        same = (each for each, content in removed.items() if content == _without_name(node))
        if (earlier := next(same, None)) is not None:
            renamed[earlier] = name
            del removed[earlier]
    return renamed


def _moved(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """Yield the smallest set of names that explains the changed order."""
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    stay = {
        name
        for block in matcher.get_matching_blocks()
        for name in after[block.b : block.b + block.size]
    }
    return (name for name in after if name not in stay)


def _part_changes(old_root: Node | None, new_root: Node | None) -> Iterator[Change]:
    keys = [key for node in (old_root, new_root) if isinstance(node, Table) for key in node.entries]
    for key in dict.fromkeys(keys):
        if key == "rules":
            continue
        old, new = member(old_root, key), member(new_root, key)
        if isinstance(old, Table) and isinstance(new, Table) and key in _BY_NAME:
            for name in dict.fromkeys((*old.entries, *new.entries)):
                yield from _part_change(f"{key}.{name}", member(old, name), member(new, name))
        else:
            yield from _part_change(key, old, new)


_BY_NAME = ("destinations", "schedules")


def _part_change(name: str, old: Node | None, new: Node | None) -> Iterator[Change]:
    if plain(old) == plain(new):
        return
    kind = Kind.PART_CHANGED
    if old is None or new is None:
        kind = Kind.PART_ADDED if old is None else Kind.PART_REMOVED
    yield Change(kind=kind, name=name)


def words_of(rule: Rule) -> tuple[str, ...]:
    """Return the conditions of a rule in words, one per text; nested ones are indented by two spaces."""
    nobody = ChatView(Chat(account="", id=""))
    return tuple(_indented(findings(rule.conditions, nobody, ZoneInfo("UTC"))))


def _indented(findings: Iterable[Finding], depth: int = 0) -> Iterator[str]:
    for finding in findings:
        yield "  " * depth + finding.words
        yield from _indented(finding.parts, depth + 1)


def _written(key: str, node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    parts = ", ".join(f"{at}: {text.value}" if at else text.value for at, text in texts_in(node))
    return (f"{key}: {parts}",)


def _without_name(node: Node) -> object:
    content = plain(node)
    return (
        {key: value for key, value in content.items() if key != "name"}
        if isinstance(content, dict)
        else content
    )
