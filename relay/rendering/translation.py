"""The texts that the code adds to notifications in each language, and the functions `_` and `ngettext` of templates.

    {{ _("{who} left a message", who=visitor.called) }}
    {{ ngettext("{count} page", "{count} pages", earlier_pages) }}

In HTML, texts and values are escaped, except for values that a macro wrote. Escaping is optimised,
because an email has about two hundred values.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from functools import lru_cache, partial

from babel.numbers import get_decimal_symbol
from markupsafe import Markup, escape

from relay.languages import N_, Language, filled, language_called
from relay.text import END_OF_ISOLATE, ISOLATE, isolated

try:
    from markupsafe import _escape_inner  # type: ignore[attr-defined]
except ImportError:  # private, and present since markupsafe 3

    def _escape_inner(text: str, /) -> str:
        return str(escape(text))


escaped: Callable[[str], str] = _escape_inner
"""Escapes text for HTML and returns a plain str; `escape` returns Markup and takes ten times as long."""
markup: Callable[[str], Markup] = partial(str.__new__, Markup)
"""Marks a str as HTML. `Markup` itself also accepts other types and takes three times as long."""


Shown = Callable[[object], str]
"""A function that converts a value to text."""


def text_writer(shown: Shown, *, rtl: bool) -> Shown:
    """Return a function that writes a value as text, isolated if its direction differs from `rtl`."""

    def put(value: object) -> str:
        text = value if type(value) is str else shown(value)
        return text if not rtl and text.isascii() else isolated(text, rtl=rtl)

    return put


def html_writer(shown: Shown, *, rtl: bool) -> Shown:
    """Return a function that writes a value as HTML: markup unchanged, everything else escaped and isolated."""
    as_text = text_writer(shown, rtl=rtl)

    def put(value: object) -> str:
        # The common case: nothing to isolate.
        if type(value) is str and not rtl and value.isascii():
            return escaped(value)
        return value if type(value) is Markup else escaped(as_text(value))

    return put


_TITLE_OR_TAG = re.compile("(<title>.*?</title>|<[^<>]*>)", re.DOTALL)
_ISOLATES = dict.fromkeys(map(ord, (ISOLATE, END_OF_ISOLATE)))
_BDI = {ord(ISOLATE): "<bdi>", ord(END_OF_ISOLATE): "</bdi>"}
_ADDRESS = re.compile(
    rf"(?:https?://|mailto:)(?:[^\s{ISOLATE}{END_OF_ISOLATE}]|{ISOLATE}[^{END_OF_ISOLATE}\n]*{END_OF_ISOLATE})+"
)


def with_bdi(html: str) -> str:
    """Return HTML with Unicode isolates replaced by `<bdi>` elements.

    Titles keep the characters, because they can't contain elements. In attributes, which may be
    URLs, they are removed.
    """
    if ISOLATE not in html:
        return html
    pieces = _TITLE_OR_TAG.split(html)
    pieces[::2] = [piece.translate(_BDI) for piece in pieces[::2]]
    pieces[1::2] = [
        piece if piece.startswith("<title>") else piece.translate(_ISOLATES)
        for piece in pieces[1::2]
    ]
    return "".join(pieces)


def without_isolates_in_addresses(text: str) -> str:
    """Return the text without isolates in the URLs that a template composed, so that the URLs stay valid."""
    if ISOLATE not in text:
        return text
    return _ADDRESS.sub(lambda address: address[0].translate(_ISOLATES), text)


_SYSTEM = {
    "agent.join": N_("{name} joined"),
    "agent.leave": N_("{name} left"),
    "agent.assign": N_("{name} was assigned"),
    "agent.unassign": N_("{name} was unassigned"),
    "close.agentClose": N_("{name} closed the chat"),
    "close.visitorClose": N_("The visitor closed the chat"),
    "close.timeout": N_("The chat was closed after a long silence"),
}
_UNITS = (86_400, 3_600, 60, 1)


def words_in(language: str) -> "Words":
    """Return the wording in one of the languages of this process."""
    return words_of(language_called(language))


@lru_cache(maxsize=64)
def words_of(language: Language) -> "Words":
    return Words(language)


class Words:
    """The wording in one language, and its formats of numbers and times."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._locale = language.locale
        self._decimal_point = get_decimal_symbol(self._locale)
        # Cached: each email repeats these values, and Babel is slow.
        self._clock_at = lru_cache(1_440)(self._write_clock)
        self._day_of = lru_cache(64)(self._write_day)
        self._unit = lru_cache(512)(self._write_unit)
        self._day_and_clock = str(self._locale.datetime_formats["medium"])
        _ = language.gettext
        self.visitor = _("Visitor")
        self.a_visitor = _("a visitor")
        self.agent = _("Agent")
        self.automatic = _("Automatic message")
        self.attachment = _("(attachment)")
        self.unknown = _("Unknown")
        self.variable = _("Variable")
        self.yes, self.no = _("yes"), _("no")
        self.answer_subject = _("Your message to us")
        self.cut_but_attached = " " + _("… [cut; the attachment has all of it]")

    # -- what happened -------------------------------------------------------------------------------------

    def system_message(self, code: str, name: str) -> str:
        """Return a system message's code in words; an undocumented code is returned unchanged."""
        if code not in _SYSTEM:
            return code
        _ = self.language.gettext
        if name:
            return _(_SYSTEM[code], name=name)
        text = _(_SYSTEM[code], name=_("an agent"))
        return text[:1].upper() + text[1:]

    def no_answer(self, seconds: float) -> str:
        """Return how long the visitor waited: "4 min without an answer"."""
        return self.language.gettext(
            "{duration} without an answer", duration=self.duration(seconds)
        )

    def left_out(self, count: int) -> str:
        """Return how many messages are left out: "3 messages left out"."""
        return self.language.ngettext(
            "{count} message left out", "{count} messages left out", count, count=count
        )

    # -- numbers and times ---------------------------------------------------------------------------------

    def duration(self, seconds: float, parts: int = 2) -> str:
        """Return seconds in words: 245 -> "4 min 5 s", or with one part "4 min". The rest is dropped, not rounded."""
        left = int(seconds)
        pieces: list[str] = []
        largest = next((place for place, size in enumerate(_UNITS) if left >= size), None)
        if largest is None:
            return self._unit(1, 0)
        for size in _UNITS[largest : largest + parts]:
            count, left = divmod(left, size)
            if count:
                pieces.append(self._unit(size, count))
        return " ".join(pieces)

    def _write_unit(self, size: int, count: int) -> str:
        """Return a count with its unit.

        CLDR's short forms are not used: they have "4 mins", "1 horas" and "3 Tg.".
        """
        ngettext = self.language.ngettext
        match size:
            case 86_400:
                return ngettext("{count} d", "{count} d", count, count=count)
            case 3_600:
                return ngettext("{count} h", "{count} h", count, count=count)
            case 60:
                return ngettext("{count} min", "{count} min", count, count=count)
            case _:
                return ngettext("{count} s", "{count} s", count, count=count)

    def clock(self, moment: datetime) -> str:
        """Return the time of day: "14:05"."""
        return self._clock_at(moment.hour, moment.minute)

    def _write_clock(self, hour: int, minute: int) -> str:
        return str(self._locale.time_formats["short"].apply(time(hour, minute), self._locale))

    def day(self, moment: datetime) -> str:
        """Return the day with its year: "22 Nov 2025"."""
        return self._day_of(moment.date())

    def _write_day(self, day: date) -> str:
        return str(self._locale.date_formats["medium"].apply(day, self._locale))

    def day_and_clock(self, moment: datetime, *, year: bool = True) -> str:
        """Return a moment as day and time of day, with or without the year."""
        day = (
            self.day(moment)
            if year
            else self._locale.datetime_skeletons["MMMd"].apply(moment, self._locale)
        )
        return self._day_and_clock.replace("{1}", day).replace("{0}", self.clock(moment))

    def moment(self, moment: datetime, now: datetime, *, day: bool = False) -> str:
        """Return a moment, as short as `now` allows: "17:05" today, "Fri 17:05" this week, else "22 Nov, 17:05".

        With `day`, the day is always included.
        """
        apart = abs((moment.date() - now.date()).days)
        if not apart and not day:
            return self.clock(moment)
        if apart < 7:
            weekday = self._locale.days["stand-alone"]["abbreviated"][moment.weekday()]
            return f"{weekday} {self.clock(moment)}"
        return self.day_and_clock(moment, year=moment.year != now.year)

    def country(self, code: str) -> str:
        """Return a country's name: CZ -> "Czechia"; a code that is not in ISO 3166 is returned unchanged."""
        return str(self._locale.territories.get(code.upper(), code)) if len(code) == 2 else code

    def number(self, value: float) -> str:
        """Return a number in the language's format: 4.0 -> "4", 4.5 -> "4,5" in many languages.

        It has no thousands separators, since it may be the number of an order.
        """
        return (
            str(int(value)) if value == int(value) else str(value).replace(".", self._decimal_point)
        )

    def rating(self, value: float) -> str:
        """Return a rating in words: 4 -> "4 of 5"; a number beyond Smartsupp's scale is returned alone."""
        number = self.number(value)
        return (
            self.language.gettext("{rating} of 5 stars", rating=number)
            if 0 <= value <= 5
            else number
        )


def stars(value: float | None) -> str:
    """Return a rating as stars: 4 -> "★★★★☆"; empty for None and for a number beyond the scale."""
    if value is None or not 0 <= value <= 5:
        return ""
    full = int(value + 0.5)
    return "★" * full + "☆" * (5 - full)


MAX_TRANSLATED = 200_000
"""The most characters of one translated text with its values."""


class TooLong(Exception):
    """Raised if values are inserted so often, or are so long, that the text would exceed MAX_TRANSLATED."""


Put = Callable[[object], str]


def translators(words: Words, put: Put, *, html: bool) -> Mapping[str, Callable[..., str]]:
    """Return the functions `_` and `ngettext` for templates; `put` writes a value, escaped if necessary."""
    language = words.language

    def fill(text: str, values: Mapping[str, object]) -> str:
        whole = filled(escaped(text) if html else text, _written(put, text, values))
        return markup(whole) if html else whole

    def translate(message: str, /, **values: object) -> str:
        return fill(language.gettext(message), values)

    def translate_count(singular: str, plural: str, count: float, /, **values: object) -> str:
        # The count is shown as written, not as an integer: 4.5 stays 4,5.
        return fill(language.ngettext(singular, plural, count), {"count": count, **values})

    return {"_": translate, "ngettext": translate_count}


def _written(put: Put, translated: str, values: Mapping[str, object]) -> dict[str, str]:
    """Return the values as text. Raises TooLong if the result would be too long."""
    written = {name: put(value) for name, value in values.items()}
    longest = max(map(len, written.values()), default=0)
    if len(translated) + longest * translated.count("{") > MAX_TRANSLATED:
        raise TooLong(f"_ and ngettext write at most {MAX_TRANSLATED:,} characters")
    return written
