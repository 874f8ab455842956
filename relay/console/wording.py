"""The languages of the console, in catalogues of its own: what notifications say is translated elsewhere."""

import gettext
from functools import cache
from pathlib import Path

from relay.languages import LANGUAGES, SOURCE, Language
from relay.languages.catalogue import read_catalogue
from relay.languages.tags import base_of

CATALOGUES = Path(__file__).parent / "translations"
MOST_ASKED = 20
"""Languages of an Accept-Language header that are looked at."""


def language_for(accepted: str, usual: str) -> Language:
    """The first language that a browser asks for and that there is, else `usual`. `accepted`: an Accept-Language header."""
    wanted = [(_weight(each), each.partition(";")[0].strip()) for each in accepted.split(",")]
    by_weight = sorted(wanted[:MOST_ASKED], key=lambda each: -each[0])
    for tag in (*(tag for weight, tag in by_weight if weight > 0), usual):
        for name in LANGUAGES:
            if name.casefold() in {tag.casefold(), base_of(tag.casefold())}:
                return language_called(name)
    return language_called(SOURCE)


def _weight(asked: str) -> float:
    for parameter in asked.split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


@cache
def language_called(name: str) -> Language:
    """One of LANGUAGES."""
    path = CATALOGUES / f"{name}.po"
    if name == SOURCE or not path.exists():
        return Language(name, gettext.NullTranslations())
    return Language(name, read_catalogue(path, name).translations())
