"""Rules that can never hold, because two of their conditions on one field exclude each other or a value is out of range.

What is found is certain; not all that is certain is found. It only ever leads to warnings.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import combinations

from relay.rules.chat_view import Words
from relay.rules.conditions import All, Compare, CompareEach, Condition, Empty
from relay.rules.operators import EXACTLY
from relay.rules.reading.phrases import number_words

MAX_CONDITIONS = 50
"""Of one rule; longer ones are not looked through, for the work grows with the square."""

Range = tuple[float, bool, float, bool]
"""From, whether that itself belongs to it, to, whether that does. Durations in seconds."""
_ALL_NUMBERS: Range = (-math.inf, True, math.inf, True)


def why_never(conditions: Sequence[Condition]) -> str:
    """Why no chat satisfies all of these conditions, in words; empty where one may.

    Groups below `any:` and `not:` are not looked into.
    """
    atoms = [each for each in _flat(conditions) if isinstance(each, _ABOUT)]
    if len(atoms) > MAX_CONDITIONS:
        return ""
    alone = (_out_of_range(atom) for atom in atoms)
    pairs = (
        f"{_words(one)} and {_words(other)} exclude each other"
        for one, other in combinations(atoms, 2)
        if _exclude(one, other)
    )
    return next((why for why in alone if why), "") or next(pairs, "")


def _flat(conditions: Iterable[Condition]) -> Iterator[Condition]:
    for condition in conditions:
        if isinstance(condition, All):
            yield from _flat(condition.parts)
        else:
            yield condition


def _out_of_range(atom: Condition) -> str:
    """Why no value satisfies a single condition, in words; empty where one may."""
    if not isinstance(atom, Compare) or atom.field.limits is None:
        return ""
    lowest, highest = atom.field.limits
    if _overlap(_range(atom), (lowest, True, highest, True)) and _some_within(atom):
        return ""
    ends = f"{number_words(lowest)} to {number_words(highest)}"
    bounds = ends if math.isfinite(highest) else f"{number_words(lowest)} upwards"
    return f"{_words(atom)} holds for no chat, '{atom.field.name}' goes from {bounds}"


def _some_within(atom: Compare) -> bool:
    lowest, highest = atom.field.limits or (-math.inf, math.inf)
    wanted = [value for value in atom.operands if isinstance(value, int | float)]
    return atom.operator != "is" or any(lowest <= value <= highest for value in wanted)


def _exclude(one: Compare | CompareEach | Empty, other: Compare | CompareEach | Empty) -> bool:
    if one.field is not other.field:
        return False
    if isinstance(one, Empty) or isinstance(other, Empty):
        return _emptiness(one) is not _emptiness(other)
    if isinstance(one, CompareEach) or isinstance(other, CompareEach):
        return False  # of a list, one element may satisfy the one, and another the other
    return _compares_exclude(one, other)


def _compares_exclude(one: Compare, other: Compare) -> bool:
    for some, rest in ((one, other), (other, one)):
        if some.operator == "is" and _compares_folded(rest):
            return not any(rest.test(value) for value in some.operands)
    if {one.operator, other.operator} == {"within", "outside"}:
        inside, outside = (one, other) if one.operator == "within" else (other, one)
        return _keys(inside) <= _keys(outside)
    return not _overlap(_range(one), _range(other))


def _emptiness(atom: "Compare | CompareEach | Empty") -> bool:
    return isinstance(atom, Empty) and atom.wanted


def _compares_folded(atom: Compare | CompareEach) -> bool:
    """Whether texts that `is` takes for the same are so for this operator too."""
    return atom.operator != "matches" and EXACTLY not in atom.operator


_ABOUT = (Compare, CompareEach, Empty)
"""The conditions about one field."""


def _keys(atom: Compare | CompareEach) -> set[object]:
    return {value.folded if isinstance(value, Words) else value for value in atom.operands}


def _range(atom: Compare | CompareEach) -> Range:
    """What a number or a duration must be within; every number where that is not asked."""
    sizes = [
        _size_of(value) for value in atom.operands if isinstance(value, int | float | timedelta)
    ]
    if len(sizes) != len(atom.operands) or not sizes:
        return _ALL_NUMBERS
    match atom.operator:
        case "at_least" | "more_than":
            return (min(sizes), atom.operator == "at_least", math.inf, True)
        case "at_most" | "less_than":
            return (-math.inf, True, max(sizes), atom.operator == "at_most")
    return _ALL_NUMBERS


def _size_of(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _overlap(one: Range, other: Range) -> bool:
    low, beyond = max(_low(one), _low(other))
    high, up_to = min((one[2], one[3]), (other[2], other[3]))
    return low < high or (low == high and up_to and not beyond)


def _low(one: Range) -> tuple[float, bool]:
    """To be compared: of two equal ends, the one that does not itself belong is the higher."""
    return one[0], not one[1]


def _words(atom: Compare | CompareEach | Empty) -> str:
    """A condition as `relay explain` calls it."""
    if isinstance(atom, Empty):
        return f"\"'{atom.field.name}' {'is empty' if atom.wanted else 'has a value'}\""
    return f'"{atom.words}"'
