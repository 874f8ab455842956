"""Writes a new rule as YAML from a few answers, so that nobody needs to know YAML to begin one."""

import json
import re
from collections.abc import Sequence

from msgspec import Struct

from relay.languages import N_
from relay.rules.line_edits import names_in, with_rule
from relay.text import clean_line


class StartingPoint(Struct, frozen=True):
    """A kind of chat for which a rule is often wanted."""

    name: str
    """The name of the rule, unless another one is chosen."""
    meaning: str
    """Which chats it is about; a comment above the rule."""
    condition: str
    """The condition in YAML, with `{value}` where the user's own value stands."""
    template: str = "chat"
    """The name of the template that suits the starting point."""
    asks: str = ""
    """The question for the value; empty if there is none to give."""
    usual: str = ""
    """The value that is used if none is given."""
    is_number: bool = False
    """Whether the value is a whole number; else it is a text."""
    most: int = 0
    """The largest number that may be given; 0 if the value is no number."""


STARTING_POINTS = {
    "missed": StartingPoint(
        N_("Missed chats"),
        N_("No agent answered the visitor's last message."),
        "missed: true",
        "missed",
    ),
    "low_rating": StartingPoint(
        N_("Bad ratings"),
        N_("The visitor gave a low rating."),
        "rating: {{at_most: {value}}}",
        "low_rating",
        asks=N_("Rated this or lower, 1 to 5"),
        usual="2",
        is_number=True,
        most=5,
    ),
    "offline": StartingPoint(
        N_("Offline messages"),
        N_("The visitor left a message while nobody was there."),
        "offline: true",
        "offline",
    ),
    "slow": StartingPoint(
        N_("Slow answers"),
        N_("The visitor waited long for the first answer."),
        "first_response: {{more_than: {value}m}}",
        asks=N_("Longer than this many minutes"),
        usual="3",
        is_number=True,
        most=1440,
    ),
    "vip": StartingPoint(
        N_("VIP customers"),
        N_("The agents' note on the visitor has a certain word."),
        "visitor.note: {{contains: {value}}}",
        "vip",
        asks=N_("Words in the note"),
        usual="VIP",
    ),
    "words": StartingPoint(
        N_("Words that visitors write"),
        N_("The visitor wrote certain words; commas stand between several."),
        "said: {{contains_word: {value}}}",
        asks=N_("Words, with commas between them"),
    ),
}
ODD_TEXT = N_(
    "No rule can be added to this text. Fix its problems, or write the rule in the editor."
)
LONGEST = 200
"""The most characters of a name or a value."""


class NewRule(Struct, frozen=True, kw_only=True):
    """The answers from which a rule is written."""

    kind: str
    """A key of STARTING_POINTS."""
    name: str
    send_to: tuple[str, ...]
    """The names of destinations."""
    value: str = ""
    within: str = ""
    """The name of a schedule in whose hours the chat began; empty: at any time."""
    outside: str = ""
    """The name of a schedule outside whose hours the chat began; empty: at any time."""


class NotARule(Exception):
    """Raised for an answer from which no rule can be written."""

    def __init__(self, field: str, words: str, **values: int) -> None:
        """`field`: the name of the answer; `words`: why, in English; `values` for its placeholders."""
        super().__init__(words.format(**values))
        self.field, self.words, self.values = field, words, values


def add_rule(source: bytes, rule: NewRule, comment: str, templates: Sequence[str]) -> bytes:
    """Return a rules file with one more rule, below the others. Raises NotARule, and NotSpliced for a text that can't be read.

    `comment`: a line above the rule; `templates`: the names that rules may name.
    """
    start = STARTING_POINTS[rule.kind]
    name = clean_line(rule.name, LONGEST)
    hours = [(word, each) for word in ("within", "outside") if (each := getattr(rule, word))]
    _check_names(source, name, rule.send_to, [schedule for _, schedule in hours])
    lines = [f"# {clean_line(comment)}", f"- name: {_scalar(name)}", "  when:"]
    lines.append(f"    {start.condition.format(value=_value(start, rule.value))}")
    lines += [f"    began: {{{word}: {_scalar(each)}}}" for word, each in hours]
    lines.append(f"  send_to: [{', '.join(map(_scalar, rule.send_to))}]")
    if start.template in templates:
        lines.append(f"  template: {start.template}")
    return with_rule(source, "\n".join(lines) + "\n")


def _check_names(
    source: bytes, name: str, send_to: Sequence[str], schedules: Sequence[str]
) -> None:
    """Raise NotARule unless the rule's name is a new one, and the file has the other names."""
    if not name:
        raise NotARule("name", N_("Enter a name."))
    if name in names_in(source, "rules"):
        raise NotARule("name", N_("There is a rule of this name already."))
    if not send_to or not set(send_to) <= set(names_in(source, "destinations")):
        raise NotARule("send_to", N_("Choose where to send."))
    if not set(schedules) <= set(names_in(source, "schedules")):
        raise NotARule("when", N_("The file has no such schedule."))


def _value(start: StartingPoint, value: str) -> str:
    value = clean_line(value, LONGEST)
    if not start.asks:
        return ""
    if start.is_number:
        if not (re.fullmatch("[0-9]{1,4}", value) and 1 <= int(value) <= start.most):
            raise NotARule("value", N_("Enter a whole number from 1 to {most}."), most=start.most)
        return str(int(value))
    words = [each.strip() for each in value.split(",") if each.strip()]
    if not words:
        raise NotARule("value", N_("Enter the words to look for."))
    return _scalar(words[0]) if len(words) == 1 else f"[{', '.join(map(_scalar, words))}]"


_PLAIN = re.compile(r"[^\W\d_](?:[\w /-]*\w)?")
_YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "nobody", "y", "n"}


def _scalar(text: str) -> str:
    """Return the text as YAML: as it is where that is safe, else in quotes."""
    if _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
