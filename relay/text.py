"""Cleaning, cutting and setting off of text that somebody else typed.

Everything from a hook passes `clean` once, when it is read; every medium cuts with `cut`, by its own cost. Where such
text stands in a sentence of ours, `isolated` keeps the order of the words around it.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import regex

ELLIPSIS = "…"
ISOLATE, END_OF_ISOLATE = "\u2068", "\u2069"
"""What stands between them has its own direction and leaves that of the line alone (Unicode's annex 9)."""

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
_STRONG = regex.compile(r"([\p{Bidi_Class=R}\p{Bidi_Class=AL}])|\p{Bidi_Class=L}")
_MARKS = re.compile("[\u200e\u200f]")
_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
_ISOLATED = re.compile(f"({ISOLATE}[^\u2066-\u2069\\n]*{END_OF_ISOLATE})")
_FROM_THE_RIGHT = regex.compile(r"[\p{Bidi_Class=R}\p{Bidi_Class=AL}\p{Bidi_Class=AN}]")
_MAY_BE_FROM_THE_RIGHT = re.compile(
    "[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
"""The blocks that Unicode keeps for such scripts: looking for these takes a third of the time, and most text has none."""
_FROM_THE_LEFT = regex.compile(r"[\p{Bidi_Class=L}\p{Bidi_Class=EN}]")
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


def tidy(text: str) -> str:
    """Text of our own making as `clean` makes it, but what `isolated` set off in it stays so."""
    if ISOLATE not in text:
        return clean(text)
    pieces = _ISOLATED.split(text)
    pieces[::2] = map(clean, pieces[::2])
    pieces[1::2] = [f"{ISOLATE}{clean(piece)}{END_OF_ISOLATE}" for piece in pieces[1::2]]
    return "".join(pieces)


def isolated(text: str, *, rtl: bool = False) -> str:
    """Somebody's text for a sentence that runs from left to right, or with `rtl` from right to left.

    Each line with letters of the other direction is put between isolates, so that it turns nothing around it; text
    that holds isolates already stays as it is.
    """
    is_plain = not rtl and (text.isascii() or not _MAY_BE_FROM_THE_RIGHT.search(text))
    if is_plain or ISOLATE in text:
        return text
    other = _FROM_THE_LEFT if rtl else _FROM_THE_RIGHT
    if not other.search(text):
        return text
    return "\n".join(
        f"{ISOLATE}{line}{END_OF_ISOLATE}" if other.search(line) else line
        for line in text.split("\n")
    )


def trimmed(text: str) -> str:
    """A text without the blank lines before it and all white space behind it: the first line keeps its indentation."""
    return (_BLANK_LINES.sub("", text) if text[:1].isspace() else text).rstrip()


def without_isolate(text: str) -> str:
    """What one isolate around all of `text` holds; else `text` itself."""
    return text[1:-1] if _ISOLATED.fullmatch(text) else text


def is_blank(text: str) -> bool:
    """Whether nothing of it can be seen: empty, white space, characters without width."""
    return not text or not ("!" <= text[0] <= "~" or _VISIBLE.search(text))


def starts_from_right(text: str) -> bool:
    """Whether its first letter belongs to a script that is written from right to left, such as Hebrew or Arabic."""
    if text.isascii():
        return False
    letter = _STRONG.search(text)
    return letter is not None and letter[1] is not None


def unsendable(text: str) -> str:
    """The first character that stands for nothing and can't be encoded or shown, as `U+D800`; empty where there is none."""
    # None of these is printable, and most text is nothing else.
    found = None if text.isprintable() else _UNSENDABLE.search(text)
    return f"U+{ord(found.group()):04X}" if found else ""


def clean_line(text: str, limit: int = 500) -> str:
    """`clean` text on one line: white space folded, at most `limit` graphemes."""
    return _on_one_line(text, limit, clean)


def tidy_line(text: str, limit: int = 500) -> str:
    """`tidy` text on one line: white space folded, at most `limit` graphemes."""
    return _on_one_line(text, limit, tidy)


def _on_one_line(text: str, limit: int, cleaned: Callable[[str], str]) -> str:
    if text.isprintable():  # no white space but the blank, no marks and no isolates
        line = text if "  " not in text and text == text.strip(" ") else " ".join(text.split())
    else:
        line = " ".join(_MARKS.sub("", cleaned(text)).split())
    return line if len(line) <= limit else cut(line, limit)


def graphemes(text: str) -> Iterator[str]:
    """What a reader takes for one character each: an emoji with its skin tone stays whole."""
    return (match.group() for match in _GRAPHEME.finditer(text))


def cut(text: str, budget: int, cost: Callable[[str], int] = len, *, mark: str = ELLIPSIS) -> str:
    """As much of `text` as `budget` pays for, ended with `mark` where something was left out.

    `cost` says what a piece of text costs in the medium (characters, bytes, after escaping); it must be
    additive. Never cuts inside a grapheme, and ends an isolate that it cuts into. The mark is part of the budget.
    """
    if cost(text) <= budget:
        return text
    if ISOLATE in text:
        budget -= cost(END_OF_ISOLATE)
    room = budget - cost(mark)
    if room < 0:
        return ""
    end = 0
    for piece in graphemes(text):
        room -= cost(piece)
        if room < 0:
            break
        end += len(piece)
    left = text[:end].rstrip()
    is_open = left.rfind(ISOLATE) > left.rfind(END_OF_ISOLATE)
    return left + mark + END_OF_ISOLATE * is_open


_COMMAND = re.compile(r"`(relay [a-z][^`\n]*)`")


def with_commands(text: str) -> Iterator[tuple[str, bool]]:
    """The pieces of a text in their order, and whether each is a command of the relay: "Run `relay check`." has three."""
    for place, piece in enumerate(_COMMAND.split(text)):
        if piece:
            yield piece, place % 2 == 1


def nearest(word: str, known: Iterable[str], count: int = 3, alike: float = 0.7) -> list[str]:
    """The names that `word` was probably meant to be. Bounded: looking for them costs by both lengths."""
    if len(word) > 60:
        return []
    # Compared without case and with - for _, which is how people misremember names.
    few = islice((name for name in known if len(name) <= 60), 500)
    plain = {name.casefold().replace("-", "_"): name for name in few}
    near = difflib.get_close_matches(
        word.casefold().replace("-", "_"), plain, n=count, cutoff=alike
    )
    return [plain[name] for name in near]
