"""Reads a catalogue as translators edit it (`cs.po`): its translations, and its mistakes.

A mistake invalidates only the text that contains it; a file that is no PO file is ignored as a
whole. Mistakes are returned, not raised.
"""

import gettext
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path

from babel import Locale
from babel.messages import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, denormalize, read_po

from relay.files import leads_out_of, line_of, read_file
from relay.languages.tags import name_of
from relay.text import unsendable

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
    """Raised for a line of a catalogue that can't be read; has the line number, from 1, and the reason."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(line, message)
        self.line = line
        self.message = message


def check_lines(text: str) -> None:
    """Check each line of a catalogue, more strictly than Babel does.

    Raises OddLine for the first line with an error, such as an unclosed quote or a missing msgstr.
    """
    before, number = "", 0
    for number, match in lines_in(text):
        word = (match["word"] or "").partition("[")[0]
        if word and before not in _MAY_FOLLOW[word]:
            raise OddLine(number, f"{word} stands where {_wanted(before)} was to come")
        if not word and not before:
            raise OddLine(number, "nothing says what this text is; write msgid or msgstr before it")
        before = word or before
    if before not in ("", "msgstr"):
        raise OddLine(number, f"the file ends where {_wanted(before)} was to come")


def texts_in(text: str) -> Iterator[tuple[int, str]]:
    """Yield the msgids of a checked catalogue, each with the number of its first line."""
    begun = 0
    parts: list[str] = []
    for number, match in lines_in(text):
        if begun and match["word"]:
            yield begun, denormalize("\n".join(['""', *parts]))
            begun = 0
        if match["word"] == "msgid":
            begun, parts = number, []
        parts.append(match["text"])


def lines_in(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield a match for each line that is neither blank nor a comment, each with its number, from 1.

    Raises OddLine.
    """
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            raise OddLine(number, _line_problem(stripped))
        yield number, match


def _wanted(before: str) -> str:
    return "msgid" if before in ("", "msgctxt", "msgstr") else "msgstr"


def _line_problem(line: str) -> str:
    begun = re.match(rf"(?:{_WORD})(?=[\s\"]|$)", line)
    text = line[begun.end() :].strip() if begun else line
    if not begun and not line.startswith('"'):
        word = line.split(maxsplit=1)[0][:_MOST_SHOWN]
        return f"{word!r} stands here; a line begins with msgid, msgstr, # or a quotation mark"
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return 'a text begins and ends with a quotation mark: "..."'
    return 'a quotation mark within a text is written \\"'


MAX_SIZE = 1_000_000
"""The largest catalogue in bytes. All texts of the relay take 40,000."""
PLACE = re.compile(r"\{(\w+)\}")
MOST_FORMS = 6
"""The most plural forms that a language may have; Arabic has this many."""
_COUNT = "{count}"
COUNTS = range(201)
"""The numbers with which plural forms are tested."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in a catalogue. Its text has the form `file:line: problem`, which editors can open."""

    file: str
    line: int
    message: str
    harmless: bool = False
    """Whether the mistake may be intended and is only a warning."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The translations of a catalogue file, and the mistakes in it."""

    entries: Catalog
    """The translated messages that have no mistakes."""
    mistakes: tuple[Mistake, ...] = ()

    def translations(self) -> gettext.NullTranslations:
        """Return the translations in the form of Python's `gettext`."""
        compiled = BytesIO()
        write_mo(compiled, self.entries)
        compiled.seek(0)
        return gettext.GNUTranslations(compiled)


def read_catalogue(path: Path, tag: str, *, within: Path | None = None) -> Catalogue:
    """Read a catalogue from a file.

    The file must be inside the folder `within`, also after following links, because rendering can't
    read it elsewhere.
    """
    try:
        if within is not None and leads_out_of(within, path):
            return _unusable(path, 0, f"leads out of {within}; put the file itself here")
        source = read_file(path, MAX_SIZE)
    except OSError as error:
        return _unusable(path, 0, f"can't be read: {error.strerror}")
    if len(source) > MAX_SIZE:
        return _unusable(path, 0, f"is larger than {MAX_SIZE:,} bytes")
    try:
        return parse_catalogue(source.decode("utf-8-sig"), path, tag)
    except UnicodeDecodeError as error:
        return _unusable(path, line_of(error), "is not UTF-8; save it as UTF-8")


def parse_catalogue(text: str, path: Path, tag: str) -> Catalogue:
    """Read a catalogue from its text; its mistakes name the file `path`."""
    try:
        read = read_po_text(text, tag)
    except OddLine as odd:
        return _unusable(path, odd.line, odd.message)
    usable, problems = _begun(read, tag)
    problems += [(line, message, False) for line, message in _twice(text)]
    once = _single_number_forms(usable)
    for entry in filter(_is_text, read):
        entry_problems = [*_problems_of(entry, once)]
        problems += [(entry.lineno or 0, *problem) for problem in entry_problems]
        if any(forms_of(entry.string)) and all(harmless for _, harmless in entry_problems):
            usable[entry.id] = entry
    mistakes = [Mistake(str(path), *problem) for problem in sorted(problems)]
    return Catalogue(usable, tuple(mistakes))


def read_po_text(text: str, tag: str) -> Catalog:
    """Return the text as a Babel catalogue, with obsolete entries. Raises OddLine."""
    check_lines(text)
    _check_number_of_forms(text)
    try:
        return read_po(StringIO(text), locale=_locale(tag), abort_invalid=True)
    except PoFileError as error:
        message = str(error)
        if "num_plurals" in message:
            message = "has more forms, msgstr[...], than Plural-Forms at the head of the file says"
        raise OddLine((error.lineno or 0) + 1, message) from None
    except ValueError as error:
        raise OddLine(1, f"the head of the file can't be read: {error}") from None


def check_plural_forms(read: Catalog, tag: str) -> None:
    """Check the header's rule for plural forms. Raises OddLine if it is invalid."""
    problem = _plural_rule_problem(read.num_plurals, read.plural_expr)
    if problem:
        usual = Catalog(locale=_locale(tag)).plural_forms
        message = f"Plural-Forms is {read.plural_forms!r}: {problem}; {name_of(tag)} has {usual!r}"
        raise OddLine(1, message)


def forms_of(translation: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the plural forms of a translation; a text without plural has one form."""
    return (translation,) if isinstance(translation, str) else tuple(translation or ())


def _locale(tag: str) -> Locale:
    return Locale.parse(tag, sep="-")


def _unusable(path: Path, line: int, message: str) -> Catalogue:
    return Catalogue(Catalog(), (Mistake(str(path), line, message),))


def _is_text(entry: Message) -> bool:
    """Whether an entry is a text, and not the catalogue's header."""
    return bool(entry.id)


# -- plural forms --------------------------------------------------------------------------------------------


_LineProblem = tuple[int, str, bool]
"""Line number, problem, and whether the problem is harmless."""


def _begun(read: Catalog, tag: str) -> tuple[Catalog, list[_LineProblem]]:
    """Return an empty catalogue with the header's plural rule, or Babel's if invalid, and the problems found."""
    usable = Catalog(locale=_locale(tag))
    try:
        check_plural_forms(read, tag)
    except OddLine as odd:
        return usable, [(odd.line, odd.message, False)]
    usable.mime_headers = [("Plural-Forms", read.plural_forms)]
    return usable, []


def _check_number_of_forms(text: str) -> None:
    """Check the number of plural forms in the header: Babel allocates that many for each text. Raises OddLine."""
    match = re.search(r"nplurals\s*=\s*([0-9]+)", text)
    if match and int(match[1][:9]) > MOST_FORMS:
        line = text.count("\n", 0, match.start()) + 1
        message = f"nplurals is {match[1][:9]}; no language has more than {MOST_FORMS} plural forms"
        raise OddLine(line, message)


def _plural_rule_problem(forms: int, rule: str) -> str:
    try:
        form_of = gettext.c2py(rule)
        used = {form_of(count) for count in COUNTS}
    except (ValueError, ArithmeticError, RecursionError) as error:
        return str(error) or "it can't be read"
    return "" if used <= set(range(forms)) else "it counts more forms than there are"


def _single_number_forms(catalogue: Catalog) -> frozenset[int]:
    """Return the plural forms that stand for one number only and may leave it out: "one message left out"."""
    form_of: Callable[[int], int] = gettext.c2py(catalogue.plural_expr)
    uses = Counter(map(form_of, COUNTS))
    return frozenset(form for form, count in uses.items() if count == 1)


# -- texts ---------------------------------------------------------------------------------------------------


def _twice(text: str) -> Iterator[tuple[int, str]]:
    lines: dict[str, int] = {}
    for line, msgid in texts_in(text):
        if msgid in lines:
            yield line, f"this text stands on line {lines[msgid]} already, and that one is used"
        lines.setdefault(msgid, line)


def _problems_of(entry: Message, once: frozenset[int]) -> Iterator[tuple[str, bool]]:
    """Yield the problems of an entry, each with whether it is harmless.

    `once` are the plural forms for one number only.
    """
    forms = forms_of(entry.string)
    if not any(forms):
        return
    if entry.fuzzy:
        words = "marked `fuzzy`, so it is not used; delete that word when the translation is right"
        yield words, False
        return
    if entry.context:
        yield "has a msgctxt, which no text of the relay has, so it is never used", False
    several = len(forms) > 1
    for number, form in enumerate(forms):
        name = f"msgstr[{number}]" if several else "msgstr"
        if form:
            yield from _form_problems(name, form, forms_of(entry.id)[-1])
            yield from _place_problems(name, form, entry, spared=several and number in once)
        else:
            yield f"{name} is empty; there are {len(forms)} forms, and all are needed", False


def _form_problems(name: str, form: str, source: str) -> Iterator[tuple[str, bool]]:
    if character := unsendable(form):
        yield f"{name} holds {character}, which is not a character and can't be sent", False
    if not form.strip() or _breaks(form) > _breaks(source):
        yield f"{name} has nothing but spaces, or a line break where the text has none", False
    if form.rstrip().endswith(":") and not source.endswith(":"):
        yield f"{name} ends with a colon; one is added where it is needed", True


def _place_problems(
    name: str, form: str, entry: Message, *, spared: bool
) -> Iterator[tuple[str, bool]]:
    source = " ".join(forms_of(entry.id))
    expected = dict.fromkeys(f"{{{place}}}" for place in PLACE.findall(source))
    used = dict.fromkeys(f"{{{place}}}" for place in PLACE.findall(form))
    for place in used:
        if place not in expected:
            yield f"{name} has {place}, which nothing fills in; {_places_words(expected)}", False
    if _stray(form) and not _stray(source):
        yield f"{name} has a brace that is part of no place; {_places_words(expected)}", False
    for place in expected:
        if place not in used and not (spared and place == _COUNT):
            yield f"{name} does without {place}; is that meant?", True


def _breaks(text: str) -> int:
    """Return the number of line breaks of any kind, including a final one."""
    return len(f"{text}.".splitlines())


def _places_words(places: Iterable[str]) -> str:
    names = ", ".join(places)
    return f"there is {names}" if names else "this text has no places"


def _stray(text: str) -> bool:
    return bool(re.search(r"[{}]", PLACE.sub("", text)))
