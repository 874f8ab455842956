"""Compares two texts by lines: for people, as a patch for `git apply`, and to merge the changes of two editors.

Also converts a form's text to bytes in which unchanged lines keep their bytes.
"""

import codecs
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

from msgspec import Struct

MOST_COMPARED = 100
"""The longest stretch of lines that is compared line by line, which takes quadratic time; a longer one counts as replaced."""
MOST_STRETCHES = 50
CONTEXT = 3
"""Lines shown around a change."""
_ENDING = re.compile(rb"\r\n|\n|\r")

Edit = tuple[int, int, int, int]
"""Four indices: the lines `[0:1]` of the first text are replaced by the lines `[2:3]` of the second."""


def edits(before: Sequence[Hashable], after: Sequence[Hashable]) -> list[Edit]:
    """The edits that turn `before` into `after`, from the top down. In bounded time, so not always the fewest lines."""
    left = MOST_STRETCHES
    all_edits: list[Edit] = []
    for edit in _stretches(before, after):
        a, b, c, d = edit
        if left and 0 < b - a <= MOST_COMPARED and 0 < d - c <= MOST_COMPARED:
            left -= 1
            matcher = SequenceMatcher(None, before[a:b], after[c:d], autojunk=False)
            all_edits += (
                (a + i1, a + i2, c + j1, c + j2)
                for tag, i1, i2, j1, j2 in matcher.get_opcodes()
                if tag != "equal"
            )
        else:
            all_edits.append(edit)
    return all_edits


def _stretches(before: Sequence[Hashable], after: Sequence[Hashable]) -> Iterator[Edit]:
    """The stretches between lines that are in both texts, once in each, in the same order."""
    ends = [(-1, -1), *_anchors(before, after), (len(before), len(after))]
    for (before_a, before_c), (end, other_end) in pairwise(ends):
        a, b, c, d = before_a + 1, end, before_c + 1, other_end
        while a < b and c < d and before[a] == after[c]:
            a, c = a + 1, c + 1
        while a < b and c < d and before[b - 1] == after[d - 1]:
            b, d = b - 1, d - 1
        if a < b or c < d:
            yield a, b, c, d


def _anchors(before: Sequence[Hashable], after: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The longest increasing sequence of pairs of lines that are unique in both texts."""
    unique = {line for line, count in Counter(before).items() if count == 1}
    unique &= {line for line, count in Counter(after).items() if count == 1}
    places = {line: number for number, line in enumerate(after) if line in unique}
    pairs = [(number, places[line]) for number, line in enumerate(before) if line in unique]
    ends: list[int] = []  # of rows of each length, the lowest place in which one ends
    last: list[int] = []  # the pair of that end
    came_from = [-1] * len(pairs)
    for index, (_, place) in enumerate(pairs):
        length = bisect_left(ends, place)
        came_from[index] = last[length - 1] if length else -1
        ends[length : length + 1] = [place]
        last[length : length + 1] = [index]
    row, index = [], last[-1] if last else -1
    while index >= 0:
        row.append(pairs[index])
        index = came_from[index]
    return row[::-1]


# -- for people ------------------------------------------------------------------------------------------------


class DiffLine(Struct, frozen=True):
    """A line of a comparison."""

    sign: str
    """`+`, `-`, or a blank for a line of both texts; `@` where lines are left out."""
    before: int
    """The line's number in the first text, from 1; 0 where it is not in it. (`after`: in the second text.)"""
    after: int
    text: str


def compared(before: str, after: str, context: int = CONTEXT) -> list[DiffLine]:
    """The lines that differ, with `context` lines around them."""
    old, new = before.split("\n"), after.split("\n")
    lines: list[DiffLine] = []
    for hunk in _hunks(edits(old, new), context):
        a, _, c, _ = hunk[0]
        lines.append(DiffLine("@", max(a - context, 0) + 1, max(c - context, 0) + 1, ""))
        lines += _lines_of(hunk, old, new, context)
    return lines


def _hunks(all_edits: Sequence[Edit], context: int) -> Iterator[list[Edit]]:
    hunk: list[Edit] = []
    for edit in all_edits:
        if hunk and edit[0] - hunk[-1][1] > 2 * context:
            yield hunk
            hunk = []
        hunk.append(edit)
    if hunk:
        yield hunk


def _lines_of(
    hunk: Sequence[Edit], old: Sequence[str], new: Sequence[str], context: int
) -> Iterator[DiffLine]:
    at = max(hunk[0][0] - context, 0)
    other = hunk[0][2] - (hunk[0][0] - at)
    end = min(hunk[-1][1] + context, len(old))
    for a, b, c, d in [*hunk, (end, end, 0, 0)]:
        while at < a:
            yield DiffLine(" ", at + 1, other + 1, old[at])
            at, other = at + 1, other + 1
        for number in range(a, b):
            yield DiffLine("-", number + 1, 0, old[number])
        for number in range(c, d):
            yield DiffLine("+", 0, number + 1, new[number])
        at, other = max(at, b), max(other, d)


# -- for git ---------------------------------------------------------------------------------------------------


def git_patch(before: bytes, after: bytes, name: str) -> bytes:
    """A patch that `git apply` accepts in the folder of the file `name`; empty where nothing differs."""
    old, new = _by_newline(before), _by_newline(after)
    parts = []
    for hunk in _hunks(edits(old, new), CONTEXT):
        start = max(hunk[0][0] - CONTEXT, 0)
        other = hunk[0][2] - (hunk[0][0] - start)
        end = min(hunk[-1][1] + CONTEXT, len(old))
        other_end = hunk[-1][3] + end - hunk[-1][1]
        parts.append(f"@@ -{_range(start, end)} +{_range(other, other_end)} @@\n".encode())
        at = start
        for a, b, c, d in [*hunk, (end, end, 0, 0)]:
            parts += (_patch_line(b" ", line) for line in old[at:a])
            parts += (_patch_line(b"-", line) for line in old[a:b])
            parts += (_patch_line(b"+", line) for line in new[c:d])
            at = b
    if not parts:
        return b""
    old_name, new_name = _quoted(f"a/{name}"), _quoted(f"b/{name}")
    head = f"diff --git {old_name} {new_name}\n--- {old_name}\n+++ {new_name}\n"
    return head.encode() + b"".join(parts)


def _by_newline(source: bytes) -> list[bytes]:
    lines = source.split(b"\n")
    return [*(line + b"\n" for line in lines[:-1]), *([lines[-1]] if lines[-1] else [])]


def _range(start: int, end: int) -> str:
    """A range in the format of diff, in which an empty range has the number of the line before it."""
    return f"{start + 1 if end > start else start},{end - start}"


def _patch_line(sign: bytes, line: bytes) -> bytes:
    return (
        sign + line if line.endswith(b"\n") else sign + line + b"\n\\ No newline at end of file\n"
    )


def _quoted(name: str) -> str:
    if re.fullmatch(r"[\w./+@-]+", name, re.ASCII):
        return name
    octal = (
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}"
        for byte in name.encode()
    )
    return f'"{"".join(octal)}"'


# -- two who change one text --------------------------------------------------------------------------------------


def merged(base: str, theirs: str, mine: str) -> str | None:
    """`theirs` with the changes from `base` to `mine`; None where both change the same or neighbouring lines."""
    old, others = base.split("\n"), {"theirs": theirs.split("\n"), "mine": mine.split("\n")}
    changes = [
        (a, b, tuple(lines[c:d])) for lines in others.values() for a, b, c, d in edits(old, lines)
    ]
    # Both may have made the same change.
    in_order = sorted(set(changes))
    if any(first[1] >= second[0] for first, second in pairwise(in_order)):
        return None
    result, at = list[str](), 0
    for a, b, lines in in_order:
        result += [*old[at:a], *lines]
        at = b
    return "\n".join([*result, *old[at:]])


# -- what comes by a form ------------------------------------------------------------------------------------------


def to_text(source: bytes) -> str:
    """A file's text for a form: without byte order mark, and with lines that end with a newline only."""
    text = source.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    return with_newlines(text)


def with_newlines(text: str) -> str:
    """The text with lines that end with a newline only; browsers send others."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def as_written(text: str, like: bytes) -> bytes:
    """The bytes of a form's text. Lines that are in `like` keep their bytes; new lines end as most lines there."""
    text = with_newlines(text)
    body = like.removeprefix(codecs.BOM_UTF8)
    mark = like[: len(like) - len(body)]
    old = _raw_lines(body)
    endings = Counter(ending for _, ending in old if ending)
    usual = endings.most_common(1)[0][0] if endings else b"\n"
    before = [line.decode("utf-8", "replace") + "\n" * bool(ending) for line, ending in old]
    lines = text.split("\n")
    after = [*(line + "\n" for line in lines[:-1]), *([lines[-1]] if lines[-1] else [])]
    parts, at = [mark], 0
    for a, b, c, d in edits(before, after):
        parts += (line + ending for line, ending in old[at:a])
        parts += (
            line.removesuffix("\n").encode("utf-8", "replace") + usual * line.endswith("\n")
            for line in after[c:d]
        )
        at = b
    parts += (line + ending for line, ending in old[at:])
    return b"".join(parts)


def _raw_lines(body: bytes) -> list[tuple[bytes, bytes]]:
    """Each line with its line ending, which is empty for a last line without one."""
    lines, at = list[tuple[bytes, bytes]](), 0
    for match in _ENDING.finditer(body):
        lines.append((body[at : match.start()], match.group()))
        at = match.end()
    return [*lines, (body[at:], b"")] if at < len(body) else lines
