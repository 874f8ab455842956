"""A template's own JSON for Slack or Teams, in which the values still stand apart from what its author wrote.

    slack.json -> (templating) a tree, its values not put in yet -> (transports) each value in its place -> a post

A value can only stand within a JSON string, so it never is structure. Which signs mean something there, only the
transport knows: it puts the values in, and so decides for each place what they become.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.notification import Notification
from relay.text import cut

Json = dict[str, Any]
CAPS = (2_000, 800, 300, 120, 50, 20)
"""How long a value may be, tried in turn until the whole fits."""


class Misfit(Exception):
    """Something in the tree that the far end would not take. `at`: where in the JSON, in characters."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(what, at)
        self.what = what
        self.at = at


@dataclass(frozen=True, slots=True)
class Value:
    """What the chat says, as it is: nothing of it is escaped."""

    text: str


@dataclass(frozen=True, slots=True)
class Mixed:
    """A JSON string with values in it; a text in between is the author's own."""

    parts: tuple[str | Value, ...]
    at: int


class Object(dict[str, Any]):
    """A JSON object that knows where it begins. A string without values is a plain one."""

    def __init__(self, members: Mapping[str, Any], at: int) -> None:
        super().__init__(members)
        self.at = at


Finish = Callable[[Object, Notification], Json]
"""A transport's own: the tree -> the part of a post that it takes the place of. Raises Misfit."""

Write = Callable[[Object, str, Mixed], str]
"""The text of a string: the object that it stands in, under which name, and itself. Raises Misfit."""


def written(node: Any, write: Write) -> Any:  # noqa: ANN401 - JSON
    """Plain JSON, each string with values in it as `write` writes it."""
    if isinstance(node, Object):
        return {
            name: write(node, name, member) if isinstance(member, Mixed) else written(member, write)
            for name, member in node.items()
        }
    if isinstance(node, Mixed):
        raise Misfit("a value can't be used in a list; it stands in a text", node.at)
    return [written(member, write) for member in node] if isinstance(node, list) else node


def objects(node: Any) -> Iterator[Object]:  # noqa: ANN401 - JSON
    """All objects of a tree, from the outside in."""
    if isinstance(node, Object):
        yield node
    for member in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from objects(member)


def author(node: Object, name: str) -> str:
    """A text that only the template's author may have written: it decides what the object is.

    Raises Misfit. Empty where there is none.
    """
    text = node.get(name, "")
    if isinstance(text, Mixed):
        raise Misfit(f'a value can\'t be used in "{name}"', text.at)
    return text if isinstance(text, str) else ""


def cut_to_fit(mixed: Mixed, room: int, cost: Callable[[str], int]) -> list[str | Value]:
    """The parts with the longest values cut, so that the whole costs no more than `room` if values can help it."""
    left = room - sum(cost(part) for part in mixed.parts if isinstance(part, str))
    costs = [cost(part.text) for part in mixed.parts if isinstance(part, Value)]
    limit = _limit(costs, max(left, 0))
    return [
        Value(cut(part.text, limit, cost)) if isinstance(part, Value) else part
        for part in mixed.parts
    ]


def _limit(costs: Sequence[int], room: int) -> int:
    """The most that each may cost, so that all together fit: short ones leave their share to the others."""
    left = room
    waiting = sorted(costs)
    for place, cost in enumerate(waiting):
        share = left // (len(waiting) - place)
        if cost > share:
            return share
        left -= cost
    return room


def shrunk(fill: Callable[[int], Json], objection: Callable[[Json], Misfit | None]) -> Json:
    """What `fill` makes with values of at most so many characters, the longest to which there is no objection.

    Raises Misfit.
    """
    last = Misfit("is too long", 0)
    for cap in CAPS:
        made = fill(cap)
        found = objection(made)
        if found is None:
            return made
        last = found
    raise last
