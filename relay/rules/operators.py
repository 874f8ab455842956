"""What a rule can say about a field: the one table of operators, and how each is tested and worded."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from relay.rules import values
from relay.rules.field import Kind
from relay.rules.schedules import Schedule
from relay.rules.searching import has_word, pattern
from relay.rules.values import BadValue
from relay.rules.view import Words
from relay.rules.wording import did_you_mean, duration_words, number_words, quoted, shown

Test = Callable[[Any], bool]
"""Asked of a value that is there; of lists, of one element."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An operator with what it compares with."""

    test: Test
    shown: str
    value: object = None
    """What it compares with, once read: two bounds of one operator mean the same if these are equal."""
    saw: Callable[[Any], str] | None = None
    """How an explanation tells what a chat has; empty where that was taken as it is."""


Bind = Callable[[str, Kind, Mapping[str, Schedule]], Bound]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A word that may stand under a field."""

    name: str
    kinds: frozenset[Kind]
    """The kinds of field that it fits."""
    doc: str
    example: str
    bind: Bind
    """What stands in the file, the field's kind, the schedules -> what to test. Raises BadValue."""
    words: Mapping[Kind, str]
    """The condition in words, `{}` standing for the operand: `{} or lower`."""
    many: bool = False
    """It takes a list too, of which one is enough."""
    exact_form: "Operator | None" = None
    """The operator that `{exactly: ...}` under it means, for fields that hold texts."""


_TEXTS = frozenset({Kind.TEXT, Kind.TEXTS, Kind.VARIABLE})
_NUMBERS = frozenset({Kind.NUMBER, Kind.DURATION, Kind.VARIABLE})
_ONES = _TEXTS | _NUMBERS
_IS_WORDS = {
    Kind.YES_NO: "{}",
    Kind.NUMBER: "{}",
    Kind.DURATION: "exactly {}",
    **dict.fromkeys(_TEXTS, "is {}"),
}


# -- is, one_of --------------------------------------------------------------------------------------------


def _is(text: str, kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
    wanted: object
    match kind:
        case Kind.YES_NO:
            wanted = values.yes_no(text)
            return Bound(lambda value: value is wanted, "true" if wanted else "false", wanted)
        case Kind.NUMBER | Kind.DURATION:
            wanted, words = _magnitude(text, kind)
            return Bound(lambda value: bool(value == wanted), words, wanted)
        case _:
            return _is_text(text, kind, _schedules)


# -- texts -------------------------------------------------------------------------------------------------

Holds = Callable[[str, str], bool]
"""The chat's text, and the rule's."""
_ALIKE = "alike but for accents or punctuation"


def _by_text(holds: Holds) -> Bind:
    def bind(text: str, _kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
        wanted = Words(values.text(text))
        folded, ascii_only = wanted.folded, text.isascii()
        if not folded:
            what = f"{shown(text)} has nothing in it that is compared"
            raise BadValue(what, "write the text to look for")

        def saw(value: Words) -> str:
            if (ascii_only and value.plain.isascii()) or not holds(value.folded, folded):
                return ""
            is_same = holds(value.cased, wanted.cased)
            return "" if is_same else f"it was {quoted(value.plain)}, {_ALIKE}"

        return Bound(lambda value: holds(value.folded, folded), quoted(text), wanted, saw)

    return bind


def _by_exact_text(holds: Holds) -> Bind:
    def bind(text: str, _kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
        exact = Words(values.text(text)).exact
        return Bound(lambda value: holds(value.exact, exact), quoted(text), exact)

    return bind


_is_text = _by_text(operator.eq)


# -- patterns ----------------------------------------------------------------------------------------------


def _matches(text: str, _kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
    search = pattern(values.text(text)).search
    return Bound(lambda value: search(value.encoded) is not None, quoted(text), text)


# -- numbers and durations ---------------------------------------------------------------------------------


def _magnitude(text: str, kind: Kind) -> tuple[int | float | timedelta, str]:
    if kind is Kind.DURATION:
        length = values.duration(text)
        return length, duration_words(length)
    count = values.number(text)
    return count, number_words(count)


def _by_size(compare: Callable[[Any, Any], bool]) -> Bind:
    def bind(text: str, kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
        limit, words = _magnitude(text, kind)
        if kind is Kind.VARIABLE:
            return Bound(
                lambda v: v.number is not None and compare(v.number, limit),
                words,
                limit,
                _saw_number,
            )
        return Bound(lambda value: compare(value, limit), words, limit)

    return bind


def _saw_number(value: Words) -> str:
    text = quoted(value.plain)
    if value.number is None:
        return f"not a number: {text}"
    read = number_words(value.number)
    return "" if read == value.exact else f"it was {text}, read as {read}"


# -- times -------------------------------------------------------------------------------------------------


_NO_SCHEDULES = (
    "at the top of the file write `schedules: {office: {days: mon-fri, hours: 08:00-17:00}}`"
)


def _by_schedule(*, inside: bool) -> Bind:
    def bind(text: str, _kind: Kind, schedules: Mapping[str, Schedule]) -> Bound:
        if (schedule := schedules.get(text)) is None:
            hint = did_you_mean(text, schedules) if schedules else _NO_SCHEDULES
            raise BadValue(f"no schedule is called {shown(text)}", hint)
        holds = schedule.holds

        def test(value: datetime) -> bool:
            return holds(value) is inside

        return Bound(test, text, text)

    return bind


def _empty(text: str, _kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
    # Only the value that is there is ever tested; one that is missing is the condition's own business.
    wanted = values.yes_no(text)
    return Bound(lambda _value: not wanted, "true" if wanted else "false", wanted)


# -- the table ---------------------------------------------------------------------------------------------


_EXACTLY = Operator(
    name="exactly",
    kinds=_TEXTS,
    doc="The same as it was typed: case, accents and quotes count. `contains: {exactly: ...}` and the like ask for a part.",
    example="said: {contains_word: {exactly: IT}}",
    bind=_by_exact_text(operator.eq),
    words=dict.fromkeys(_TEXTS, "is exactly {}"),
    many=True,
)


def _text_operator(name: str, words: str, doc: str, example: str, holds: Holds) -> Operator:
    folded = Operator(
        name=name,
        kinds=_TEXTS,
        doc=doc,
        example=example,
        bind=_by_text(holds),
        words=dict.fromkeys(_TEXTS, f"{words} {{}}"),
        many=True,
    )
    exact = replace(
        folded,
        name=f"{name} {_EXACTLY.name}",
        bind=_by_exact_text(holds),
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
        bind=_by_size(compare),
        words={Kind.NUMBER: number, Kind.VARIABLE: f"is {number}", Kind.DURATION: length},
    )


def _time_operator(name: str, doc: str, *, inside: bool) -> Operator:
    return Operator(
        name=name,
        kinds=frozenset({Kind.TIME}),
        doc=doc,
        example=f"began: {{{name}: office}}",
        bind=_by_schedule(inside=inside),
        words={Kind.TIME: f"{name} {{}}"},
    )


_ALL = (
    Operator(
        name="is",
        kinds=_ONES | {Kind.YES_NO},
        doc="The same. A bare value means this.",
        example="missed: true",
        bind=_is,
        exact_form=_EXACTLY,
        words=_IS_WORDS,
    ),
    Operator(
        name="one_of",
        kinds=_ONES,
        doc="The same as one of a list. A bare list means this.",
        example="visitor.country_code: [CZ, SK]",
        bind=_is,
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
        bind=_matches,
        words=dict.fromkeys(_TEXTS, "matches {}"),
        many=True,
    ),
    _size_operator("at_least", "{} or higher", "{} or longer", "That or more.", operator.ge),
    _size_operator("at_most", "{} or lower", "{} or shorter", "That or less.", operator.le),
    _size_operator("more_than", "higher than {}", "longer than {}", "More than that.", operator.gt),
    _size_operator("less_than", "lower than {}", "shorter than {}", "Less than that.", operator.lt),
    _time_operator("within", "At a time of the schedule.", inside=True),
    _time_operator("outside", "At no time of the schedule.", inside=False),
    Operator(
        name="empty",
        kinds=frozenset(Kind),
        doc="`true`: there is no value (no rating, no note). `false`: there is one.",
        example="visitor.email: {empty: true}",
        bind=_empty,
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
"""What people write instead, from other programs -> our word."""


def operators_for(kind: Kind) -> tuple[str, ...]:
    """The names of the operators that fit a kind of field, in the order of the table."""
    return tuple(each.name for each in _ALL if kind in each.kinds)
