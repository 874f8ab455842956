"""The table of operators with their wording, and the names by which rules refer to fields."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from relay.chat import CHAT_SYNONYMS, Chat
from relay.rules import field_type
from relay.rules.compared_values import (
    Bind,
    Holds,
    by_exact_text,
    by_schedule,
    by_size,
    by_text,
    empty,
    is_,
    matches,
)
from relay.rules.field_type import Field, Kind, Raw
from relay.rules.fields import FIELDS
from relay.rules.text_search import SECONDS_FOR_A_WORD, has_word


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """An operator that may be written under a field."""

    name: str
    kinds: frozenset[Kind]
    """The kinds of fields that the operator supports."""
    doc: str
    example: str
    bind: Bind
    """Converts the operand, the field's kind and the schedules to a test. Raises BadValue."""
    words: Mapping[Kind, str]
    """The condition in words by kind, with `{}` for the operand: `{} or lower`."""
    many: bool = False
    """Whether a list of operands is allowed; one of them must match, or all with `every`."""
    every: bool = False
    exact_form: "Operator | None" = None
    """The operator that `{exactly: ...}` stands for, on fields with texts."""


_TEXTS = frozenset({Kind.TEXT, Kind.TEXTS, Kind.VARIABLE})
_NUMBERS = frozenset({Kind.NUMBER, Kind.DURATION, Kind.VARIABLE})
_SINGLE_VALUES = _TEXTS | _NUMBERS
_IS_WORDS = {
    Kind.YES_NO: "{}",
    Kind.NUMBER: "{}",
    Kind.DURATION: "exactly {}",
    **dict.fromkeys(_TEXTS, "is {}"),
}


# -- the table ---------------------------------------------------------------------------------------------


_EXACTLY = Operator(
    name="exactly",
    kinds=_TEXTS,
    doc="The same as it was typed: case, accents and quotes count. `contains: {exactly: ...}` and the like ask for a part.",
    example="said: {contains_word: {exactly: IT}}",
    bind=by_exact_text(operator.eq, 0),
    words=dict.fromkeys(_TEXTS, "is exactly {}"),
    many=True,
)


def _text_operator(
    name: str, words: str, doc: str, example: str, holds: Holds, *, seconds: float = 0
) -> Operator:
    folded = Operator(
        name=name,
        kinds=_TEXTS,
        doc=doc,
        example=example,
        bind=by_text(holds, seconds),
        words=dict.fromkeys(_TEXTS, f"{words} {{}}"),
        many=True,
    )
    exact = replace(
        folded,
        name=f"{name} {_EXACTLY.name}",
        bind=by_exact_text(holds, seconds),
        words=dict.fromkeys(_TEXTS, f"{words} exactly {{}}"),
    )
    return replace(folded, exact_form=exact)


def _size_operator(
    name: str, number: str, length: str, doc: str, compare: Callable[[Any, Any], bool]
) -> Operator:
    return Operator(
        name=name,
        kinds=_NUMBERS,
        doc=doc,
        example=f"rating: {{{name}: 3}}",
        bind=by_size(compare),
        words={Kind.NUMBER: number, Kind.VARIABLE: f"is {number}", Kind.DURATION: length},
    )


def _time_operator(name: str, doc: str, *, inside: bool) -> Operator:
    return Operator(
        name=name,
        kinds=frozenset({Kind.TIME}),
        doc=doc,
        example=f"began: {{{name}: office}}",
        bind=by_schedule(inside=inside),
        words={Kind.TIME: f"{name} {{}}"},
        many=True,
        every=not inside,
    )


_ALL = (
    Operator(
        name="is",
        kinds=_SINGLE_VALUES | {Kind.YES_NO},
        doc="The same. A bare value means this.",
        example="missed: true",
        bind=is_,
        exact_form=_EXACTLY,
        words=_IS_WORDS,
    ),
    Operator(
        name="one_of",
        kinds=_SINGLE_VALUES,
        doc="The same as one of a list. A bare list means this.",
        example="visitor.country_code: [CZ, SK]",
        bind=is_,
        exact_form=_EXACTLY,
        words=_IS_WORDS,
        many=True,
    ),
    _text_operator(
        "contains",
        "contains",
        "The text stands somewhere in it.",
        "visitor.note: {contains: VIP}",
        operator.contains,
    ),
    _text_operator(
        "contains_word",
        "contains the word",
        "The same, but not as a part of a longer word: `order` is not found in `border`.",
        "said: {contains_word: [refund, return]}",
        has_word,
        seconds=SECONDS_FOR_A_WORD,
    ),
    _text_operator(
        "starts_with",
        "starts with",
        "It begins with the text.",
        "page.url: {starts_with: https://shop.example.com/checkout}",
        str.startswith,
    ),
    _text_operator(
        "ends_with",
        "ends with",
        "It ends with the text.",
        'visitor.email: {ends_with: "@example.com"}',
        str.endswith,
    ),
    _EXACTLY,
    Operator(
        name="matches",
        kinds=_TEXTS,
        doc="A regular expression in RE2 syntax is found in it, without case.",
        example=r"said: {matches: 'order\s+\d{6}'}",
        bind=matches,
        words=dict.fromkeys(_TEXTS, "matches {}"),
        many=True,
    ),
    _size_operator("at_least", "{} or higher", "{} or longer", "That or more.", operator.ge),
    _size_operator("at_most", "{} or lower", "{} or shorter", "That or less.", operator.le),
    _size_operator("more_than", "higher than {}", "longer than {}", "More than that.", operator.gt),
    _size_operator("less_than", "lower than {}", "shorter than {}", "Less than that.", operator.lt),
    _time_operator("within", "At a time of the schedule, or of one of a list.", inside=True),
    _time_operator("outside", "At no time of the schedule, nor of any of a list.", inside=False),
    Operator(
        name="empty",
        kinds=frozenset(Kind),
        doc="`true`: there is no value (no rating, no note). `false`: there is one.",
        example="visitor.email: {empty: true}",
        bind=empty,
        words=dict.fromkeys(Kind, "{}"),
    ),
)

OPERATORS: Mapping[str, Operator] = {each.name: each for each in _ALL}
EXACTLY = _EXACTLY.name

SYNONYMS: Mapping[str, str] = {
    **dict.fromkeys((">=", "gte", "min", "minimum"), "at_least"),
    **dict.fromkeys(("<=", "lte", "max", "maximum"), "at_most"),
    **dict.fromkeys((">", "gt", "over", "above", "greater_than"), "more_than"),
    **dict.fromkeys(("<", "lt", "under", "below"), "less_than"),
    **dict.fromkeys(("=", "==", "eq", "equals", "equal"), "is"),
    **dict.fromkeys(("in", "any_of"), "one_of"),
    **dict.fromkeys(("regex", "regexp", "re", "match", "pattern"), "matches"),
    **dict.fromkeys(("includes", "has", "like"), "contains"),
    **dict.fromkeys(("begins_with", "prefix"), "starts_with"),
    "suffix": "ends_with",
    **dict.fromkeys(("exact", "is_exactly", "case_sensitive"), "exactly"),
    "word": "contains_word",
    **dict.fromkeys(("missing", "exists", "null"), "empty"),
    **dict.fromkeys(("during", "inside", "at", "on"), "within"),
}
"""Maps operators of other programs to the relay's."""


def operators_for(kind: Kind) -> tuple[str, ...]:
    """Return the names of the operators that support a kind of field, in the order of the table."""
    return tuple(each.name for each in _ALL if kind in each.kinds)


VARIABLES = "visitor.variables."


def _variable(key: str) -> Field:
    def get(chat: Chat) -> Raw:
        variable = chat.visitor.variables.get(key)
        return None if variable is None else variable.value

    return Field(
        kind=Kind.VARIABLE,
        name=VARIABLES + key,
        wire=f"visitor.variables.{key}.value",
        doc="What the site's own code told Smartsupp about the visitor, by its key.",
        subject=f"visitor's {key}",
        absent=f"no {key} of the visitor",
        get=get,
        put=field_type.variable(key),
    )


ANY_VARIABLE = _variable("<key>")
"""The entry for all variables in tables of fields."""

# Cached, so that rules share one field per key and its value is converted once.
_known_variable = lru_cache(maxsize=1024)(_variable)


def field_named(name: str) -> Field | None:
    """Return the field of this name; None if there is none."""
    key = name.removeprefix(VARIABLES)
    if key != name and key:
        return _known_variable(key)
    return FIELDS.get(name)


def _by_wire_name() -> Mapping[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for field in FIELDS.values():
        for wire in field.wire.replace(",", " ").split():
            for spelling in (wire, wire.replace("[]", ""), wire.rpartition(".")[2]):
                fields = names.get(spelling, ())
                if spelling not in FIELDS and field.name not in fields:
                    names[spelling] = (*fields, field.name)
    return names


SMARTSUPP_NAMES: Mapping[str, tuple[str, ...]] = {
    **_by_wire_name(),
    "country": ("visitor.country_code",),
    "visitor.country": ("visitor.country_code",),
}
"""Maps Smartsupp's names to the relay's fields; names that both share are left out."""

OTHER_NAMES: Mapping[str, str] = {
    **CHAT_SYNONYMS,
    **dict.fromkeys(("or", "any_of", "one_of"), "any"),
    **dict.fromkeys(("and", "all_of"), "all"),
    **dict.fromkeys(("none", "no", "unless", "except"), "not"),
    **dict.fromkeys(("message", "messages", "text", "content", "words"), "said, or answered"),
    **dict.fromkeys(
        ("language", "lang", "locale"),
        "visitor.country_code, page.url or a variable of your site: the hook does not say a language",
    ),
    **dict.fromkeys(
        ("time", "hour", "hours", "day", "days", "date", "schedule"), "began: {within: office}"
    ),
}
"""Maps names that people write by mistake to the names to suggest."""


def fields_with(part: str) -> tuple[str, ...]:
    """Return the fields whose name has this part: `ip` gives visitor.ip, `page` gives page.url and page.title."""
    return tuple(name for name in FIELDS if part in name.split("."))
