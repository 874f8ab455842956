"""The languages that notifications can be in: English, and one for each catalogue in `translations/`.

A catalogue is read as translators edit it (`cs.po`), when the first notification needs it: there is nothing to
compile, and nothing that could be out of step. docs/languages.md tells how to add one.
"""

import gettext
import re
from collections.abc import Mapping
from functools import cache, cached_property
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

CATALOGUES = Path(__file__).parent / "translations"
SOURCE = "en"
"""What code and templates say themselves."""
LANGUAGES = (SOURCE, *sorted(path.stem for path in CATALOGUES.glob("*.po")))
"""As the rules file names them: the tags of BCP 47 (`cs`, `pt-BR`)."""

# Days before months and 24 hours, as in the rules file; American English would write 11/22/25, 2:05 PM.
_LOCALES = {SOURCE: "en-GB"}
_PLACE = re.compile(r"\{(\w+)\}")


class Language:
    """Says things: `say("{who} left", who="Jana")`. Text without a translation stays English."""

    def __init__(self, name: str) -> None:
        """`name` is one of LANGUAGES; any other is taken for English."""
        self.name = name if name in LANGUAGES else SOURCE
        self._catalogue = _catalogue(self.name)

    @cached_property
    def locale(self) -> Locale:
        """How dates, times and numbers are written, and what countries are called."""
        return Locale.parse(_LOCALES.get(self.name, self.name), sep="-")

    def gettext(self, message: str, /, **values: object) -> str:
        """The translation, with `values` in its places."""
        said = self._catalogue.gettext(message)
        return filled(said, values) if values else said

    def ngettext(self, one: str, many: str, count: float, /, **values: object) -> str:
        """The form that goes with the count, to be put in where it says `{count}`."""
        said = self._catalogue.ngettext(one, many, int(count))
        return filled(said, values) if values else said


@cache
def language_called(name: str) -> Language:
    return Language(name)


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for it
    """Marks text for translators that is said later, by `gettext`."""
    return message


def filled(text: str, values: Mapping[str, object]) -> str:
    """With the values in their places. Only whole names are looked at, unlike in `str.format`: neither a
    template nor a catalogue can reach into a value or blow it up to a width. Values are not looked into again.
    """
    return _PLACE.sub(lambda place: str(values.get(place[1], place[0])), text)


def _catalogue(name: str) -> gettext.NullTranslations:
    if name == SOURCE:
        return gettext.NullTranslations()
    compiled = BytesIO()
    with (CATALOGUES / f"{name}.po").open("rb") as source:
        write_mo(compiled, read_po(source, locale=name.replace("-", "_"), abort_invalid=True))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
