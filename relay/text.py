"""Cleaning and cutting of text that somebody else typed.

Everything from a hook passes `clean` once, when it is read; every medium cuts with `cut`, by its own cost.
"""

import re
from collections.abc import Callable, Iterator

import regex

ELLIPSIS = "…"

# Controls, bidi overrides (they turn a line around and hide what is there), lone surrogates
# (they crash every encoder) and the two non-characters that XML and Slack refuse.
_DIRTY = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_BREAKS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_UNSENDABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_VISIBLE = regex.compile(
    # A braille pattern without a dot is no white space, and yet nothing is to be seen.
    r"[^\p{White_Space}\p{Default_Ignorable_Code_Point}\p{Cc}\u2800]"
)
_MARKS = re.compile("[\u200e\u200f]")
# Flags by themselves: before each of them \X counts back to the first of its run, which takes minutes for many.
_GRAPHEME = regex.compile(r"\p{GCB=Regional_Indicator}{2}(?=\p{GCB=Regional_Indicator})|\X")


def clean(text: str) -> str:
    """Text of any origin, safe to encode and to show: line breaks are LF, no controls but LF and TAB."""
    # Most text is done with in one look: what isprintable lets pass holds nothing of what _DIRTY finds.
    if text.isprintable() or text.replace("\n", "").replace("\xa0", "").isprintable():
        return text
    if not _DIRTY.search(text):
        return text
    if _SURROGATES.search(text):
        # Halves that belong together are joined; a lone one becomes U+FFFD.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _DIRTY.sub("", _BREAKS.sub("\n", text))


def is_blank(text: str) -> bool:
    """Whether nothing of it can be seen: empty, white space, characters without width."""
    return not text or not ("!" <= text[0] <= "~" or _VISIBLE.search(text))


def unsendable(text: str) -> str:
    """The first character that stands for nothing and can't be encoded or shown, as `U+D800`; empty where there is none."""
    # None of these is printable, and most text is nothing else.
    found = None if text.isprintable() else _UNSENDABLE.search(text)
    return f"U+{ord(found.group()):04X}" if found else ""


def clean_line(text: str, limit: int = 500) -> str:
    """The same on one line: white space folded, at most `limit` graphemes."""
    if text.isprintable():  # no white space but the blank, and no marks
        line = text if "  " not in text and text == text.strip(" ") else " ".join(text.split())
    else:
        line = " ".join(_MARKS.sub("", clean(text)).split())
    return line if len(line) <= limit else cut(line, limit)


def graphemes(text: str) -> Iterator[str]:
    """What a reader takes for one character each: an emoji with its skin tone stays whole."""
    return (match.group() for match in _GRAPHEME.finditer(text))


def cut(text: str, budget: int, cost: Callable[[str], int] = len, *, mark: str = ELLIPSIS) -> str:
    """As much of `text` as `budget` pays for, ended with `mark` where something was left out.

    `cost` says what a piece of text costs in the medium (characters, bytes, after escaping); it must be
    additive. Never cuts inside a grapheme. The mark is part of the budget.
    """
    if cost(text) <= budget:
        return text
    room = budget - cost(mark)
    if room < 0:
        return ""
    end = 0
    for piece in graphemes(text):
        room -= cost(piece)
        if room < 0:
            break
        end += len(piece)
    return text[:end].rstrip() + mark


_COMMAND = re.compile(r"`(relay [a-z][^`\n]*)`")


def with_commands(text: str) -> Iterator[tuple[str, bool]]:
    """Its pieces in their order, and whether each is a command of the relay's: "Run `relay check`." has three."""
    for place, piece in enumerate(_COMMAND.split(text)):
        if piece:
            yield piece, place % 2 == 1
