"""What the parts of the reader share: asking nodes for what they should be, and complaining where they are not."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TypeVar

from relay.rules.chat_view import SECONDS_TO_FOLD
from relay.rules.folding import TYPOGRAPHIC
from relay.rules.reading import values
from relay.rules.reading.document import Items, Node, Table, Text
from relay.rules.reading.phrases import did_you_mean, listed, shown
from relay.rules.reading.problem import Problems
from relay.rules.reading.values import BadValue
from relay.rules.schedules import Schedule

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
"""What people write for nobody, in lower case, in place of a destination's name."""


@dataclass(slots=True)
class Reading:
    """One reading of one file."""

    problems: Problems
    schedules: dict[str, Schedule] = field(default_factory=dict)
    used_schedules: set[str] = field(default_factory=set)
    patterns: int = 0
    """Regular expressions so far: each takes up to two milliseconds to make ready."""
    seconds: float = SECONDS_TO_FOLD
    """The most that one condition may take so far, for each byte of a chat."""


def called(node: Node) -> str:
    """What a node is, for `expected ..., got ...`."""
    match node:
        case Items():
            return "a list"
        case Table():
            return "a mapping (`key: value`)"
        case Text():
            return "nothing" if node.missing else shown(node.value)


def as_text(problems: Problems, node: Node, expected: str, hint: str = "") -> Text | None:
    """A text that is there; else complains."""
    if isinstance(node, Text) and not node.missing and node.value.strip():
        _warn_of_quotes(problems, node)
        return node
    problems.error(node, f"expected {expected}, got {called(node)}", hint)
    return None


def _warn_of_quotes(problems: Problems, node: Text) -> None:
    """`“refund”`, as text programs make it of "refund": to YAML such quotes are a part of the text."""
    begins, inner, ends = node.value[0], node.value[1:-1].strip(), node.value[-1]
    if node.plain and inner and begins in TYPOGRAPHIC and ends in f"{TYPOGRAPHIC}'\"":
        what = f"the quotes {begins} and {ends} are a part of this text; YAML knows only \" and '"
        problems.warning(node, what, f"write {_in_quotes(inner)}")


def _in_quotes(text: str) -> str:
    """The text as a quoted YAML value."""
    quote = '"' if "'" in text and '"' not in text else "'"
    return f"{quote}{shown(text)[1:-1]}{quote}"


def as_table(problems: Problems, node: Node, expected: str, hint: str = "") -> Table | None:
    """A mapping with something in it; else complains."""
    if isinstance(node, Table) and node.entries:
        return node
    got = "an empty mapping" if isinstance(node, Table) else called(node)
    problems.error(node, f"expected {expected}, got {got}", hint)
    return None


def one_or_many(problems: Problems, node: Node, expected: str, hint: str = "") -> list[Text]:
    """A text, or a list of texts with something in it; what is neither is complained about."""
    nodes = node.nodes if isinstance(node, Items) else [node]
    if not nodes:
        problems.error(node, f"expected {expected}, got an empty list", hint)
    found = (as_text(problems, each, expected, hint) for each in nodes)
    return [text for text in found if text]


def parsed(problems: Problems, node: Text, parse: Callable[[str], T]) -> T | None:
    """What `parse` makes of a text; None after a complaint."""
    try:
        return parse(node.value)
    except BadValue as bad:
        problems.error(node, bad.what, bad.hint)
        return None


def long_duration(problems: Problems, node: Node, such_as: str, why: str) -> timedelta | None:
    """A minute or longer; None after a complaint. `why`: what speaks against a shorter one."""
    text = as_text(problems, node, f"a duration such as {such_as}")
    found = parsed(problems, text, values.duration) if text else None
    if text and found is not None and found < timedelta(minutes=1):
        problems.error(text, f"{shown(text.value)} is shorter than a minute", why)
        return None
    return found


def check_keys(
    problems: Problems,
    table: Table,
    known: Collection[str],
    where: str,
    others: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Complains about keys that have no meaning here; `others`: what people write instead -> our word."""
    for key, value in table.entries.values():
        if key.value not in known:
            ours = others.get(key.value.casefold())
            hint = f"write {ours}" if ours else _key_hint(key.value, value, known)
            problems.error(key, f"{shown(key.value)} means nothing {where}", hint)


def _key_hint(key: str, value: Node, known: Iterable[str]) -> str:
    if key == "<<":
        return "YAML's way to take over the keys of another mapping is not allowed here, write them out"
    names = list(known)
    hint = did_you_mean(key, names)
    if hint.startswith("did"):
        return hint
    if isinstance(value, Text) and value.plain and not value.value:
        return "a list stands in brackets: [sat, sun]; or else a ':' and a value are missing"
    return f"possible keys: {listed(names)}"


def name_of(problems: Problems, key: Text, what: str, limit: int = 100) -> None:
    """Complains about a name that would not be readable wherever it is shown."""
    if not key.value.strip() or "\n" in key.value or len(key.value) > limit:
        problems.error(
            key,
            f"{shown(key.value)} can't be the name of a {what}",
            f"one line, up to {limit} characters",
        )


def known_name(
    problems: Problems, node: Text, known: Mapping[str, object], what: str, for_nobody: str = ""
) -> bool:
    """Whether something has this name; else complains. `for_nobody`: the hint for who wrote `none` or the like."""
    if node.value in known:
        return True
    hint = for_nobody if node.value.casefold() in _MEANS_NOBODY else ""
    words = [*known, "nobody"] if for_nobody else known
    problems.error(
        node, f"no {what} is called {shown(node.value)}", hint or did_you_mean(node.value, words)
    )
    return False
