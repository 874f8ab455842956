"""Conditions of rules: whether a chat meets one, and the explanation with the chat's value."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from msgspec import Struct

from relay.rules.compared_values import ChatView, Words
from relay.rules.field_type import Field, Kind
from relay.rules.reading.value_parsers import duration_words, listed, number_words, quoted


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"words": "condition"}):
    """The result of one condition in words: "rated 2 or lower: no, it was 4"."""

    words: str
    """The condition in words."""
    holds: bool
    """Whether the chat meets the condition."""
    saw: str = ""
    """The chat's value: "it was 4"; empty if yes or no is enough."""
    parts: tuple["Finding", ...] = ()
    """The findings inside `any`, `all` and `not`; empty for other conditions."""

    @property
    def answer(self) -> str:
        """Whether the condition holds, with the chat's value: "no, it was 4"."""
        return ("yes" if self.holds else "no") + (f", {self.saw}" if self.saw else "")

    def __str__(self) -> str:
        return f"{self.words}: {self.answer}"


class Condition(Protocol):
    """A condition of a rule's `when:`, which can be tested and explained."""

    def holds(self, view: ChatView) -> bool:
        """Whether the condition holds for a chat. Called for every chat, so it builds no texts."""
        ...

    def find(self, view: ChatView, zone: ZoneInfo) -> Finding:
        """Return whether the condition holds, in words; `zone` is the time zone for times."""
        ...


@dataclass(frozen=True, slots=True)
class Always:
    """The condition `when: always`, which holds for every chat."""

    def holds(self, view: ChatView) -> bool:  # noqa: ARG002 - asks nothing
        """Return True."""
        return True

    def find(self, view: ChatView, zone: ZoneInfo) -> Finding:  # noqa: ARG002
        """Return the result in words, and what the chat had; times are in `zone`."""
        return Finding(words="always", holds=True)


@dataclass(frozen=True, slots=True)
class Compare:
    """A condition that compares a field's value by an operator. It never holds for a missing value."""

    field: Field
    operator: str
    operands: tuple[object, ...]
    """The parsed operands, of which one must match."""
    test: Callable[[Any], bool]
    words: str
    saw: Callable[[Any], str]
    """Returns the remark of an explanation about how a text was read; empty if it was taken unchanged."""

    def holds(self, view: ChatView) -> bool:
        """Return whether the chat meets the condition. Raises OutOfTime."""
        value = view[self.field]
        return value is not None and self.test(value)

    def find(self, view: ChatView, zone: ZoneInfo) -> Finding:
        """Return the result in words, and what the chat had; times are in `zone`."""
        value = view[self.field]
        saw = self.saw(value) if isinstance(value, Words) else ""
        saw = saw or _saw(self.field, view, zone)
        return Finding(words=self.words, holds=self.holds(view), saw=saw)


@dataclass(frozen=True, slots=True)
class CompareEach:
    """A condition that compares the elements of a list, of which one must match."""

    field: Field
    operator: str
    operands: tuple[object, ...]
    """The parsed operands, of which one must match."""
    test: Callable[[Any], bool]
    words: str
    saw: Callable[[Any], str]

    def holds(self, view: ChatView) -> bool:
        """Return whether the chat meets the condition. Raises OutOfTime."""
        values = view[self.field]
        return values is not None and any(map(self.test, values))  # type: ignore[arg-type]

    def find(self, view: ChatView, zone: ZoneInfo) -> Finding:  # noqa: ARG002
        """Return the result in words, and what the chat had; times are in `zone`."""
        values = view[self.field]
        texts: tuple[Words, ...] = values if isinstance(values, tuple) else ()
        match = next((text for text in texts if self.test(text)), None)
        if match:
            saw = self.saw(match) or f"it was {quoted(match.plain)}"
            return Finding(words=self.words, holds=True, saw=saw)
        return Finding(words=self.words, holds=False, saw=_saw_none_of(texts, self.field))


@dataclass(frozen=True, slots=True)
class Empty:
    """A condition on whether a field has a value."""

    field: Field
    wanted: bool

    def holds(self, view: ChatView) -> bool:
        """Return whether the chat meets the condition. Raises OutOfTime."""
        return (view[self.field] is None) is self.wanted

    def find(self, view: ChatView, zone: ZoneInfo) -> Finding:
        """Return the result in words, and what the chat had; times are in `zone`."""
        name = self.field.name
        words = f"'{name}' is empty" if self.wanted else f"'{name}' has a value"
        if view[self.field] is None or self.field.kind in {Kind.YES_NO, Kind.TEXTS}:
            return Finding(words=words, holds=self.holds(view))
        return Finding(words=words, holds=self.holds(view), saw=_saw(self.field, view, zone))


@dataclass(frozen=True, slots=True)
class All:
    """A condition that holds if all of its parts hold."""

    parts: tuple[Condition, ...]

    def holds(self, view: ChatView) -> bool:
        """Return whether the chat meets the condition. Raises OutOfTime."""
        # Not all(...): a generator costs more than most conditions, and this runs for every rule.
        for part in self.parts:  # noqa: SIM110
            if not part.holds(view):
                return False
        return True

    def find(self, view: ChatView, zone: ZoneInfo) -> Finding:
        """Return the result in words, and what the chat had; times are in `zone`."""
        return Finding(
            words="all of these", holds=self.holds(view), parts=findings(self.parts, view, zone)
        )


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A condition that holds if at least one of its parts holds."""

    parts: tuple[Condition, ...]

    def holds(self, view: ChatView) -> bool:
        """Return whether the chat meets the condition. Raises OutOfTime."""
        for part in self.parts:  # noqa: SIM110 - as above
            if part.holds(view):
                return True
        return False

    def find(self, view: ChatView, zone: ZoneInfo) -> Finding:
        """Return the result in words, and what the chat had; times are in `zone`."""
        return Finding(
            words="any of these", holds=self.holds(view), parts=findings(self.parts, view, zone)
        )


@dataclass(frozen=True, slots=True)
class Not:
    """A condition that holds if its parts don't all hold, for example because a value is missing."""

    parts: tuple[Condition, ...]

    def holds(self, view: ChatView) -> bool:
        """Return whether the chat meets the condition. Raises OutOfTime."""
        return not all(part.holds(view) for part in self.parts)

    def find(self, view: ChatView, zone: ZoneInfo) -> Finding:
        """Return the result in words, and what the chat had; times are in `zone`."""
        words = "not this" if len(self.parts) == 1 else "not all of these"
        return Finding(words=words, holds=self.holds(view), parts=findings(self.parts, view, zone))


def not_numbers(parts: Iterable[Condition], view: ChatView) -> Iterator[tuple[str, str]]:
    """Yield the variables that are compared with a number but have none: each one's name and its text."""
    for part in parts:
        match part:
            case All() | AnyOf() | Not():
                yield from not_numbers(part.parts, view)
            case Compare() if isinstance(part.operands[0], int | float):
                value = view[part.field]
                if isinstance(value, Words) and value.number is None:
                    yield part.field.name, value.plain


def findings(parts: tuple[Condition, ...], view: ChatView, zone: ZoneInfo) -> tuple[Finding, ...]:
    """Return the finding of every part, even if an earlier part decided the result."""
    return tuple(part.find(view, zone) for part in parts)


def _saw(field: Field, view: ChatView, zone: ZoneInfo) -> str:
    value = view[field]
    if field.kind is Kind.YES_NO:
        return "Smartsupp did not say" if value is None else ""
    if value is None:
        return field.absent
    return f"it was {_value_words(value, zone)}"


def _value_words(value: object, zone: ZoneInfo) -> str:
    match value:
        case Words():
            return quoted(value.plain)
        case timedelta():
            return duration_words(value)
        case datetime():
            return time_words(value, zone)
        case int() | float():
            return number_words(value)
        case _:
            return str(value)


def time_words(instant: datetime, zone: ZoneInfo) -> str:
    """Return a moment in words: `Sat 2025-11-22 11:26 (Europe/Prague)`."""
    try:
        local = instant.astimezone(zone)
    except OverflowError:
        local, zone = instant, ZoneInfo("UTC")
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[local.weekday()]
    return f"{day} {local:%Y-%m-%d %H:%M} ({zone.key})"


def _saw_none_of(texts: tuple[Words, ...], field: Field) -> str:
    if not texts:
        return field.absent
    if len(texts) > 3:
        return f"none of the {len(texts)} did"
    quotes = listed((quoted(text.plain) for text in texts), "and")
    return f"it was {quotes}" if len(texts) == 1 else f"they were {quotes}"
