"""Writes catalogues: a new one, an updated one, and one in which a single text is changed."""

import gettext
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from itertools import islice

from babel import Locale
from babel.messages import Catalog, Message
from babel.messages.pofile import denormalize, escape, write_po

from relay.languages import LANGUAGES, SOURCE, Language, Languages
from relay.languages.catalogue import (
    COUNTS,
    OddLine,
    check_plural_forms,
    forms_of,
    lines_in,
    read_po_text,
)
from relay.languages.tags import base_of, name_of

_SHOWN = 5
"""How many example numbers a plural form's comment shows."""
_HEAD = """\
# {name}, for `language: {tag}` in the rules file. Save this file as UTF-8.
# Write your words between the quotation marks of msgstr. {empty}
# Places such as {{who}} are filled in; put each where it suits. `relay check` finds mistakes.
# `relay translate {tag}` brings this file up to date and keeps what you wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueFile:
    """The text of a new catalogue file, and counts of its contents."""

    text: str
    texts: int
    translated: int
    new: int = 0
    """How many texts were not in the file before."""
    dropped: int = 0
    """How many translations are no longer used; they are kept at the end of the file."""


def begin(tag: str, texts: Catalog, *, version: str, now: datetime) -> CatalogueFile:
    """Return a new catalogue without translations. `version` is the relay's.

    Babel supplies the header and the plural rule.
    """
    empty = Catalog(
        locale=Locale.parse(tag, sep="-"),
        header_comment=_HEAD.format(name=name_of(tag), tag=tag, empty=_empty_meaning(tag)),
        project="Smartsupp relay",
        version=version,
        msgid_bugs_address="see docs/languages.md",
        last_translator="you",
        language_team=name_of(tag),
        creation_date=now,
        revision_date=now,
        fuzzy=False,
    )
    empty.update(_explained(texts, empty, tag), no_fuzzy_matching=True, update_creation_date=False)
    return _file_of(empty)


def bring_up_to_date(text: str, tag: str, texts: Catalog) -> CatalogueFile:
    """Return the catalogue with all current texts and its existing translations.

    Translations that are no longer used move to the end, and return when their text is used again.
    Raises OddLine if the text is no PO file or its header is invalid.
    """
    kept = read_po_text(text, tag)
    check_plural_forms(kept, tag)
    current = {forms_of(entry.id)[0] for entry in texts if entry.id}
    for key, entry in list(kept.obsolete.items()):
        if forms_of(entry.id)[0] in current:
            back = kept.obsolete.pop(key)
            if entry.id not in kept:
                kept[entry.id] = back
    before = {forms_of(entry.id)[0] for entry in kept if entry.id}
    kept.update(_explained(texts, kept, tag), no_fuzzy_matching=True, update_creation_date=False)
    kept.obsolete = {key: each for key, each in kept.obsolete.items() if any(forms_of(each.string))}
    dropped = [each for each in kept.obsolete.values() if forms_of(each.id)[0] in before]
    return _file_of(kept, new=len(current - before), dropped=len(dropped))


def _file_of(catalogue: Catalog, new: int = 0, dropped: int = 0) -> CatalogueFile:
    written = BytesIO()
    write_po(written, catalogue, width=0, include_lineno=False)
    entries = [entry for entry in catalogue if entry.id]
    translated = [each for each in entries if all(forms_of(each.string) or [""])]
    return CatalogueFile(
        text=written.getvalue().decode(),
        texts=len(entries),
        translated=len(translated),
        new=new,
        dropped=dropped,
    )


def _empty_meaning(tag: str) -> str:
    if tag in LANGUAGES:
        return "Where it is empty, the relay says what it says by itself."
    if (base := base_of(tag)) in LANGUAGES and base != SOURCE:
        return f"Where it is empty, the relay says it as in {name_of(base)}."
    return "Where it is empty, the relay says it in English."


# -- what helps translators ----------------------------------------------------------------------------------


def _explained(texts: Catalog, catalogue: Catalog, tag: str) -> Catalog:
    """Add comments with the relay's own translation, and with the numbers that each plural form is for."""
    explained, shipped = Catalog(), shipped_language(tag)
    samples = counts_of_forms(catalogue)
    for entry in texts:
        if entry.id:
            explained.add(
                entry.id,
                locations=entry.locations,
                context=entry.context,
                auto_comments=[*_comments(entry, shipped, samples)],
            )
    return explained


def shipped_language(tag: str) -> Language:
    """Return the relay's own translations for a language.

    Falls back to the language without its region, then to English.
    """
    return Languages().called(tag if tag in LANGUAGES else base_of(tag))


def counts_of_forms(catalogue: Catalog) -> list[list[int]]:
    """Return the first few numbers that each plural form is for."""
    form_of = gettext.c2py(catalogue.plural_expr)
    return [
        list(islice((count for count in COUNTS if form_of(count) == form), _SHOWN))
        for form in range(catalogue.num_plurals)
    ]


def _comments(entry: Message, shipped: Language, samples: list[list[int]]) -> list[str]:
    text, *plurals = forms_of(entry.id)
    if not plurals:
        words = [shipped.gettext(text)]
        return [f"The relay says: {words[0]}"] if words[0] != text else []
    uses = [f"msgstr[{form}] is for {in_words(counts)}." for form, counts in enumerate(samples)]
    words = [shipped.ngettext(text, plurals[0], counts[0]) for counts in samples if counts]
    own = [] if shipped.name == SOURCE else [f"The relay says: {' / '.join(dict.fromkeys(words))}"]
    return [*uses, *own]


def in_words(counts: Sequence[int]) -> str:
    """Return one list of `counts_of_forms` as words: `1`, or `2, 3, 4 and so on`."""
    return ", ".join(map(str, counts)) + (" and so on" if len(counts) == _SHOWN else "")


# -- one text changed ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Entry:
    """The position of a message in a catalogue's text, as line numbers from 1."""

    first: int
    flags: list[int] = field(default_factory=list)
    """The lines with flags (`#,`) above the message."""
    translation: list[int] = field(default_factory=list)
    """The lines of the translation, from the first `msgstr` on."""
    is_plural: bool = False
    has_context: bool = False
    msgid: list[str] = field(default_factory=list)
    """The English text of the message, as quoted strings."""

    def is_for(self, text: str) -> bool:
        """Whether this is the message that the relay looks up for a text."""
        return not self.has_context and denormalize("\n".join(['""', *self.msgid])) == text


def entries_in(text: str) -> list[Entry]:
    """Return the entries of a catalogue in order, including the header. Raises OddLine."""
    entries: list[Entry] = []
    flags = {n for n, line in enumerate(text.split("\n"), 1) if line.strip().startswith("#,")}
    word, previous = "", 0
    for number, match in lines_in(text):
        begins = match["word"] == "msgctxt" or (match["word"] == "msgid" and word != "msgctxt")
        word = match["word"] or word
        if begins:
            above = [n for n in range(previous + 1, number) if n in flags]
            entries.append(Entry(number, above, has_context=word == "msgctxt"))
        previous = number
        if not entries:
            continue
        if word == "msgid":
            entries[-1].msgid.append(match["text"])
        elif word.startswith("msgstr"):
            entries[-1].translation.append(number)
        entries[-1].is_plural |= word == "msgid_plural"
    return entries


class NotChanged(Exception):
    """Raised for a catalogue in which one text can't be changed alone; the error's text explains why."""


def begun(tag: str, *, version: str, now: datetime) -> str:
    """Return a new catalogue without any text."""
    return begin(tag, Catalog(), version=version, now=now).text


def with_text(text: str, tag: str, source: Sequence[str], forms: Sequence[str]) -> str:
    """Return a catalogue's text with the translation of one message changed and all other bytes kept.

    `source` is the English text, with its plural if it has one; `forms` is the translation in each
    plural form. Raises OddLine if the text is no catalogue, and NotChanged.
    """
    mark, plain = text[: text.startswith("\ufeff")], text.removeprefix("\ufeff")
    before = read_po_text(plain, tag)
    entry = next((each for each in entries_in(plain) if each.is_for(source[0])), None)
    changed = _replaced(plain, entry, forms) if entry else _appended(plain, source, forms)
    try:
        after = read_po_text(changed, tag)
    except OddLine as odd:
        raise NotChanged(f"line {odd.line}: {odd.message}") from None
    if _texts(after, source[0]) != _texts(before, source[0]) | {
        source[0]: (tuple(source), tuple(forms))
    }:
        place = f"line {entry.first}" if entry else "the end"
        raise NotChanged(f"{place}: this text stands there in a way that only an editor can change")
    return mark + changed


def _texts(catalogue: Catalog, changed: str) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return each message's translations and flags, by message, except for the message `changed`."""
    return {
        forms_of(entry.id)[0]: (
            forms_of(entry.id),
            ("fuzzy",) * entry.fuzzy + tuple(forms_of(entry.string)),
        )
        for entry in catalogue
        if entry.id and not (forms_of(entry.id)[0] == changed and entry.context)
    }


def _replaced(text: str, entry: Entry, forms: Sequence[str]) -> str:
    lines = text.split("\n")
    first, *more = entry.translation
    line = lines[first - 1]
    indent, end = line[: len(line) - len(line.lstrip())], "\r" * line.endswith("\r")
    for number in entry.flags:
        lines[number - 1] = _without_fuzzy(lines[number - 1])
    dropped = {*more, *(number for number in entry.flags if not lines[number - 1])}
    lines[first - 1] = "\n".join(
        f"{indent}{each}{end}" for each in _written(forms, is_plural=entry.is_plural)
    )
    return "\n".join(each for number, each in enumerate(lines, 1) if number not in dropped)


def _without_fuzzy(line: str) -> str:
    """Return a line of flags without `fuzzy`; empty if that is the only flag."""
    flags, end = line.strip().removeprefix("#,").split(","), "\r" * line.endswith("\r")
    left = [flag for each in flags if (flag := each.strip()) and flag != "fuzzy"]
    if len(left) == len(flags):
        return line
    return f"#, {', '.join(left)}{end}" if left else ""


def _written(forms: Sequence[str], *, is_plural: bool) -> list[str]:
    if is_plural:
        return [f"msgstr[{number}] {escape(form)}" for number, form in enumerate(forms)]
    return [f"msgstr {escape(form)}" for form in forms]


def _appended(text: str, source: Sequence[str], forms: Sequence[str]) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    names = ("msgid", "msgid_plural")
    lines = [f"{name} {escape(each)}" for name, each in zip(names, source, strict=False)]
    lines += _written(forms, is_plural=len(source) > 1)
    room = "" if not text or text.endswith(end * 2) else end if text.endswith("\n") else end * 2
    return text + room + "".join(each + end for each in lines)
