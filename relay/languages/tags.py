"""Validates BCP 47 language tags. The CLDR must know how the language writes dates and numbers."""

import re

from babel import Locale, UnknownLocaleError
from babel.core import get_locale_identifier, parse_locale

TAG = "^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$"
"""The syntax of a language tag."""
_NONE = ("und", "mul", "zxx")
"""Valid tags that name no language: undetermined, multiple, not linguistic."""
EXAMPLES = "such as fr or pt-BR"


def is_tag(text: str) -> bool:
    """Whether a text is the canonical tag of a language: `fr`, `pt-BR`, `sr-Latn`."""
    if not re.fullmatch(TAG, text) or text in _NONE:
        return False
    try:
        Locale.parse(text, sep="-")
    except (UnknownLocaleError, ValueError):
        return False
    return True


def guess_tag(text: str) -> str:
    """Return the tag that a text probably means: `pt_br` -> `pt-BR`, `French` -> `fr`, `cz` -> `cs`.

    Empty if there is none.
    """
    name = text.strip().casefold()
    try:
        tag = get_locale_identifier(parse_locale(name.replace("_", "-"), sep="-")[:4], sep="-")
    except ValueError:
        tag = ""
    if is_tag(tag):
        return tag
    named = (code for code, words in Locale("en").languages.items() if words.casefold() == name)
    meant = next((tag for code in named if is_tag(tag := code.replace("_", "-"))), "")
    return meant or _spoken_in(name)


def _spoken_in(country: str) -> str:
    """Return the main language of a country code: `cz` -> `cs`; empty for any other text."""
    try:
        return Locale.parse(f"und_{country.upper()}").language if len(country) == 2 else ""
    except (UnknownLocaleError, ValueError):
        return ""


def base_of(tag: str) -> str:
    """Return a tag's language without its region: `de-AT` -> `de`; empty for a tag without region."""
    language, _, region = tag.rpartition("-")
    return language if len(region) in (2, 3) else ""


def name_of(tag: str) -> str:
    """Return the English name of a language: `pt-BR` -> "Portuguese (Brazil)"."""
    return Locale.parse(tag, sep="-").english_name or tag


def own_name_of(tag: str) -> str:
    """Return a language's name in the language itself: `cs` -> "Čeština"; the tag if the name is unknown."""
    name = Locale.parse(tag, sep="-").get_display_name() or tag
    return name[:1].upper() + name[1:]
