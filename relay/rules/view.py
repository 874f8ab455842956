"""A chat as conditions see it: every value in the form in which it is compared, made once."""

import math
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.chat import Chat
from relay.rules.field import Field, Kind, Raw
from relay.rules.wording import number_words

MAX_TEXT = 64_000
"""Characters of one text that conditions look at; nobody types more, and every condition costs by length."""


@dataclass(frozen=True, slots=True)
class Words:
    """One text of a chat, ready to be compared."""

    folded: str
    plain: str
    """As typed, in one Unicode form; for patterns."""
    number: float | None = None
    """What it spells, for a visitor's variable."""


Value = bool | int | float | timedelta | datetime | Words | tuple[Words, ...] | None


def fold(text: str) -> str:
    """The form in which texts are compared: case, spacing and ways to type the same letter don't count."""
    if not text.isascii():
        # Twice, for folding can undo the normal form (UAX 15; caseless matching of the Unicode Standard 3.13).
        text = unicodedata.normalize("NFKC", text)
        text = unicodedata.normalize("NFKC", text.casefold())
    return " ".join(text.casefold().split())


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
        return as_words(raw, kind) if raw else None
    if isinstance(raw, tuple):
        return tuple(as_words(text, kind) for text in raw if text) or None
    if kind is Kind.VARIABLE and raw is not None:
        return as_words(_spelled(raw), kind)
    return raw


def as_words(text: str, kind: Kind) -> Words:
    """A text, ready to be compared."""
    text = text[:MAX_TEXT]
    number = _number(text) if kind is Kind.VARIABLE else None
    plain = text if text.isascii() else unicodedata.normalize("NFC", text)
    return Words(fold(text), plain, number)


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
