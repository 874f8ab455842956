"""What a rule compares with, as the file has it -> a test of what a chat has: one function for each kind of operator."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from relay.rules.chat_view import Words
from relay.rules.field_type import Kind
from relay.rules.reading import values
from relay.rules.reading.phrases import did_you_mean, duration_words, number_words, quoted, shown
from relay.rules.reading.values import BadValue
from relay.rules.schedules import Schedule
from relay.rules.text_search import pattern

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
    seconds: float = 0
    """What the test may take for each byte of a chat."""


Bind = Callable[[str, Kind, Mapping[str, Schedule]], Bound]


# -- is, one_of --------------------------------------------------------------------------------------------


def is_(text: str, kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
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


def by_text(holds: Holds, seconds: float) -> Bind:
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

        return Bound(
            lambda value: holds(value.folded, folded), quoted(text), wanted, saw, seconds=seconds
        )

    return bind


def by_exact_text(holds: Holds, seconds: float) -> Bind:
    def bind(text: str, _kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
        exact = Words(values.text(text)).exact
        return Bound(lambda value: holds(value.exact, exact), quoted(text), exact, seconds=seconds)

    return bind


_is_text = by_text(operator.eq, 0)


# -- patterns ----------------------------------------------------------------------------------------------


def matches(text: str, _kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
    made = pattern(values.text(text))
    search = made.search
    return Bound(lambda value: value.matches(search), quoted(text), text, seconds=made.seconds)


# -- numbers and durations ---------------------------------------------------------------------------------


def _magnitude(text: str, kind: Kind) -> tuple[int | float | timedelta, str]:
    if kind is Kind.DURATION:
        length = values.duration(text)
        return length, duration_words(length)
    count = values.number(text)
    return count, number_words(count)


def by_size(compare: Callable[[Any, Any], bool]) -> Bind:
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


def by_schedule(*, inside: bool) -> Bind:
    def bind(text: str, _kind: Kind, schedules: Mapping[str, Schedule]) -> Bound:
        if (schedule := schedules.get(text)) is None:
            hint = did_you_mean(text, schedules) if schedules else _NO_SCHEDULES
            raise BadValue(f"no schedule is called {shown(text)}", hint)
        holds = schedule.holds

        def test(value: datetime) -> bool:
            return holds(value) is inside

        return Bound(test, text, text)

    return bind


def empty(text: str, _kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
    # Only the value that is there is ever tested; one that is missing is the condition's own business.
    wanted = values.yes_no(text)
    return Bound(lambda _value: not wanted, "true" if wanted else "false", wanted)
