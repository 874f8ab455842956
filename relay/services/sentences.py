"""The sentences of the relay in a language, as shipped and in the user's catalogue, and how one is changed."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from babel import Locale
from babel.messages import Catalog, Message
from msgspec import Struct
from msgspec.structs import replace

from relay import __version__
from relay.languages import CATALOGUES, LANGUAGES, OWN, SOURCE, Languages
from relay.languages.catalogue import (
    MAX_SIZE,
    PLACE,
    OddLine,
    check_plural_forms,
    forms_of,
    parse_catalogue,
    read_catalogue,
    read_po_text,
)
from relay.languages.catalogue_writer import (
    NotChanged,
    begun,
    counts_of_forms,
    in_words,
    shipped_language,
    with_text,
)
from relay.languages.tags import is_tag
from relay.outbox.audit_log import Act
from relay.rendering.template_checks import texts_of_templates
from relay.rules.text_search import fold
from relay.services import in_thread
from relay.services.publish_rules import NotUsable
from relay.services.template_files import FolderFile, TemplateFolder

LONGEST = 2_000
"""Limit of one translation, in characters."""
KEY_DIGITS = 12
_FORM = re.compile(r"^msgstr(?:\[([0-9]+)\])?")


class Sentence(Struct, frozen=True, kw_only=True):
    """A translatable text of the relay."""

    key: str
    """Identifies it in URLs; a hash of `source`."""
    source: tuple[str, ...]
    """The English text; with its plural where it has one."""
    places: tuple[str, ...]
    """The placeholders in the sentence, such as `{who}`."""
    files: tuple[str, ...]
    """The templates and modules that use it."""
    shipped: tuple[str, ...]
    """The shipped translation, one text for each plural form."""
    own: tuple[str, ...] = ()
    """The translation in the user's catalogue; empty where it has none."""
    mistakes: tuple[str, ...] = ()
    """Why the user's translation is not used; empty where it is."""
    numbers: tuple[str, ...] = ()
    """The numbers for which each plural form is used; empty for a text without plural."""

    @property
    def is_in_templates(self) -> bool:
        """Whether a template uses the sentence, not only the relay's code."""
        return not all(each.startswith("relay/") for each in self.files)

    @property
    def words(self) -> tuple[str, ...]:
        """The translation in use: the user's own, else the shipped one; one text for each plural form."""
        return self.own if self.own and not self.mistakes else self.shipped


class Wording(Struct, frozen=True, kw_only=True):
    """All sentences of a language."""

    tag: str
    sentences: tuple[Sentence, ...]
    plural_forms: str
    """The rule for plural forms in the catalogue's header."""
    file: FolderFile
    problem: str = ""
    """Why the user's catalogue is not used at all; no sentence can be changed then. Empty where it is used."""


class UnknownLanguage(Exception):
    """Raised for a language that the relay does not have."""


class UnknownSentence(Exception):
    """Raised for a key that no sentence has."""


@dataclass(frozen=True)
class Sentences:
    """The sentences of a running relay, by language. Methods raise UnknownLanguage."""

    files: TemplateFolder

    def languages(self) -> tuple[str, ...]:
        """The tags of the shipped languages and of the user's own."""
        own = self.files.settings.templates
        return Languages((own,) if own else ()).names

    async def read(self, tag: str) -> Wording:
        """All sentences of a language."""
        return await in_thread(lambda _: self._read(tag))

    async def change(self, tag: str, key: str, texts: Sequence[str], base: str, act: Act) -> None:
        """Set a sentence's translation in the user's catalogue, one text for each plural form; all empty: remove it.

        `base`: the hash of the catalogue as it was shown. Raises UnknownSentence, NotUsable for a faulty translation,
        and other NotPublished, without a change.
        """
        await in_thread(lambda _: self._change(tag, key, texts, base, act))

    def _read(self, tag: str) -> Wording:
        name = self._name(tag)
        file, own = self.files.read(name, MAX_SIZE), self.files.settings.templates
        text, catalogue, problem = _own_catalogue(file, tag)
        # Sentences of templates first, as people see these most.
        sentences = sorted(_all(tag, own, catalogue), key=lambda each: not each.is_in_templates)
        if not problem and text.strip():
            sentences = [*_with_own(sentences, catalogue, text, tag)]
        return Wording(
            tag=tag,
            sentences=tuple(sentences),
            plural_forms=catalogue.plural_forms,
            file=file,
            problem=problem,
        )

    def _name(self, tag: str) -> str:
        if not is_tag(tag) or tag not in self.languages():
            raise UnknownLanguage(tag)
        return f"{OWN}/{tag}.po"

    def _change(self, tag: str, key: str, texts: Sequence[str], base: str, act: Act) -> None:
        wording = self._read(tag)
        sentence = find_sentence(wording, key)
        if wording.problem:
            raise NotUsable([wording.problem])
        if problems := problems_with(wording, sentence, texts):
            raise NotUsable(problems)
        if not any(texts) and not sentence.own:
            return
        text = wording.file.source.decode("utf-8")
        text = text if text.strip() else begun(tag, version=__version__, now=self.files.clock())
        try:
            changed = with_text(text, tag, sentence.source, texts)
        except NotChanged as error:
            raise NotUsable([f"{wording.file.path}: {error}"]) from None
        data = changed.encode()
        if len(data) > MAX_SIZE:
            raise NotUsable([f"the catalogue would be larger than {MAX_SIZE:,} bytes"])
        self.files.replace(self._name(tag), data, base, act, MAX_SIZE)


def sentences_with(wording: Wording, words: str, *, only_own: bool = False) -> list[Sentence]:
    """The sentences that have `words` in English or the language, whatever case and accents; `only_own`: of those that the user has changed."""
    wanted = fold(words.strip())
    return [
        each
        for each in wording.sentences
        if (each.own or not only_own)
        and wanted in fold(" ".join((*each.source, *each.shipped, *each.own)))
    ]


def without_line_breaks(text: str) -> str:
    """A user's text for a sentence, without line breaks and surrounding white space."""
    return " ".join(text.split("\r\n")).strip()


def find_sentence(wording: Wording, key: str) -> Sentence:
    """The sentence with this key. Raises UnknownSentence."""
    for each in wording.sentences:
        if each.key == key:
            return each
    raise UnknownSentence(key)


def problems_with(wording: Wording, sentence: Sentence, texts: Sequence[str]) -> list[str]:
    """The problems of a translation of a sentence; empty texts stand for the shipped translation."""
    if len(texts) != len(sentence.shipped):
        return [f"there are {len(sentence.shipped)} forms"]
    if any(len(each) > LONGEST for each in texts):
        return [f"longer than {LONGEST:,} characters"]
    if not any(texts):
        return []
    try:
        text = draft_catalogue(wording, sentence, texts)
    except (OddLine, NotChanged) as error:
        return [str(error)]
    mistakes = parse_catalogue(text, Path("catalogue"), wording.tag).mistakes
    # Here a missing placeholder is an error, as a sentence without it would not say whom it is about.
    return [_in_words(each.message) for each in mistakes]


def _in_words(message: str) -> str:
    """A problem of a catalogue in words that do not mention a catalogue, for forms."""
    message = _FORM.sub(lambda m: f"form {int(m[1]) + 1}" if m[1] else "the text", message)
    return message.removesuffix("; is that meant?")


def draft_catalogue(wording: Wording, sentence: Sentence, texts: Sequence[str]) -> str:
    """A catalogue with this translation only. Raises NotChanged."""
    head = f'msgid ""\nmsgstr "Plural-Forms: {wording.plural_forms}\\n"\n'
    return with_text(head, wording.tag, sentence.source, texts)


def key_of(source: Sequence[str]) -> str:
    """The key of a sentence in URLs: a hash of its English text."""
    return hashlib.sha256("\0".join(source).encode()).hexdigest()[:KEY_DIGITS]


def _all(tag: str, own: Path | None, catalogue: Catalog) -> Iterator[Sentence]:
    """All sentences with the shipped translation. The user's `catalogue` decides how many plural forms there are."""
    language, counts = shipped_language(tag), counts_of_forms(catalogue)
    seen = set()
    for message in (*_own_texts(own), *_relays_texts()):
        source = forms_of(message.id)
        if not message.id or source in seen:
            continue
        seen.add(source)
        shipped: tuple[str, ...] = (language.gettext(source[0]),)
        if len(source) > 1:
            shipped = tuple(
                language.ngettext(source[0], source[1], each[0] if each else 0) for each in counts
            )
        yield Sentence(
            key=key_of(source),
            source=source,
            places=tuple(dict.fromkeys(f"{{{each}}}" for each in PLACE.findall(" ".join(source)))),
            files=tuple(dict.fromkeys(str(file) for file, _ in message.locations)),
            shipped=shipped,
            numbers=tuple(map(in_words, counts)) if len(source) > 1 else (),
        )


@cache
def _relays_texts() -> tuple[Message, ...]:
    """The texts of the relay itself, as every shipped catalogue has all of them."""
    tag = next(each for each in LANGUAGES if each != SOURCE)
    return tuple(read_catalogue(CATALOGUES / f"{tag}.po", tag).entries)


def _own_texts(own: Path | None) -> tuple[Message, ...]:
    """The texts of the user's own templates, marked by `_("...")`."""
    return tuple(texts_of_templates(own)[0]) if own and own.is_dir() else ()


def _own_catalogue(file: FolderFile, tag: str) -> tuple[str, Catalog, str]:
    """The text of a user's file, its catalogue, which is empty where it can't be used, and why it can't."""
    text, empty = "", Catalog(locale=Locale.parse(tag, sep="-"))
    try:
        text = file.source.decode("utf-8-sig")
        catalogue = read_po_text(text, tag)
        check_plural_forms(catalogue, tag)
    except OddLine as odd:
        return text, empty, f"{file.path}:{odd.line}: {odd.message}"
    except UnicodeDecodeError:
        return text, empty, f"{file.path}: is not UTF-8; save it as UTF-8"
    return text, catalogue if text.strip() else empty, ""


def _with_own(
    sentences: Sequence[Sentence], catalogue: Catalog, text: str, tag: str
) -> Iterator[Sentence]:
    mistakes: dict[int, list[str]] = {}
    for mistake in parse_catalogue(text, Path(f"{tag}.po"), tag).mistakes:
        if not mistake.harmless:
            mistakes.setdefault(mistake.line, []).append(mistake.message)
    for each in sentences:
        message = catalogue.get(each.source[0])
        own = forms_of(message.string) if message else ()
        if message is None or not any(own) or message.context:
            yield each
            continue
        wrong = tuple(mistakes.get(message.lineno or 0, ()))
        if len(own) != len(each.shipped):
            wrong = (*wrong, f"there are {len(own)} forms; {len(each.shipped)} are needed")
        yield replace(each, own=own, mistakes=wrong)
