"""Finds rules that can never match: two conditions on one field exclude each other, or a value is out of range.

Every warning is certain, but not every such rule is found.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import combinations

from relay.rules.compared_values import Words
from relay.rules.conditions import All, Compare, CompareEach, Condition, Empty
from relay.rules.operators import EXACTLY
from relay.rules.reading.value_parsers import number_words

MAX_CONDITIONS = 50
"""The most conditions of a rule that are compared with each other: the work grows with their square."""

Range = tuple[float, bool, float, bool]
"""Lower bound, whether it is included, upper bound, whether it is included. Durations are in seconds."""
_ALL_NUMBERS: Range = (-math.inf, True, math.inf, True)


def contradiction(conditions: Sequence[Condition]) -> str:
    """Return why no chat can meet all of `conditions`; empty if one may.

    Conditions inside `any:` and `not:` are not examined.
    """
    atoms = [condition for condition in _flat(conditions) if isinstance(condition, _ABOUT)]
    if len(atoms) > MAX_CONDITIONS:
        return ""
    alone = (_out_of_range(atom) for atom in atoms)
    pairs = (
        f"{_words(first)} and {_words(second)} exclude each other"
        for first, second in combinations(atoms, 2)
        if _exclude(first, second)
    )
    return next((reason for reason in alone if reason), "") or next(pairs, "")


def _flat(conditions: Iterable[Condition]) -> Iterator[Condition]:
    for condition in conditions:
        if isinstance(condition, All):
            yield from _flat(condition.parts)
        else:
            yield condition


def _out_of_range(atom: Condition) -> str:
    """Return why no value can meet a condition; empty if one may."""
    if not isinstance(atom, Compare) or atom.field.limits is None:
        return ""
    lowest, highest = atom.field.limits
    if _overlap(_range(atom), (lowest, True, highest, True)) and _some_within(atom):
        return ""
    ends = f"{number_words(lowest)} to {number_words(highest)}"
    bounds = ends if math.isfinite(highest) else f"{number_words(lowest)} upwards"
    return f"{_words(atom)} matches no chat, '{atom.field.name}' goes from {bounds}"


def _some_within(atom: Compare) -> bool:
    lowest, highest = atom.field.limits or (-math.inf, math.inf)
    wanted = [value for value in atom.operands if isinstance(value, int | float)]
    return atom.operator != "is" or any(lowest <= value <= highest for value in wanted)


def _exclude(first: Compare | CompareEach | Empty, second: Compare | CompareEach | Empty) -> bool:
    if first.field is not second.field:
        return False
    if isinstance(first, Empty) or isinstance(second, Empty):
        return _emptiness(first) is not _emptiness(second)
    if isinstance(first, CompareEach) or isinstance(second, CompareEach):
        return False  # one element of the list may meet the one condition, another the other
    return _compares_exclude(first, second)


def _compares_exclude(first: Compare, second: Compare) -> bool:
    for some, rest in ((first, second), (second, first)):
        if some.operator == "is" and _compares_folded(rest):
            return not any(rest.test(value) for value in some.operands)
    if {first.operator, second.operator} == {"within", "outside"}:
        inside, outside = (first, second) if first.operator == "within" else (second, first)
        return _keys(inside) <= _keys(outside)
    return not _overlap(_range(first), _range(second))


def _emptiness(atom: "Compare | CompareEach | Empty") -> bool:
    return isinstance(atom, Empty) and atom.wanted


def _compares_folded(atom: Compare | CompareEach) -> bool:
    """Whether the operator treats texts as equal that `is` treats as equal."""
    return atom.operator != "matches" and EXACTLY not in atom.operator


_ABOUT = (Compare, CompareEach, Empty)
"""The types of conditions on a single field."""


def _keys(atom: Compare | CompareEach) -> set[object]:
    return {value.folded if isinstance(value, Words) else value for value in atom.operands}


def _range(atom: Compare | CompareEach) -> Range:
    """Return the range that a condition demands of a number or duration; all numbers for other conditions."""
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


def _overlap(first: Range, second: Range) -> bool:
    low, beyond = max(_low(first), _low(second))
    high, up_to = min((first[2], first[3]), (second[2], second[3]))
    return low < high or (low == high and up_to and not beyond)


def _low(bounds: Range) -> tuple[float, bool]:
    """Return a sort key for a lower bound: an excluded bound is higher than an equal included one."""
    return bounds[0], not bounds[1]


def _words(atom: Compare | CompareEach | Empty) -> str:
    """Return a condition in the words of `relay explain`."""
    if isinstance(atom, Empty):
        return f"\"'{atom.field.name}' {'is empty' if atom.wanted else 'has a value'}\""
    return f'"{atom.words}"'
