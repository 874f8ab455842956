"""The form in which texts are compared: what people type in different ways for the same thing does not count.

Case, accents, spacing, quotes, dashes and invisible characters, and the ways in which Unicode can write one character.
"""

import re
import unicodedata

_APOSTROPHES = "`´‘’‚‛′‵‹›ʹʻʼʽˈˊˋ՚׳＇"  # noqa: RUF001
_QUOTES = "“”„‟«»″‶〝〞〟❝❞״＂「」『』"  # noqa: RUF001
TYPOGRAPHIC = f"{_APOSTROPHES}{_QUOTES}"
"""Quotes of every kind but the two that a keyboard has."""
_DASHES = "֊־᐀᠆‐‑‒–—―⁻₋−⸗⸚⸺⸻⹀⹝〜〰゠︱︲﹘﹣－"  # noqa: RUF001
_INVISIBLE = (
    "\u00ad\u034f\u0640\u115f\u1160\u17b4\u17b5\u3164\ufeff\uffa0\u061c",  # \u0640 only makes Arabic words longer
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\U000e0000-\U000e0fff",
)  # fmt: skip
"""What Unicode calls default ignorable, with the soft hyphen and the joiners."""
_ALIKE = {
    **dict.fromkeys(_APOSTROPHES, "'"),
    **dict.fromkeys(_QUOTES, '"'),
    **dict.fromkeys(_DASHES, "-"),
}
_SPECIAL = re.compile(f"[{re.escape(''.join(_ALIKE))}{''.join(_INVISIBLE)}]")
# Marks that may be left out in typing: those over and under Latin, Greek and Cyrillic letters, the points of Hebrew and
# Arabic. In other scripts, such as Thai, Devanagari or Japanese, a mark makes another syllable.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u08d3-\u08e1\u08e3-\u08ff\u1ab0-\u1ace\u1dc0-\u1dff"
    "\u20d0-\u20f0\ufe20-\ufe2f]"
)
_WITH_MARKS = (("и\u0306", "й"), ("у\u0306", "ў"), ("і\u0308", "ї"))  # noqa: RUF001
"""Letters of their own, which nobody types without their marks."""
_WITH_STROKES = (
    *zip("ıłøđðħŧŋ", "iloddhtn", strict=True),
    *(("æ", "ae"), ("œ", "oe"), ("þ", "th")),
)
"""Letters that Unicode does not take apart, with what is typed for them."""


def fold(text: str) -> str:
    """The form in which two texts are compared, unless a rule says `exactly`."""
    if text.isascii():
        return spaced(text.casefold().replace("`", "'"))
    # The accent by itself and some quotes fall apart below, so they are looked for first.
    text = _SPECIAL.sub(_alike, text.casefold())
    text = unicodedata.normalize("NFKD", text).casefold()
    text = unicodedata.normalize("NFKD", text)
    for apart, letter in _WITH_MARKS:
        text = text.replace(apart, letter)
    text = _ACCENTS.sub("", text)
    for letter, typed in _WITH_STROKES:
        text = text.replace(letter, typed)
    return spaced(unicodedata.normalize("NFC", text))


def fold_case(text: str) -> str:
    """Without regard to case and spacing only."""
    # Twice, for folding can undo the normal form (UAX 15; caseless matching of the Unicode Standard 3.13).
    text = unicodedata.normalize("NFKC", text)
    return spaced(unicodedata.normalize("NFKC", text.casefold()).casefold())


def spaced(text: str) -> str:
    """With one blank for all white space in between."""
    return " ".join(text.split())


def _alike(found: re.Match[str]) -> str:
    return _ALIKE.get(found.group(), "")
