"""A catalogue to begin with, and one that exists brought up to date, as the text of the file."""

import gettext
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from itertools import islice

from babel import Locale
from babel.messages import Catalog, Message
from babel.messages.pofile import write_po

from relay.languages import LANGUAGES, SOURCE, Language, Languages
from relay.languages.catalogue import COUNTS, check_plural_forms, forms_of, read_po_text
from relay.languages.tags import base_of, name_of

_SHOWN = 5
"""Numbers that are shown for a plural form."""
_HEAD = """\
# {name}, for `language: {tag}` in the rules file. Save this file as UTF-8.
# Write your words between the quotation marks of msgstr. {empty}
# Places such as {{who}} are filled in; put each where it suits. `relay check` finds mistakes.
# `relay translate {tag}` brings this file up to date and keeps what you wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The text of a catalogue, and what there is in it."""

    text: str
    texts: int
    translated: int
    new: int = 0
    """Texts that were not in the file before."""
    dropped: int = 0
    """Translated, and no longer said; kept at the end of the file."""


def begin(tag: str, texts: Catalog, *, version: str, now: datetime) -> Made:
    """A new catalogue with nothing translated. `version`: the relay's.

    The head and the rules for plural forms are Babel's.
    """
    made = Catalog(
        locale=Locale.parse(tag, sep="-"),
        header_comment=_HEAD.format(name=name_of(tag), tag=tag, empty=_what_empty_means(tag)),
        project="Smartsupp relay",
        version=version,
        msgid_bugs_address="see docs/languages.md",
        last_translator="you",
        language_team=name_of(tag),
        creation_date=now,
        revision_date=now,
        fuzzy=False,
    )
    made.update(_explained(texts, made, tag), no_fuzzy_matching=True, update_creation_date=False)
    return _made(made)


def bring_up_to_date(text: str, tag: str, texts: Catalog) -> Made:
    """What is translated stays; what nothing says any more goes to the end, and comes back from there when it is
    said again. Raises OddLine where the text is no PO or its head is wrong.
    """
    kept = read_po_text(text, tag)
    check_plural_forms(kept, tag)
    said = {forms_of(entry.id)[0] for entry in texts if entry.id}
    for key, entry in list(kept.obsolete.items()):
        if forms_of(entry.id)[0] in said:
            kept[entry.id] = kept.obsolete.pop(key)
    before = {forms_of(entry.id)[0] for entry in kept if entry.id}
    kept.update(_explained(texts, kept, tag), no_fuzzy_matching=True, update_creation_date=False)
    kept.obsolete = {key: each for key, each in kept.obsolete.items() if any(forms_of(each.string))}
    dropped = [each for each in kept.obsolete.values() if forms_of(each.id)[0] in before]
    return _made(kept, new=len(said - before), dropped=len(dropped))


def _made(catalogue: Catalog, new: int = 0, dropped: int = 0) -> Made:
    written = BytesIO()
    write_po(written, catalogue, width=0, include_lineno=False)
    entries = [entry for entry in catalogue if entry.id]
    translated = [each for each in entries if all(forms_of(each.string) or [""])]
    return Made(
        text=written.getvalue().decode(),
        texts=len(entries),
        translated=len(translated),
        new=new,
        dropped=dropped,
    )


def _what_empty_means(tag: str) -> str:
    if tag in LANGUAGES:
        return "Where it is empty, the relay says what it says by itself."
    if (base := base_of(tag)) in LANGUAGES and base != SOURCE:
        return f"Where it is empty, the relay says it as in {name_of(base)}."
    return "Where it is empty, the relay says it in English."


# -- what helps translators ----------------------------------------------------------------------------------


def _explained(texts: Catalog, catalogue: Catalog, tag: str) -> Catalog:
    """A catalogue's text with comments: what the relay says by itself, and which form is for which numbers."""
    told, shipped = Catalog(), Languages().called(tag if tag in LANGUAGES else base_of(tag))
    samples = _samples(catalogue)
    for entry in texts:
        if entry.id:
            told.add(
                entry.id,
                locations=entry.locations,
                context=entry.context,
                auto_comments=[*_comments(entry, shipped, samples)],
            )
    return told


def _samples(catalogue: Catalog) -> list[list[int]]:
    """The first numbers that each plural form is for."""
    form_of = gettext.c2py(catalogue.plural_expr)
    return [
        list(islice((count for count in COUNTS if form_of(count) == form), _SHOWN))
        for form in range(catalogue.num_plurals)
    ]


def _comments(entry: Message, shipped: Language, samples: list[list[int]]) -> list[str]:
    one, *many = forms_of(entry.id)
    if not many:
        said = [shipped.gettext(one)]
        return [f"The relay says: {said[0]}"] if said[0] != one else []
    uses = [f"msgstr[{form}] is for {_numbers(counts)}." for form, counts in enumerate(samples)]
    said = [shipped.ngettext(one, many[0], counts[0]) for counts in samples if counts]
    own = [] if shipped.name == SOURCE else [f"The relay says: {' / '.join(dict.fromkeys(said))}"]
    return [*uses, *own]


def _numbers(counts: list[int]) -> str:
    return ", ".join(map(str, counts)) + (" and so on" if len(counts) == _SHOWN else "")
