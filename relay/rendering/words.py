"""Every word that the code puts into a notification, in each language. What a template says is in its own files."""

from datetime import date, datetime, time
from functools import lru_cache

from babel.numbers import get_decimal_symbol

from relay.languages import N_, Language, language_called

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
    """Of the languages that this process speaks."""
    return words_of(language_called(language))


@lru_cache(maxsize=64)
def words_of(language: Language) -> "Words":
    return Words(language)


class Words:
    """How things are said and written in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._locale = language.locale
        self._decimal_point = get_decimal_symbol(self._locale)
        # What is written of a chat is written for each of its mails, and Babel takes its time.
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
        """A system message's code in words; a code that nobody documented stays as it is."""
        if code not in _SYSTEM:
            return code
        _ = self.language.gettext
        if name:
            return _(_SYSTEM[code], name=name)
        said = _(_SYSTEM[code], name=_("an agent"))
        return said[:1].upper() + said[1:]

    def no_answer(self, seconds: float) -> str:
        return self.language.gettext(
            "{duration} without an answer", duration=self.duration(seconds)
        )

    def left_out(self, count: int) -> str:
        return self.language.ngettext(
            "{count} message left out", "{count} messages left out", count, count=count
        )

    def more_left_out(self, count: int) -> str:
        """Below facts of which the last ones are not shown."""
        return self.language.ngettext(
            "{count} more left out", "{count} more left out", count, count=count
        )

    # -- numbers and times ---------------------------------------------------------------------------------

    def duration(self, seconds: float, parts: int = 2) -> str:
        """245 -> "4 min 5 s", or with one part "4 min". The rest is dropped, not rounded up."""
        left = int(seconds)
        said: list[str] = []
        largest = next((place for place, size in enumerate(_UNITS) if left >= size), None)
        if largest is None:
            return self._unit(1, 0)
        for size in _UNITS[largest : largest + parts]:
            count, left = divmod(left, size)
            if count:
                said.append(self._unit(size, count))
        return " ".join(said)

    def _write_unit(self, size: int, count: int) -> str:
        """Not CLDR's short forms: they say "4 mins", "1 horas" and "3 Tg."."""
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
        return self._clock_at(moment.hour, moment.minute)

    def _write_clock(self, hour: int, minute: int) -> str:
        return str(self._locale.time_formats["short"].apply(time(hour, minute), self._locale))

    def day(self, moment: datetime) -> str:
        return self._day_of(moment.date())

    def _write_day(self, day: date) -> str:
        return str(self._locale.date_formats["medium"].apply(day, self._locale))

    def day_and_clock(self, moment: datetime, *, year: bool = True) -> str:
        """Within a transcript, where the day has changed, the year is clear from elsewhere."""
        day = (
            self.day(moment)
            if year
            else self._locale.datetime_skeletons["MMMd"].apply(moment, self._locale)
        )
        return self._day_and_clock.replace("{1}", day).replace("{0}", self.clock(moment))

    def country(self, code: str) -> str:
        """CZ -> "Czechia"; a code that ISO 3166 doesn't have stays as it is."""
        return str(self._locale.territories.get(code.upper(), code)) if len(code) == 2 else code

    def number(self, value: float) -> str:
        """4.0 -> "4", 4.5 -> "4,5" in many languages. Without marks between thousands: it may be an order's."""
        return (
            str(int(value)) if value == int(value) else str(value).replace(".", self._decimal_point)
        )

    def rating(self, value: float) -> str:
        """4 -> "4 of 5"; a number beyond Smartsupp's scale stands alone."""
        number = self.number(value)
        return (
            self.language.gettext("{rating} of 5 stars", rating=number)
            if 0 <= value <= 5
            else number
        )


def stars(value: float | None) -> str:
    """4 -> "★★★★☆"; nothing for none, or for a number beyond the scale."""
    if value is None or not 0 <= value <= 5:
        return ""
    full = int(value + 0.5)
    return "★" * full + "☆" * (5 - full)
