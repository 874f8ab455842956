"""Every word that the code puts into a notification. What a template says stands in its own files.

English only so far; gettext has one module to go through.
"""

from datetime import datetime

VISITOR = "Visitor"
A_VISITOR = "a visitor"
AGENT = "Agent"
AN_AGENT = "An agent"
AUTOMATIC = "Automatic message"
UNKNOWN = "Unknown"
YES, NO = "yes", "no"
VARIABLE = "Variable"
CUT_SHORT = " … [cut, the text part has all of it]"
CUT = " … [cut]"
ANSWER = "Answer {address}"

_SYSTEM = {
    "agent.join": "{name} joined",
    "agent.leave": "{name} left",
    "agent.assign": "{name} was assigned",
    "agent.unassign": "{name} was unassigned",
    "close.agentClose": "{name} closed the chat",
    "close.visitorClose": "The visitor closed the chat",
    "close.timeout": "The chat was closed after a long silence",
}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def system_message(code: str, name: str) -> str:
    """A system message's code in words; a code that nobody documented stays as it is."""
    return _SYSTEM[code].format(name=name or AN_AGENT) if code in _SYSTEM else code


def no_answer(seconds: float) -> str:
    return f"{duration(seconds)} without an answer"


def duration(seconds: float, parts: int = 2) -> str:
    """245 -> "4 min 5 s", or with one part "4 min". The rest is dropped, not rounded up."""
    left = int(seconds)
    said: list[str] = []
    largest = next((place for place, (size, _) in enumerate(_UNITS) if left >= size), None)
    if largest is None:
        return "0 s"
    for size, unit in _UNITS[largest : largest + parts]:
        count, left = divmod(left, size)
        if count:
            said.append(f"{count} {unit}")
    return " ".join(said)


def clock(moment: datetime) -> str:
    return f"{moment.hour:02}:{moment.minute:02}"


def day(moment: datetime) -> str:
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def day_and_clock(moment: datetime) -> str:
    """Within a transcript, where the day has changed: the year is clear from elsewhere."""
    return f"{moment.day} {_MONTHS[moment.month - 1]}, {clock(moment)}"


def counted(count: float, one: str, many: str = "") -> str:
    """3, "message" -> "3 messages"."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def number(value: float) -> str:
    """4.0 -> "4"."""
    return str(int(value)) if value == int(value) else str(value)


def rating(value: float) -> str:
    """4 -> "4 of 5"; a number beyond Smartsupp's scale stands alone."""
    return f"{number(value)} of 5" if 0 <= value <= 5 else number(value)


def stars(value: float) -> str:
    """4 -> "★★★★☆"; nothing for a number beyond the scale."""
    full = int(value + 0.5)
    return "★" * full + "☆" * (5 - full) if 0 <= value <= 5 else ""


# -- the built-in wording, for when a template is broken -----------------------------------------------------

FALLBACK_NOTE = (
    "The template{template} is broken, so this is the relay's built-in wording. "
    "Mend it and run `relay check`. What was wrong: {problem}"
)
FALLBACK_SUBJECT = "{headline} (template broken)"
FALLBACK_HEADLINES = {
    "missed": "Missed chat: {who}",
    "offline": "Offline message from {who}",
    "finished": "Chat with {who}",
}
FALLBACK_RATED = "Rated {rating}: {who}"
FALLBACK_LABELS = {
    "rating": "Rating",
    "comment": "Comment",
    "email": "E-mail",
    "note": "Note",
    "waited": "Waited",
    "began": "Began",
    "rule": "Rule",
    "chat": "Chat",
}
FALLBACK_CHAT = "{id} of account {account}"
FALLBACK_LEFT_OUT = "[{count} left out]"
FALLBACK_MESSAGE = ("message", "messages")
