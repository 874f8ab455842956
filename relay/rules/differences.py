"""What is different between two texts of a rules file, and who may change it."""

from collections.abc import Iterator, Sequence

from relay.rules.reading.document import (
    Items,
    Node,
    Table,
    Text,
    Unreadable,
    member,
    read_document,
)
from relay.rules.reading.problem import Place, Problem, Problems, TooManyProblems

FOR_ADMINS = ("destinations", "alerts_to", "recipient_domains")
"""What decides where words of visitors may go: an editor sends to what is there."""


def changes_for_admins(allowed: Sequence[bytes], source: bytes, path: str) -> list[Problem]:
    """A problem for each place of a rules file that an editor may not change, and that differs.

    `allowed`: texts of the file, of which the first that can be read is compared with `source`.
    """
    before = next((node for text in allowed if (node := _document(text)) is not None), None)
    after = _document(source)
    found = []
    for key in FOR_ADMINS:
        old, new = member(before, key), member(after, key)
        for at, spot in _different(old, new, key, after):
            what = f"`{at}` can only be changed by an admin"
            found.append(
                Problem(path=path, line=spot.line, column=spot.column, what=what, hint=_HINT)
            )
    return found


_HINT = "leave it as it was, or ask an admin to publish this"


def _document(source: bytes) -> Node | None:
    try:
        return read_document(source, Problems(""))
    except (Unreadable, TooManyProblems):
        return None


def _different(
    old: Node | None, new: Node | None, at: str, within: Node | None
) -> Iterator[tuple[str, Node | Place]]:
    """Where two nodes differ, and what stands there now; `within`: around it, where nothing stands there any more."""
    match old, new:
        case Table(), Table():
            for name in dict.fromkeys((*old.entries, *new.entries)):
                yield from _different(member(old, name), member(new, name), f"{at}.{name}", new)
        case Items(), Items() if len(old.nodes) == len(new.nodes):
            for number, (one, other) in enumerate(zip(old.nodes, new.nodes, strict=True)):
                yield from _different(one, other, f"{at}[{number}]", new)
        case Text(), Text() if (old.value, old.missing) == (new.value, new.missing):
            return
        case None, None:
            return
        case _:
            yield at, new or within or Place("")
