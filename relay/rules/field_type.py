"""What a field is: something of a chat that a rule can ask about."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from relay.chat import Chat


class Kind(StrEnum):
    """What sort of value a field has; it decides which operators fit."""

    YES_NO = "yes or no"
    NUMBER = "number"
    DURATION = "duration"
    TIME = "time"
    TEXT = "text"
    TEXTS = "list of texts"
    VARIABLE = "text or number"


Raw = bool | int | float | timedelta | datetime | str | tuple[str, ...] | None


Put = Callable[[Chat, Raw], Chat]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """Something a chat has. Compared by identity: fields are looked up for every condition of every rule."""

    name: str
    wire: str = ""
    """Where Smartsupp's hook has it; empty for what we derive."""
    kind: Kind
    doc: str
    subject: str
    """Begins the words of a condition: `rated` 2 or lower. For yes or no the whole of it: `missed`."""
    absent: str
    """The words for a field without a value; for yes or no, the words for no."""
    get: Callable[[Chat], Raw]
    put: Put | None = None
    """The chat with this value, for chats that a test makes up; None for what follows from the messages."""
    limits: tuple[float, float] | None = None
    """The lowest and the highest number it can be."""
    form: str = ""
    """What the whole of its value looks like: a regular expression, for warnings."""
    form_words: str = ""
