"""Which tags name a language: those of BCP 47, as far as the CLDR knows how dates and numbers are written in it."""

import re

from babel import Locale, UnknownLocaleError
from babel.core import get_locale_identifier, parse_locale

TAG = "^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$"
"""How one is spelt."""
_NONE = ("und", "mul", "zxx")
"""Tags of BCP 47 that name no language: undetermined, multiple, not linguistic."""
SUCH_AS = "such as fr or pt-BR"


def is_tag(text: str) -> bool:
    """Whether it names a language, spelt as BCP 47 has it: `fr`, `pt-BR`, `sr-Latn`."""
    if not re.fullmatch(TAG, text) or text in _NONE:
        return False
    try:
        Locale.parse(text, sep="-")
    except (UnknownLocaleError, ValueError):
        return False
    return True


def tag_meant_by(text: str) -> str:
    """What somebody wrote who knows a language but not its tag: `pt_br` -> `pt-BR`, `French` -> `fr`, `cz` -> `cs`.

    Else nothing.
    """
    name = text.strip().casefold()
    try:
        tag = get_locale_identifier(parse_locale(name.replace("_", "-"), sep="-")[:4], sep="-")
    except ValueError:
        tag = ""
    if is_tag(tag):
        return tag
    named = (code for code, words in Locale("en").languages.items() if words.casefold() == name)
    found = next((tag for code in named if is_tag(tag := code.replace("_", "-"))), "")
    return found or _spoken_in(name)


def _spoken_in(country: str) -> str:
    """`cz` -> `cs`: what most people speak there; nothing for what is no code of a country."""
    try:
        return Locale.parse(f"und_{country.upper()}").language if len(country) == 2 else ""
    except (UnknownLocaleError, ValueError):
        return ""


def base_of(tag: str) -> str:
    """The language of a tag without its region: `de-AT` -> `de`; empty for a tag that has none."""
    language, _, region = tag.rpartition("-")
    return language if len(region) in (2, 3) else ""


def name_of(tag: str) -> str:
    """The English name of a language: `pt-BR` -> "Portuguese (Brazil)"."""
    return Locale.parse(tag, sep="-").english_name or tag
