"""Rules that can never tell of a chat: conditions that exclude each other, an earlier rule that stops.

What is found is certain; not all that is certain is found. It only ever leads to warnings.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from relay.rules.book import Rule
from relay.rules.conditions import All, Always, AnyOf, Compare, CompareEach, Condition, Empty, Not
from relay.rules.operators import EXACTLY
from relay.rules.view import Words
from relay.rules.wording import number_words

MAX_CONDITIONS = 50
"""Of one rule; longer ones are not looked through, for the work grows with the square."""
MAX_COMPARED = 100_000
"""Pairs of conditions that are compared before the search is given up: about a fifth of a second."""

Range = tuple[float, bool, float, bool]
"""From, whether that itself belongs to it, to, whether that does. Durations in seconds."""
_ALL_NUMBERS: Range = (-math.inf, True, math.inf, True)


class TooMuch(Exception):
    """So many conditions were compared that the search is given up."""


class Reach:
    """One search through one file."""

    def __init__(self) -> None:
        self._left = MAX_COMPARED

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooMuch

    # -- conditions that exclude each other

    def why_never(self, conditions: Sequence[Condition]) -> str:
        """Why these can't hold together, in words; empty where they may. Raises TooMuch."""
        if _size(conditions) > MAX_CONDITIONS:
            return ""
        return self._why_never(tuple(_flat(conditions)))

    def _why_never(self, atoms: tuple[Condition, ...], beside: tuple[Condition, ...] = ()) -> str:
        """`beside` must hold too, and was looked through already."""
        for index, atom in enumerate(atoms):
            if why := _alone(atom) or self._excluded(atom, (*beside, *atoms[:index])):
                return why
            if isinstance(atom, Not) and all(
                self.implies((*beside, *atoms), part) for part in atom.parts
            ):
                return f"`not` takes back what {_words(atom.parts[0])} asks for"
        plain = (*beside, *(atom for atom in atoms if not isinstance(atom, AnyOf)))
        for atom in atoms:
            if isinstance(atom, AnyOf):
                whys = [self._why_never(tuple(_flat([part])), plain) for part in atom.parts]
                if all(whys):
                    return whys[0]
        return ""

    def _excluded(self, atom: Condition, others: Iterable[Condition]) -> str:
        for one in others:
            self._count()
            if _exclude(atom, one):
                return f"{_words(one)} and {_words(atom)} exclude each other"
        return ""

    # -- rules that are shadowed

    def shadows(self, rules: Iterable[Rule]) -> Iterator[tuple[Rule, Rule]]:
        """A rule, and an earlier one that holds whenever it does and then stops. Raises TooMuch."""
        stops: list[Rule] = []
        for rule in rules:
            if not rule.enabled or not 0 < _size(rule.conditions) <= MAX_CONDITIONS:
                continue
            atoms = tuple(_flat(rule.conditions))
            for earlier in stops:
                if all(self.implies(atoms, wanted) for wanted in earlier.conditions):
                    yield rule, earlier
                    break
            if rule.stop:
                stops.append(rule)

    def implies(self, given: Sequence[Condition], wanted: Condition) -> bool:
        """Whether `wanted` holds wherever all of the given conditions do. Raises TooMuch."""
        match wanted:
            case Always():
                return True
            case All():
                return all(self.implies(given, part) for part in wanted.parts)
            case AnyOf():
                if any(self.implies(given, part) for part in wanted.parts):
                    return True
        return any(self._implies(one, wanted) for one in given)

    def _implies(self, given: Condition, wanted: Condition) -> bool:
        self._count()
        if isinstance(given, AnyOf):
            return all(self.implies(tuple(_flat([part])), wanted) for part in given.parts)
        if isinstance(given, Not) and isinstance(wanted, Not):
            # What satisfies all of the wanted's parts must satisfy all of the given's.
            return all(self.implies(wanted.parts, part) for part in given.parts)
        return _atom_implies(given, wanted)


# -- pairs of conditions -----------------------------------------------------------------------------------


def _alone(atom: Condition) -> str:
    """A single condition that no value satisfies."""
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


def _exclude(one: Condition, other: Condition) -> bool:
    if not isinstance(one, _ABOUT) or not isinstance(other, _ABOUT) or one.field is not other.field:
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


def _atom_implies(given: Condition, wanted: Condition) -> bool:
    if not isinstance(given, _ABOUT) or not isinstance(wanted, _ABOUT):
        return False
    if given.field is not wanted.field:
        return False
    if isinstance(given, Empty) or isinstance(wanted, Empty):
        return isinstance(wanted, Empty) and _emptiness(given) is wanted.wanted
    return _compare_implies(given, wanted)


def _compare_implies(given: Compare | CompareEach, wanted: Compare | CompareEach) -> bool:
    if given.operator == wanted.operator:
        # Outside a list is outside all of it; of other lists one is enough.
        narrow, wide = (wanted, given) if given.operator == "outside" else (given, wanted)
        if _keys(narrow) <= _keys(wide):
            return True
    if given.operator == "is" and _compares_folded(wanted):
        return all(wanted.test(value) for value in given.operands)
    inner, outer = _range(given), _range(wanted)
    return _ALL_NUMBERS not in (inner, outer) and _within(inner, outer)


def _compares_folded(atom: Compare | CompareEach) -> bool:
    """Whether texts that `is` takes for the same are so for this operator too."""
    return atom.operator != "matches" and EXACTLY not in atom.operator


_ABOUT = (Compare, CompareEach, Empty)


def _flat(conditions: Iterable[Condition]) -> Iterator[Condition]:
    for condition in conditions:
        if isinstance(condition, All):
            yield from _flat(condition.parts)
        else:
            yield condition


def _size(conditions: Iterable[Condition]) -> int:
    return sum(
        _size(each.parts) if isinstance(each, All | AnyOf | Not) else 1 for each in conditions
    )


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


def _within(inner: Range, outer: Range) -> bool:
    return _low(inner) >= _low(outer) and (inner[2], inner[3]) <= (outer[2], outer[3])


def _low(one: Range) -> tuple[float, bool]:
    """To be compared: of two equal ends, the one that does not itself belong is the higher."""
    return one[0], not one[1]


def _words(atom: Condition) -> str:
    """A condition as an explanation calls it."""
    match atom:
        case Compare() | CompareEach():
            return f'"{atom.words}"'
        case Empty():
            return f"\"'{atom.field.name}' {'is empty' if atom.wanted else 'has a value'}\""
    return "a group of conditions"
