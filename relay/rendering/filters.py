"""The filters that templates may use. A missing value gives an empty text.

`{{ chat.waited|duration }}` -> "4 min 5 s". `sandbox.JINJA_FILTERS` has the filters that are
Jinja's own. The first line of each docstring is shown by `relay fields --templates`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from jinja2.runtime import Undefined
from markupsafe import Markup

from relay.links import host, web_link
from relay.rendering.transcript import MOST_BYTES, html_bytes
from relay.rendering.translation import Words, escaped, markup
from relay.rendering.translation import stars as stars_of
from relay.text import cut as cut_text
from relay.text import indented, starts_from_right


class NotText(Exception):
    """Raised for a list or a mapping where only a text or a number can be written."""


class Filters:
    """The filters that depend on the language, or that convert their value to text first."""

    def __init__(self, words: Words, *, html: bool) -> None:
        self._words = words
        self._blank = "\N{NO-BREAK SPACE}" if html else " "

    def shown(self, value: object) -> str:
        """The value as text: empty for None, a word for yes and no, 5 for 5.0. Raises NotText.

        Lists are refused: they have no readable form, and nested ones could double at every level.
        """
        if isinstance(value, str):
            return value
        if value is None:
            return ""
        if isinstance(value, bool):
            return self._words.yes if value else self._words.no
        if isinstance(value, float):
            return self._words.number(value)
        if isinstance(value, int | Undefined):
            return str(value)  # raises UndefinedError for a missing value
        if isinstance(value, dict | list | tuple | Iterator):
            raise NotText("a list or a mapping can't be written; name a part of it, or join it")
        raise NotText("this is neither text nor a number, so it can't be written")

    def time(self, moment: str | None) -> str:
        """The time of day in the destination's time zone."""
        return self._words.clock(datetime.fromisoformat(moment)) if moment else ""

    def date(self, moment: str | None) -> str:
        """The day in the destination's time zone."""
        return self._words.day(datetime.fromisoformat(moment)) if moment else ""

    def datetime(self, moment: str | None) -> str:
        """The day and the time of day in the destination's time zone."""
        return self._words.day_and_clock(datetime.fromisoformat(moment)) if moment else ""

    def duration(self, seconds: float | None, parts: int = 2) -> str:
        """Seconds in words, the two largest units; `duration(1)` gives only the largest.

        In HTML, no line breaks within it.
        """
        text = self._words.duration(seconds, parts) if seconds is not None else ""
        return text.replace(" ", self._blank)

    def rating(self, value: float | None) -> str:
        """A rating in words."""
        return self._words.rating(value) if value is not None else ""

    def country(self, code: str | None) -> str:
        """The name of the country with this code."""
        return self._words.country(self.shown(code))

    def cut(self, text: str, length: int) -> str:
        """At most this many characters, with an ellipsis if the text was cut."""
        is_short = type(text) is str and len(text) <= length
        return text if is_short else cut_text(self._unescaped(text), length)

    def fit(self, text: str, size: int) -> str:
        """At most this many bytes of escaped HTML, with an ellipsis if the text was cut."""
        is_short = type(text) is str and len(text) * MOST_BYTES <= size
        return text if is_short else cut_text(self._unescaped(text), size, html_bytes)

    def sentence(self, text: str) -> str:
        """The text with a capital first letter; an email address stays unchanged."""
        written = self.shown(text)
        plain = str(written)  # avoids making markup at each step
        if "@" in plain.partition(" ")[0]:
            return written
        return type(written)(plain[:1].upper() + plain[1:])

    def upper(self, text: str) -> str:
        """The text in upper case."""
        return self.shown(text).upper()

    def lower(self, text: str) -> str:
        """The text in lower case."""
        return self.shown(text).lower()

    def trim(self, text: str) -> str:
        """The text without leading and trailing spaces."""
        return self.shown(text).strip()

    def indented(self, text: str) -> str:
        """The text with every line but the first indented by four spaces.

        A visitor's text then can't imitate the start of a new message.
        """
        return indented(self.shown(text))

    def underlined(self, text: str) -> str:
        """The text with a line of dashes below it, as a heading in plain text."""
        written = self.shown(text)
        return f"{written}\n{'-' * len(written)}"

    def direction(self, text: str) -> str:
        """`rtl` for a text that begins in a right-to-left script such as Arabic, else `ltr`."""
        return "rtl" if starts_from_right(self.shown(text)) else "ltr"

    def breaks(self, text: str) -> Markup:
        """Escaped HTML with a `<br>` for each line break; indented lines stay indented."""
        written = self.shown(text)
        if written[:1] in _BLANKS or "\n " in written or "\n\t" in written:
            written = _INDENTED.sub(_kept, written)
        return markup(escaped(written).replace("\n", "<br>\n"))

    def _unescaped(self, text: str) -> str:
        """Return the text, with HTML that a macro wrote unescaped, so that it can't be cut inside an entity."""
        return text.unescape() if isinstance(text, Markup) else self.shown(text)


def stars(value: float | None) -> str:
    """A rating as stars."""
    return stars_of(value) if value is not None else ""


_BLANKS = (" ", "\t")
_INDENTED = re.compile("^[ \t]+(?=[^ \t\n])", re.MULTILINE)


def _kept(blanks: re.Match[str]) -> str:
    """Return spaces of the same width that HTML keeps; every second one allows a line break."""
    width = len(blanks[0].expandtabs(4))
    return "\N{NO-BREAK SPACE} " * (width // 2) + "\N{NO-BREAK SPACE}" * (width % 2)


def filters_by_name(filters: Filters) -> Mapping[str, Callable[..., str]]:
    """Return the filters by the names that templates use."""
    return {
        "time": filters.time,
        "date": filters.date,
        "datetime": filters.datetime,
        "duration": filters.duration,
        "rating": filters.rating,
        "stars": stars,
        "country": filters.country,
        "cut": filters.cut,
        "fit": filters.fit,
        "sentence": filters.sentence,
        "upper": filters.upper,
        "lower": filters.lower,
        "trim": filters.trim,
        "indented": filters.indented,
        "underlined": filters.underlined,
        "host": host,
        "web_link": web_link,
        "breaks": filters.breaks,
        "direction": filters.direction,
    }
