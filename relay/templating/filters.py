"""The filters that templates may use. Each takes what stands left of the bar; a missing value gives nothing.

`{{ chat.waited|duration }}` -> "4 min 5 s". Those of Jinja's own that are kept stand in `sandbox.JINJA_FILTERS`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from markupsafe import Markup, escape

from relay.templating import words
from relay.templating.excerpt import html_bytes
from relay.templating.links import host, web_link
from relay.text import cut as cut_text


class NotText(Exception):
    """A list or a mapping stands where only a text or a number can be written."""


def shown(value: object) -> str:
    """How a value is written: nothing for none, a word for yes and no, 5 for 5.0. Raises NotText.

    A list has no form that a reader would want, and nested lists one that doubles at every level.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return words.YES if value else words.NO
    if isinstance(value, dict | list | tuple):
        raise NotText("a list or a mapping can't be written; name a part of it, or join it")
    return words.number(value) if isinstance(value, float) else str(value)


def time(moment: str | None) -> str:
    """Clock time in the destination's zone: "14:05"."""
    return words.clock(datetime.fromisoformat(moment)) if moment else ""


def date(moment: str | None) -> str:
    """Day in the destination's zone: "22 Nov 2025"."""
    return words.day(datetime.fromisoformat(moment)) if moment else ""


def date_time(moment: str | None) -> str:
    """Day and clock time in the destination's zone: "22 Nov 2025, 14:05"."""
    return f"{date(moment)}, {time(moment)}" if moment else ""


def duration(seconds: float | None, parts: int = 2) -> str:
    """Seconds in words: "4 min 5 s"; `duration(1)` gives "4 min"."""
    return words.duration(seconds, parts) if seconds is not None else ""


def plural(count: float, one: str, many: str = "") -> str:
    """A count with its noun: `3|plural("message")` -> "3 messages", `2|plural("reply", "replies")`."""
    return words.counted(count, one, many)


def rating(value: float | None) -> str:
    """A rating in words: "1 of 5"."""
    return words.rating(value) if value is not None else ""


def stars(value: float | None) -> str:
    """A rating as stars: "★☆☆☆☆"."""
    return words.stars(value) if value is not None else ""


def cut(text: str, length: int) -> str:
    """At most so many characters, with an ellipsis where something was left out."""
    return cut_text(_unescaped(text), length)


def fit(text: str, size: int) -> str:
    """At most so many bytes of HTML once it is escaped, with an ellipsis where something was left out."""
    return cut_text(_unescaped(text), size, html_bytes)


def sentence(text: str) -> str:
    """The same with a capital at the beginning; a mail address stays as it is."""
    written = shown(text)
    return written if "@" in written.partition(" ")[0] else written[:1].upper() + written[1:]


def upper(text: str) -> str:
    """In capitals."""
    return shown(text).upper()


def lower(text: str) -> str:
    """In small letters."""
    return shown(text).lower()


def trim(text: str) -> str:
    """Without the blanks around it."""
    return shown(text).strip()


def indented(text: str) -> str:
    """Every line but the first set off by four blanks: what a visitor wrote can't pass for a new message."""
    return shown(text).replace("\n", "\n    ")


def breaks(text: str) -> Markup:
    """For HTML: escaped, with a <br> for each line break."""
    return Markup(str(escape(shown(text))).replace("\n", "<br>\n"))  # noqa: S704 - escaped one step before


def _unescaped(text: str) -> str:
    """What a macro wrote into HTML, as text again: cutting must not meet a half entity."""
    return text.unescape() if isinstance(text, Markup) else shown(text)


FILTERS: Mapping[str, Callable[..., str]] = {
    "time": time,
    "date": date,
    "datetime": date_time,
    "duration": duration,
    "plural": plural,
    "rating": rating,
    "stars": stars,
    "cut": cut,
    "fit": fit,
    "sentence": sentence,
    "upper": upper,
    "lower": lower,
    "trim": trim,
    "indented": indented,
    "host": host,
    "web_link": web_link,
    "breaks": breaks,
}
