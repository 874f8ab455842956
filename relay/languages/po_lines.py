"""The lines of a PO file, as far as Babel reads over what nobody can have meant: a quote left open, no msgstr."""

import re
from collections.abc import Iterator

from babel.messages.pofile import denormalize

_WORD = r"msgctxt|msgid|msgid_plural|msgstr|msgstr\[[0-9]+\]"
_LINE = re.compile(rf'(?:(?P<word>{_WORD})\s*)?(?P<text>"(?:[^"\\]|\\.)*")')
_MAY_FOLLOW = {
    "msgctxt": ("", "msgstr"),
    "msgid": ("", "msgctxt", "msgstr"),
    "msgid_plural": ("msgid",),
    "msgstr": ("msgid", "msgid_plural", "msgstr"),
}
_MOST_SHOWN = 30


class OddLine(ValueError):
    """Says which line, from 1, and what is odd about it."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(line, what)
        self.line = line
        self.what = what


def check_lines(text: str) -> None:
    """Raises OddLine for the first that can't be read as it was meant."""
    before, number = "", 0
    for number, found in _lines(text):
        word = (found["word"] or "").partition("[")[0]
        if word and before not in _MAY_FOLLOW[word]:
            raise OddLine(number, f"{word} stands where {_wanted(before)} was to come")
        if not word and not before:
            raise OddLine(number, "nothing says what this text is; write msgid or msgstr before it")
        before = word or before
    if before not in ("", "msgstr"):
        raise OddLine(number, f"the file ends where {_wanted(before)} was to come")


def texts_in(text: str) -> Iterator[tuple[int, str]]:
    """Each msgid, with the line where it begins. The lines were checked."""
    begun = 0
    parts: list[str] = []
    for number, found in _lines(text):
        if begun and found["word"]:
            yield begun, denormalize("\n".join(['""', *parts]))
            begun = 0
        if found["word"] == "msgid":
            begun, parts = number, []
        parts.append(found["text"])


def _lines(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Those that say something."""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        found = _LINE.fullmatch(stripped)
        if found is None:
            raise OddLine(number, _what_is_odd(stripped))
        yield number, found


def _wanted(before: str) -> str:
    return "msgid" if before in ("", "msgctxt", "msgstr") else "msgstr"


def _what_is_odd(line: str) -> str:
    begun = re.match(rf"(?:{_WORD})(?=[\s\"]|$)", line)
    text = line[begun.end() :].strip() if begun else line
    if not begun and not line.startswith('"'):
        word = line.split(maxsplit=1)[0][:_MOST_SHOWN]
        return f"{word!r} stands here; a line begins with msgid, msgstr, # or a quotation mark"
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return 'a text begins and ends with a quotation mark: "..."'
    return 'a quotation mark within a text is written \\"'
