"""The languages of notifications: English, the catalogues that come with the relay, and the user's own.

A catalogue (`cs.po`) is read, uncompiled, when the first notification needs it. A user's catalogues
are in the folder `_translations` among the templates; each of their texts takes precedence over the
relay's. See docs/languages.md.
"""

import gettext
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from babel import Locale

from relay.languages.catalogue import PLACE, Catalogue, Mistake, read_catalogue
from relay.languages.tags import EXAMPLES, base_of, guess_tag, is_tag
from relay.text import isolated

CATALOGUES = Path(__file__).parents[1] / "translations"
OWN = "_translations"
"""The folder of the user's own catalogues, in a folder of templates."""
SOURCE = "en"
"""The language of the texts in code and templates."""
LANGUAGES = (SOURCE, *sorted(path.stem for path in CATALOGUES.glob("*.po")))
"""The languages that come with the relay, as BCP 47 tags (`cs`, `pt-BR`)."""

# Days before months and 24 hours, as in the rules file; American English would write 11/22/25, 2:05 PM.
_LOCALES = {SOURCE: "en-GB"}


class Language:
    """One language, with its translations and its formats. Text without a translation stays English."""

    def __init__(self, name: str, translations: gettext.NullTranslations) -> None:
        self.name = name
        self._translations = translations

    @cached_property
    def locale(self) -> Locale:
        """The locale for dates, times, numbers and the names of countries."""
        return Locale.parse(_LOCALES.get(self.name, self.name), sep="-")

    @cached_property
    def rtl(self) -> bool:
        """Whether the language is written from right to left."""
        return bool(self.locale.text_direction == "rtl")

    def gettext(self, message: str, /, **values: object) -> str:
        """Return the translation with its `{name}` placeholders filled in.

        Values are isolated, so that their direction can't reorder the words around them.
        """
        # gettext returns the catalogue's header for the empty text.
        translation = self._translations.gettext(message) if message else ""
        return self._filled(translation, values) if values else translation

    def ngettext(self, singular: str, plural: str, count: float, /, **values: object) -> str:
        """Return the translation in the plural form for `count`, with its placeholders filled in."""
        try:
            translation = self._translations.ngettext(singular, plural, int(count))
        # A user's plural rule may divide by zero for a number that was never tried.
        except ArithmeticError:
            translation = singular if count == 1 else plural
        return self._filled(translation, values) if values else translation

    def _filled(self, text: str, values: Mapping[str, object]) -> str:
        return filled(
            text, {name: isolated(str(value), rtl=self.rtl) for name, value in values.items()}
        )


class Languages:
    """The languages that are available with some folders of templates.

    Each catalogue is read once, when it is first needed; after an edit, make new `Languages`.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._own = tuple(own_catalogues(folder) for folder in folders)
        self._spoken: dict[str, Language] = {}
        self.names = tuple(dict.fromkeys((*LANGUAGES, *sorted(tag for own in self._own for tag in own))))  # fmt: skip

    def called(self, name: str) -> Language:
        """Return the language with this tag; English if the tag is not in `names`."""
        name = name if name in self.names else SOURCE
        if name not in self._spoken:
            self._spoken[name] = Language(name, self._translations(name))
        return self._spoken[name]

    def _translations(self, name: str) -> gettext.NullTranslations:
        """Return a language's translations with fallbacks: the user's, the relay's, then those of `de` for `de-AT`."""
        chain = gettext.NullTranslations()
        for tag in dict.fromkeys((name, base_of(name), SOURCE)):
            for catalogue in self._catalogues(tag):
                chain.add_fallback(catalogue.translations())
        return chain

    def _catalogues(self, tag: str) -> Iterator[Catalogue]:
        for own in self._own:
            if path := own.get(tag):
                yield read_catalogue(path, tag, within=path.parents[1])
        if tag in LANGUAGES and tag != SOURCE:
            yield read_catalogue(CATALOGUES / f"{tag}.po", tag)


class _Process:
    """The languages of this process. Transports and alerts know a language's tag but no template folders."""

    languages = Languages()


def speak(languages: Languages) -> None:
    """Use these languages in this process from now on."""
    _Process.languages = languages


def language_called(name: str) -> Language:
    """Return the language with this tag among the languages of this process; English if the tag is unknown."""
    return _Process.languages.called(name)


def own_catalogues(folder: Path) -> dict[str, Path]:
    """Return the catalogues in a folder of templates, by tag.

    A file whose name is not a tag is left out; `mistakes_in` reports it.
    """
    try:
        return {path.stem: path for path in _files(folder) if _is_catalogue(path)}
    except OSError:
        return {}


def mistakes_in(folder: Path) -> list[Mistake]:
    """Return all mistakes in the catalogues of a folder of templates."""
    mistakes: list[Mistake] = []
    try:
        for path in _files(folder):
            if _is_catalogue(path):
                mistakes += read_catalogue(path, path.stem, within=folder).mistakes
            else:
                mistakes.append(Mistake(str(path), 0, _misnamed(path)))
    except OSError as error:
        mistakes.append(Mistake(str(folder / OWN), 0, f"can't be listed: {error.strerror}"))
    return mistakes


def _files(folder: Path) -> list[Path]:
    """Return the catalogue files in a folder of templates, sorted; empty without such files.

    Raises OSError if the folder exists but can't be listed.
    """
    own = folder / OWN
    return sorted(path for path in own.iterdir() if path.name[0] != ".") if own.exists() else []


def _is_catalogue(path: Path) -> bool:
    return path.suffix == ".po" and is_tag(path.stem)


def _misnamed(path: Path) -> str:
    if path.suffix != ".po":
        return "nothing reads it; a translation file is named by its language's tag, such as fr.po"
    meant = guess_tag(path.stem)
    hint = f"did you mean {meant}.po?" if meant else f"name it by the language's tag, {EXAMPLES}"
    return f"unknown language {path.stem!r}; {hint}"


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for it
    """Return the text unchanged: marks it for translators where `gettext` translates it later."""
    return message


def filled(text: str, values: Mapping[str, object]) -> str:
    """Return the text with each `{name}` replaced by its value.

    Unlike `str.format`, it allows only plain names, so templates and catalogues can't read a
    value's attributes or pad it to a huge width. Braces within values are kept.
    """
    return PLACE.sub(lambda place: str(values.get(place[1], place[0])), text)
