"""A chat as conditions see it: every value in the form in which it is compared, made once."""

import math
import unicodedata
from datetime import datetime, timedelta
from functools import cached_property

from relay.chat import Chat
from relay.rules.field import Field, Kind, Raw
from relay.rules.folding import fold, fold_case, spaced
from relay.rules.wording import number_words

MAX_TEXT = 64_000
"""Characters of one text that conditions look at; nobody types more, and every condition costs by length."""


class Words:
    """One text of a chat, or of a rule, in the forms in which texts are compared. Each is made when first asked for."""

    def __init__(self, text: str) -> None:
        self._text = text[:MAX_TEXT]

    @cached_property
    def plain(self) -> str:
        """As typed, in one Unicode form."""
        text = self._text
        return text if text.isascii() else unicodedata.normalize("NFC", text)

    @cached_property
    def encoded(self) -> bytes:
        """The same in UTF-8, for patterns."""
        # "replace": a lone surrogate, which `clean` never lets through, must not end in an exception.
        return self.plain.encode("utf-8", "replace")

    @cached_property
    def exact(self) -> str:
        """As typed but for spacing; for `exactly`."""
        return spaced(self.plain)

    @cached_property
    def cased(self) -> str:
        """Without regard to case; to tell what else did not count."""
        return fold_case(self._text)

    @cached_property
    def folded(self) -> str:
        """As texts are compared."""
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

    def __missing__(self, field: Field) -> Value:
        value = self[field] = ready(field.get(self.chat), field.kind)
        return value


def ready(raw: Raw, kind: Kind) -> Value:
    """What a field has, in the form in which it is compared."""
    if isinstance(raw, str):
        return Words(raw) if raw else None
    if isinstance(raw, tuple):
        return tuple(Words(text) for text in raw if text) or None
    if kind is Kind.VARIABLE and raw is not None:
        return Words(_spelled(raw))
    return raw


def _spelled(raw: object) -> str:
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return number_words(raw) if isinstance(raw, int | float) else str(raw)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
