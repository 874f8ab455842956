"""The languages that notifications can be in: English, one for each catalogue in `translations/`, and the user's own.

A catalogue is read as translators edit it (`cs.po`), when the first notification needs it: there is nothing to
compile, and nothing that could be out of step. The user's own catalogues stand in a folder `_translations` among
their templates, as `_parts` does. Text by text they go before those that come with the relay.
docs/languages.md tells how to add one.
"""

import gettext
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from babel import Locale

from relay.languages.catalogue import PLACE, Catalogue, Mistake, read_catalogue
from relay.languages.tags import SUCH_AS, base_of, is_tag, tag_meant_by
from relay.text import isolated

CATALOGUES = Path(__file__).parents[1] / "translations"
OWN = "_translations"
"""The folder of a user's own catalogues, in a folder of templates."""
SOURCE = "en"
"""What code and templates say themselves."""
LANGUAGES = (SOURCE, *sorted(path.stem for path in CATALOGUES.glob("*.po")))
"""The languages that come with the relay, as the rules file names them: by the tags of BCP 47 (`cs`, `pt-BR`)."""

# Days before months and 24 hours, as in the rules file; American English would write 11/22/25, 2:05 PM.
_LOCALES = {SOURCE: "en-GB"}


class Language:
    """One language, which says texts: `say("{who} left", who="Jana")`. Text without a translation stays English."""

    def __init__(self, name: str, translations: gettext.NullTranslations) -> None:
        self.name = name
        self._translations = translations

    @cached_property
    def locale(self) -> Locale:
        """How dates, times and numbers are written, and what countries are called."""
        return Locale.parse(_LOCALES.get(self.name, self.name), sep="-")

    @cached_property
    def rtl(self) -> bool:
        """Whether it is written from right to left."""
        return bool(self.locale.text_direction == "rtl")

    def gettext(self, message: str, /, **values: object) -> str:
        """The translation, with `values` in its places; none of them turns the words around it."""
        # gettext has the head of the file under the empty text.
        said = self._translations.gettext(message) if message else ""
        return self._filled(said, values) if values else said

    def ngettext(self, one: str, many: str, count: float, /, **values: object) -> str:
        """The translation in the form that goes with the count, which is put in at `{count}`."""
        try:
            said = self._translations.ngettext(one, many, int(count))
        # Rules of the user's own that divide by nothing, at a number that nobody tried.
        except ArithmeticError:
            said = one if count == 1 else many
        return self._filled(said, values) if values else said

    def _filled(self, said: str, values: Mapping[str, object]) -> str:
        return filled(
            said, {name: isolated(str(each), rtl=self.rtl) for name, each in values.items()}
        )


class Languages:
    """The languages that there are with some folders of templates. The catalogues are kept as they were when first needed:
    after an edit, make new `Languages`.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._own = tuple(own_catalogues(folder) for folder in folders)
        self._spoken: dict[str, Language] = {}
        self.names = tuple(dict.fromkeys((*LANGUAGES, *sorted(tag for own in self._own for tag in own))))  # fmt: skip

    def called(self, name: str) -> Language:
        """The language of this name; English for one that is not in `names`."""
        name = name if name in self.names else SOURCE
        if name not in self._spoken:
            self._spoken[name] = Language(name, self._translations(name))
        return self._spoken[name]

    def _translations(self, name: str) -> gettext.NullTranslations:
        """What the first doesn't have, the next may: one's own, the relay's, those of `de` for `de-AT`."""
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
    """What all of this process speaks. Packers and alerts know a language's name and nothing of folders."""

    languages = Languages()


def speak(languages: Languages) -> None:
    """Have all of this process speak these languages from now on."""
    _Process.languages = languages


def language_called(name: str) -> Language:
    """The language of this name among those that `speak` was given, else among those that come with the relay."""
    return _Process.languages.called(name)


def own_catalogues(folder: Path) -> dict[str, Path]:
    """The catalogues of a folder of templates, by their tags.

    A file that is not named by a tag is left out; `mistakes_in` names it.
    """
    try:
        return {path.stem: path for path in _files(folder) if _is_catalogue(path)}
    except OSError:
        return {}


def mistakes_in(folder: Path) -> list[Mistake]:
    """All that is wrong with the catalogues of a folder of templates."""
    found: list[Mistake] = []
    try:
        for path in _files(folder):
            if _is_catalogue(path):
                found += read_catalogue(path, path.stem, within=folder).mistakes
            else:
                found.append(Mistake(str(path), 0, _misnamed(path)))
    except OSError as error:
        found.append(Mistake(str(folder / OWN), 0, f"can't be listed: {error.strerror}"))
    return found


def _files(folder: Path) -> list[Path]:
    """In order. Raises OSError where there is such a folder and it can't be listed."""
    own = folder / OWN
    return sorted(path for path in own.iterdir() if path.name[0] != ".") if own.exists() else []


def _is_catalogue(path: Path) -> bool:
    return path.suffix == ".po" and is_tag(path.stem)


def _misnamed(path: Path) -> str:
    if path.suffix != ".po":
        return "nothing reads it; a translation file is named by its language's tag, such as fr.po"
    meant = tag_meant_by(path.stem)
    hint = f"did you mean {meant}.po?" if meant else f"name it by the language's tag, {SUCH_AS}"
    return f"unknown language {path.stem!r}; {hint}"


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark a text for translators that is said later, by `gettext`; returns it as it is."""
    return message


def filled(text: str, values: Mapping[str, object]) -> str:
    """The text with the values in their places. Only whole names are looked at, unlike in `str.format`: neither a
    template nor a catalogue can reach into a value or blow it up to a width. Values are not looked into again.
    """
    return PLACE.sub(lambda place: str(values.get(place[1], place[0])), text)
