"""The sentences that the relay says in a language: what each says, by itself and in the user's catalogue, and how one is changed."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from babel import Locale
from babel.messages import Catalog, Message
from msgspec import Struct

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
from relay.languages.tags import is_tag
from relay.languages.writing import (
    NotChanged,
    begun,
    counts_of_forms,
    in_words,
    shipped_language,
    with_text,
)
from relay.outbox.log_of_acts import Act
from relay.rendering.template_checks import texts_of_templates
from relay.services import in_thread
from relay.services.publish_rules import NotUsable
from relay.services.template_folder import FolderFile, TemplateFolder

LONGEST = 2_000
"""Characters of one wording."""
KEY_DIGITS = 12
_FORM = re.compile(r"^msgstr(?:\[([0-9]+)\])?")


class Sentence(Struct, frozen=True, kw_only=True):
    """A text that the relay says."""

    key: str
    """Names it in addresses; made of `source`."""
    source: tuple[str, ...]
    """In English; with its plural where it has one."""
    places: tuple[str, ...]
    """What is filled in, as it is written: `{who}`."""
    files: tuple[str, ...]
    """The templates and modules that say it."""
    shipped: tuple[str, ...]
    """What the relay says by itself, in each plural form."""
    own: tuple[str, ...] = ()
    """What the user's catalogue says; empty where it says nothing."""
    mistakes: tuple[str, ...] = ()
    """Why the relay does not say what the catalogue says."""
    numbers: tuple[str, ...] = ()
    """The numbers that each plural form is for; empty for a text without."""

    @property
    def is_in_templates(self) -> bool:
        """Whether a template says it, and not only the relay's own code."""
        return not all(each.startswith("relay/") for each in self.files)

    @property
    def words(self) -> tuple[str, ...]:
        """The words in use: the user's own, else the shipped ones; one for each plural form."""
        return self.own if self.own and not self.mistakes else self.shipped


class Wording(Struct, frozen=True, kw_only=True):
    """All sentences of a language."""

    tag: str
    sentences: tuple[Sentence, ...]
    plural_forms: str
    """The rules for plural forms, as the head of the catalogue has them."""
    file: FolderFile
    problem: str = ""
    """Why nothing of the user's catalogue is used; no text can be changed then."""


class UnknownLanguage(Exception):
    """Raised for a language that the relay does not speak."""


class UnknownSentence(Exception):
    """Raised for a text that the relay does not say."""


@dataclass(frozen=True)
class Sentences:
    """The sentences of a running relay, by language. Raises UnknownLanguage."""

    files: TemplateFolder

    def languages(self) -> tuple[str, ...]:
        """The tags of the languages that come with the relay, and of the user's own."""
        own = self.files.settings.templates
        return Languages((own,) if own else ()).names

    async def read(self, tag: str) -> Wording:
        """What the relay says in a language."""
        return await in_thread(lambda _: self._read(tag))

    async def change(self, tag: str, key: str, said: Sequence[str], base: str, act: Act) -> None:
        """Have the user's catalogue say it in these words, one for each plural form; all empty: what the relay says by itself.

        `base`: the hash of the catalogue as it was shown. Raises UnknownSentence, NotUsable for words with mistakes, and
        other NotPublished; nothing is changed then.
        """
        await in_thread(lambda _: self._change(tag, key, said, base, act))

    def _read(self, tag: str) -> Wording:
        name = self._name(tag)
        file, own = self.files.read(name, MAX_SIZE), self.files.settings.templates
        text, problem = "", ""
        catalogue = Catalog(locale=Locale.parse(tag, sep="-"))
        try:
            text = file.source.decode("utf-8-sig")
            read = read_po_text(text, tag)
            check_plural_forms(read, tag)
            catalogue = read if text.strip() else catalogue
        except OddLine as odd:
            problem = f"{file.path}:{odd.line}: {odd.what}"
        except UnicodeDecodeError:
            problem = f"{file.path}: is not UTF-8; save it as UTF-8"
        # What templates say first: it is what people see most of.
        found = sorted(_all(tag, own, catalogue), key=lambda each: not each.is_in_templates)
        if not problem and text.strip():
            found = [*_with_own(found, catalogue, text, tag)]
        return Wording(
            tag=tag,
            sentences=tuple(found),
            plural_forms=catalogue.plural_forms,
            file=file,
            problem=problem,
        )

    def _name(self, tag: str) -> str:
        if not is_tag(tag) or tag not in self.languages():
            raise UnknownLanguage(tag)
        return f"{OWN}/{tag}.po"

    def _change(self, tag: str, key: str, said: Sequence[str], base: str, act: Act) -> None:
        wording = self._read(tag)
        sentence = sentence_called(wording, key)
        if wording.problem:
            raise NotUsable([wording.problem])
        if problems := problems_with(wording, sentence, said):
            raise NotUsable(problems)
        if not any(said) and not sentence.own:
            return
        text = wording.file.source.decode("utf-8")
        text = text if text.strip() else begun(tag, version=__version__, now=self.files.clock())
        try:
            changed = with_text(text, tag, sentence.source, said)
        except NotChanged as error:
            raise NotUsable([f"{wording.file.path}: {error}"]) from None
        data = changed.encode()
        if len(data) > MAX_SIZE:
            raise NotUsable([f"the catalogue would be larger than {MAX_SIZE:,} bytes"])
        self.files.replace(self._name(tag), data, base, act, MAX_SIZE)


def sentence_called(wording: Wording, key: str) -> Sentence:
    """The sentence with this key. Raises UnknownSentence."""
    for each in wording.sentences:
        if each.key == key:
            return each
    raise UnknownSentence(key)


def problems_with(wording: Wording, sentence: Sentence, said: Sequence[str]) -> list[str]:
    """What is wrong with words for a sentence; empty words are what the relay says by itself."""
    if len(said) != len(sentence.shipped):
        return [f"there are {len(sentence.shipped)} forms"]
    if any(len(each) > LONGEST for each in said):
        return [f"longer than {LONGEST:,} characters"]
    if not any(said):
        return []
    try:
        text = one_text(wording, sentence, said)
    except (OddLine, NotChanged) as error:
        return [str(error)]
    found = parse_catalogue(text, Path("catalogue"), wording.tag).mistakes
    # A place that is left out may be meant, but then whom the sentence is about nobody knows.
    return [_in_words(each.what) for each in found]


def _in_words(what: str) -> str:
    """A mistake of a catalogue, for somebody who sees a field and no catalogue."""
    what = _FORM.sub(lambda found: f"form {int(found[1]) + 1}" if found[1] else "the text", what)
    return what.removesuffix("; is that meant?")


def one_text(wording: Wording, sentence: Sentence, said: Sequence[str]) -> str:
    """A catalogue that says this sentence in these words, and nothing else. Raises NotChanged."""
    head = f'msgid ""\nmsgstr "Plural-Forms: {wording.plural_forms}\\n"\n'
    return with_text(head, wording.tag, sentence.source, said)


def key_of(source: Sequence[str]) -> str:
    """The key of a sentence in URLs, made of its English text."""
    return hashlib.sha256("\0".join(source).encode()).hexdigest()[:KEY_DIGITS]


def _all(tag: str, own: Path | None, catalogue: Catalog) -> Iterator[Sentence]:
    """Without the words of the user's own catalogue, which says how many plural forms there are."""
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
    """What the relay says: each catalogue that comes with it has all of it."""
    tag = next(each for each in LANGUAGES if each != SOURCE)
    return tuple(read_catalogue(CATALOGUES / f"{tag}.po", tag).entries)


def _own_texts(own: Path | None) -> tuple[Message, ...]:
    """What the user's own templates say by `_("...")`."""
    return tuple(texts_of_templates(own)[0]) if own and own.is_dir() else ()


def _with_own(
    sentences: Sequence[Sentence], catalogue: Catalog, text: str, tag: str
) -> Iterator[Sentence]:
    mistakes: dict[int, list[str]] = {}
    for mistake in parse_catalogue(text, Path(f"{tag}.po"), tag).mistakes:
        if not mistake.harmless:
            mistakes.setdefault(mistake.line, []).append(mistake.what)
    for each in sentences:
        message = catalogue.get(each.source[0])
        own = forms_of(message.string) if message else ()
        if message is None or not any(own) or message.context:
            yield each
            continue
        wrong = tuple(mistakes.get(message.lineno or 0, ()))
        if len(own) != len(each.shipped):
            wrong = (*wrong, f"there are {len(own)} forms; {len(each.shipped)} are needed")
        yield Sentence(
            key=each.key,
            source=each.source,
            places=each.places,
            files=each.files,
            shipped=each.shipped,
            own=own,
            mistakes=wrong,
            numbers=each.numbers,
        )
