"""A chat as conditions see it: every value in the form in which it is compared, made once."""

import math
import re
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property

from relay.chat import Chat
from relay.rules.field_type import Field, Kind, Raw
from relay.rules.folding import fold, fold_case, spaced
from relay.rules.reading.phrases import number_words
from relay.rules.text_search import Search
from relay.rules.time_limit import CurrentLimit
from relay.text import is_blank

MAX_TEXT = 64_000
"""Characters of one text that conditions look at; nobody types more, and every condition costs by length."""


SECONDS_TO_FOLD = 1e-7
"""For each character, in Python."""


class Words:
    """One text of a chat, or of a rule, in the forms in which texts are compared. Each is made when first asked for."""

    def __init__(self, text: str, check_time: Callable[[], None] | None = None) -> None:
        self._text = text[:MAX_TEXT]
        self._check_time = check_time
        self._searched: dict[Search, bool] = {}

    @cached_property
    def plain(self) -> str:
        """The text as it was typed, in Unicode's form NFC."""
        text = self._text
        return text if text.isascii() else unicodedata.normalize("NFC", text)

    @cached_property
    def _encoded(self) -> bytes:
        # "replace": a lone surrogate, which `clean` never lets through, must not end in an exception.
        return self.plain.encode("utf-8", "replace")

    def matches(self, search: Search) -> bool:
        """Whether a pattern is found in it as typed; each is looked for once. Raises OutOfTime."""
        if search not in self._searched:
            if self._check_time:
                self._check_time()
            self._searched[search] = search(self._encoded) is not None
        return self._searched[search]

    @cached_property
    def exact(self) -> str:
        """The text as it was typed, with blanks and line breaks folded; for `exactly`."""
        return spaced(self.plain)

    @cached_property
    def cased(self) -> str:
        """Without regard to case; to tell what else did not count."""
        return fold_case(self._text)

    @cached_property
    def folded(self) -> str:
        """The text in the form in which texts are compared (`fold`)."""
        return fold(self._text)

    @cached_property
    def number(self) -> float | None:
        """What it spells; for a visitor's variable."""
        return _number(self._text)


Value = bool | int | float | timedelta | datetime | Words | tuple[Words, ...] | None


class ChatView(dict[Field, Value]):
    """A chat's values by field, each made ready when a condition first asks. None: there is none."""

    def __init__(self, chat: Chat) -> None:
        super().__init__()
        self.chat = chat
        self.time = CurrentLimit()
        """For what is asked from now on."""

    def __missing__(self, field: Field) -> Value:
        value = self[field] = ready(field.get(self.chat), field.kind, self.time.check)
        return value


def ready(raw: Raw, kind: Kind, check_time: Callable[[], None] | None = None) -> Value:
    """What a field has, in the form in which it is compared. `check_time` is called before each long step."""
    if isinstance(raw, str):
        return None if is_blank(raw) else Words(raw, check_time)
    if isinstance(raw, tuple):
        return tuple([Words(text, check_time) for text in raw if not is_blank(text)]) or None
    if kind is Kind.VARIABLE and raw is not None:
        return _spelled(raw)
    return raw


def _spelled(raw: object) -> Words:
    if isinstance(raw, bool):
        return Words("true" if raw else "false")
    if not isinstance(raw, int | float):
        return Words(str(raw))
    words = Words(number_words(raw))
    words.number = float(raw)
    return words


MAX_NUMBER = 40
"""Characters of a number; longer texts are none."""
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?")
# Groups of three digits, and of two as in India; a mark for the fraction is another than the one between groups.
_GROUPED = re.compile(
    r"(?P<whole>[+-]?[1-9]\d{0,2}(?P<mark>[ .,'_])\d{2,3}(?:(?P=mark)\d{2,3})*(?<=\d{3}))"
    r"(?:(?!(?P=mark))[.,](?P<fraction>\d+))?"
)
_COMMA = re.compile(r"[+-]?\d+,\d+")


def _number(text: str) -> float | None:
    """`1290`, `1 290`, `1,290.50`, `1.290,50`, `12,5`; a single comma before three digits stands between thousands."""
    text = fold(text) if len(text) <= MAX_NUMBER else ""
    if not _PLAIN.fullmatch(text):
        if found := _GROUPED.fullmatch(text):
            text = f"{re.sub('[^-0-9]', '', found['whole'])}.{found['fraction'] or 0}"
        elif _COMMA.fullmatch(text):
            text = text.replace(",", ".")
        else:
            return None
    value = float(text)
    return value if math.isfinite(value) else None
