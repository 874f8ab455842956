"""The values of a chat in the forms in which conditions compare them, and the tests that operators make of them.

Each value is converted once, when it is first needed. Evaluation stops when a time limit has passed.
"""

import math
import operator
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from relay.chat import Chat
from relay.rules.field_type import Field, Kind, Raw
from relay.rules.reading import value_parsers
from relay.rules.reading.value_parsers import (
    BadValue,
    did_you_mean,
    duration_words,
    number_words,
    quoted,
    shown,
)
from relay.rules.text_search import Search, fold, fold_case, pattern, spaced
from relay.text import is_blank
from relay.timing.schedule import Schedule


class OutOfTime(Exception):
    """Raised if evaluating the rules takes longer than a time limit allows."""

    def __init__(self) -> None:
        super().__init__("asking the rules takes longer than it may for one chat")


class TimeLimit:
    """A time limit for evaluating rules, which starts when it is created and is checked between short steps."""

    __slots__ = ("_clock", "_until")

    def __init__(self, seconds: float, clock: Callable[[], float], until: float = math.inf) -> None:
        """`clock` returns monotonic seconds; on this clock, the limit ends no later than `until`."""
        self._clock = clock
        self._until = min(clock() + seconds, until)

    def within(self, seconds: float) -> "TimeLimit":
        """Return a limit of this many seconds from now, which ends no later than this one."""
        return TimeLimit(seconds, self._clock, self._until)

    def check(self) -> None:
        """Raise OutOfTime if the limit has passed."""
        if self._clock() > self._until:
            raise OutOfTime


class CurrentLimit:
    """The time limit in force, if any. Texts refer to it and not to their view, which would be a reference cycle."""

    __slots__ = ("limit",)

    def __init__(self) -> None:
        self.limit: TimeLimit | None = None

    def check(self) -> None:
        """Raise OutOfTime if the limit in force has passed."""
        if self.limit is not None:
            self.limit.check()


MAX_TEXT = 64_000
"""The most characters of a text that conditions examine; the cost of conditions grows with the length."""


SECONDS_TO_FOLD = 1e-7
"""Seconds for folding one character, in Python."""


class Words:
    """A text of a chat or a rule in the forms in which texts are compared, each made when first needed."""

    def __init__(self, text: str, check_time: Callable[[], None] | None = None) -> None:
        self._text = text[:MAX_TEXT]
        self._check_time = check_time
        self._searched: dict[Search, bool] = {}

    @cached_property
    def plain(self) -> str:
        """The text as typed, in Unicode's form NFC."""
        text = self._text
        return text if text.isascii() else unicodedata.normalize("NFC", text)

    @cached_property
    def _encoded(self) -> bytes:
        # "replace": a lone surrogate, which `clean` removes, must not raise an exception.
        return self.plain.encode("utf-8", "replace")

    def matches(self, search: Search) -> bool:
        """Whether a pattern is found in the text as typed; the result is cached. Raises OutOfTime."""
        if search not in self._searched:
            if self._check_time:
                self._check_time()
            self._searched[search] = search(self._encoded) is not None
        return self._searched[search]

    @cached_property
    def exact(self) -> str:
        """The text as typed, with white space collapsed; for `exactly`."""
        return spaced(self.plain)

    @cached_property
    def cased(self) -> str:
        """The text without case, to show which other differences were ignored."""
        return fold_case(self._text)

    @cached_property
    def folded(self) -> str:
        """The text as `fold` makes it, the usual form for comparison."""
        return fold(self._text)

    @cached_property
    def number(self) -> float | None:
        """The number that a visitor's variable spells; None if it spells none."""
        return _number(self._text)


Value = bool | int | float | timedelta | datetime | Words | tuple[Words, ...] | None


class ChatView(dict[Field, Value]):
    """The values of a chat by field, each converted when a condition first needs it; None if the chat has no value."""

    def __init__(self, chat: Chat) -> None:
        super().__init__()
        self.chat = chat
        self.time = CurrentLimit()
        """The time limit for evaluations from now on."""

    def __missing__(self, field: Field) -> Value:
        value = self[field] = ready(field.get(self.chat), field.kind, self.time.check)
        return value


def ready(raw: Raw, kind: Kind, check_time: Callable[[], None] | None = None) -> Value:
    """Return a field's value in the form in which it is compared. `check_time` is called before each long step."""
    if isinstance(raw, str):
        return None if is_blank(raw) else Words(raw, check_time)
    if isinstance(raw, tuple):
        return tuple([Words(text, check_time) for text in raw if not is_blank(text)]) or None
    if kind is Kind.VARIABLE and raw is not None:
        return _spelled(raw)
    return raw


def _spelled(raw: object) -> Words:
    if isinstance(raw, bool):
        return Words("true" if raw else "false")
    if not isinstance(raw, int | float):
        return Words(str(raw))
    words = Words(number_words(raw))
    words.number = float(raw)
    return words


MAX_NUMBER = 40
"""The most characters of a number; a longer text is not treated as a number."""
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?")
# Groups of three digits, or of two as in India; the decimal mark differs from the mark between groups.
_GROUPED = re.compile(
    r"(?P<whole>[+-]?[1-9]\d{0,2}(?P<mark>[ .,'_])\d{2,3}(?:(?P=mark)\d{2,3})*(?<=\d{3}))"
    r"(?:(?!(?P=mark))[.,](?P<fraction>\d+))?"
)
_COMMA = re.compile(r"[+-]?\d+,\d+")


def _number(text: str) -> float | None:
    """Return the number in `1290`, `1 290`, `1,290.50`, `1.290,50` or `12,5`; None for any other text.

    A single comma before three digits separates thousands.
    """
    text = fold(text) if len(text) <= MAX_NUMBER else ""
    if not _PLAIN.fullmatch(text):
        if match := _GROUPED.fullmatch(text):
            text = f"{re.sub('[^-0-9]', '', match['whole'])}.{match['fraction'] or 0}"
        elif _COMMA.fullmatch(text):
            text = text.replace(",", ".")
        else:
            return None
    value = float(text)
    return value if math.isfinite(value) else None


Test = Callable[[Any], bool]
"""A function that tests an existing value; of a list, one element."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An operator with its operand: a test for values of chats, and its description."""

    test: Test
    shown: str
    value: object = None
    """The operand once parsed: two bounds of one operator are equivalent if their values are equal."""
    saw: Callable[[Any], str] | None = None
    """Returns the remark of an explanation about how the chat's value was read; empty if it was taken unchanged."""
    seconds: float = 0
    """The most seconds that the test takes for each byte of a chat."""


Bind = Callable[[str, Kind, Mapping[str, Schedule]], Bound]


# -- is, one_of --------------------------------------------------------------------------------------------


def is_(text: str, kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
    """The operator `is`, and each value of `one_of`: equal, ignoring case and accents in texts. Raises BadValue."""
    wanted: object
    match kind:
        case Kind.YES_NO:
            wanted = value_parsers.yes_no(text)
            return Bound(lambda value: value is wanted, "true" if wanted else "false", wanted)
        case Kind.NUMBER | Kind.DURATION:
            wanted, words = _magnitude(text, kind)
            return Bound(lambda value: bool(value == wanted), words, wanted)
        case _:
            return _is_text(text, kind, _schedules)


# -- texts -------------------------------------------------------------------------------------------------

Holds = Callable[[str, str], bool]
"""A function that compares the chat's text with the rule's."""
_ALIKE = "alike but for accents or punctuation"


def by_text(holds: Holds, seconds: float) -> Bind:
    """Return an operator that compares folded texts with `holds`."""

    def bind(text: str, _kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
        wanted = Words(value_parsers.text(text))
        folded, ascii_only = wanted.folded, text.isascii()
        if not folded:
            message = f"{shown(text)} has nothing in it that is compared"
            raise BadValue(message, "write the text to look for")

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
    """Return an operator that compares texts as typed with `holds`, for `exactly`."""

    def bind(text: str, _kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
        exact = Words(value_parsers.text(text)).exact
        return Bound(lambda value: holds(value.exact, exact), quoted(text), exact, seconds=seconds)

    return bind


_is_text = by_text(operator.eq, 0)


# -- patterns ----------------------------------------------------------------------------------------------


def matches(text: str, _kind: Kind, _schedules: Mapping[str, Schedule]) -> Bound:
    regex = pattern(value_parsers.text(text))
    search = regex.search
    return Bound(lambda value: value.matches(search), quoted(text), text, seconds=regex.seconds)


# -- numbers and durations ---------------------------------------------------------------------------------


def _magnitude(text: str, kind: Kind) -> tuple[int | float | timedelta, str]:
    if kind is Kind.DURATION:
        length = value_parsers.duration(text)
        return length, duration_words(length)
    count = value_parsers.number(text)
    return count, number_words(count)


def by_size(compare: Callable[[Any, Any], bool]) -> Bind:
    """Return an operator that compares numbers or durations with `compare`."""

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
    """Return an operator that tests whether a time is inside a schedule, or outside."""

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
    # The test only gets existing values; `Empty` handles missing ones.
    wanted = value_parsers.yes_no(text)
    return Bound(lambda _value: not wanted, "true" if wanted else "false", wanted)
