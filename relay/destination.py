"""What a transport offers to the rules file, and a destination as the rules file names it.

A transport declares a `TransportSpec`; the rules reader reads `destinations:` by it, without knowing any
transport. Adding a transport therefore touches no reader.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from relay.timing.plan import AT_ONCE, Timing


class OptionKind(StrEnum):
    """How the value of an option is written."""

    ADDRESSES = "addresses"
    """One email address or a list of them; each becomes a recipient."""
    SECRET = "secret"  # noqa: S105 - the word, not one
    """`$NAME` of an environment variable or NAME_FILE; a literal value is refused."""
    ADDRESS = "address"
    """One email address, or one of `Option.choices`."""
    TEXT = "text"
    JSON = "json"
    """A mapping, kept as JSON, whose texts may hold `{{ }}`."""
    YES_NO = "yes_no"
    """`true` or `false`."""


class WhenUnsure(StrEnum):
    """What follows an attempt whose answer was lost: the message may have arrived."""

    REPEAT = "repeat"
    """On the schedule, until an answer comes."""
    ONCE = "once"
    """One more time, after a minute or two."""
    HOLD = "hold"
    """Never by itself: a person looks, and sends it again by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One key that may stand under the transport's name."""

    kind: OptionKind
    doc: str
    choices: tuple[str, ...] = ()
    pattern: str = ""
    """For TEXT: a regular expression (Python `re`) the whole value must match."""
    pattern_hint: str = ""
    """What may be there, in words, for the error text."""
    stand_in: str = ""
    """For SECRET: what takes its place in a preview.

    `{stand_ins}` is the URL of the stand-ins' server, `{name}` its name.
    """


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` messages in `per`. None instead of a Rate means unlimited."""

    count: int
    per: timedelta = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSpec:
    """What the rules reader, `relay fields` and the docs need to know of a transport."""

    name: str
    doc: str
    options: Mapping[str, Option]
    ways: tuple[tuple[str, ...], ...]
    """The sets of options of which exactly one must be given: (("webhook",), ("channel",))."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Settings that an option needs: {"channel": ("RELAY_SLACK_TOKEN",)}."""
    rates: tuple[Rate, ...] = ()
    """Paced so unless the rules file says otherwise; all must be kept."""
    max_concurrency: int = 8
    """Attempts at the same time."""
    bodies: bool = False
    """Whether it hands over the text and HTML of a notification; they cost more than all its other parts."""
    whole_chat: bool = False
    """Whether it hands over the chat itself: `Notification.chat`."""
    gives_up_after: timedelta = timedelta(hours=24)
    when_unsure: WhenUnsure = WhenUnsure.ONCE
    """Unless the rules file says otherwise. REPEAT only where the server can drop the copy."""


@dataclass(frozen=True, slots=True)
class Secret:
    """The name of a secret, never its value."""

    name: str

    def __str__(self) -> str:
        return f"${self.name}"


UNLIMITED = 0
"""In the place of a number an hour."""

OptionValue = str | bool | Secret | tuple[str, ...]

VISITOR, TEAM, NOBODY = "visitor", "team", "nobody"
"""Who gets an answer to a mail, beside an address."""


def reply_to(options: Mapping[str, OptionValue]) -> str:
    """Who gets the answers to a mail: VISITOR, NOBODY or an address, where TEAM stands for the first of the destination's recipients."""
    said = str(options.get("reply_to", VISITOR))
    if said != TEAM:
        return said
    to = options.get("to", ())
    # One with a field in braces is the chat's to choose.
    fixed = [each for each in to if "{" not in each] if isinstance(to, tuple) else []
    return fixed[0] if fixed else NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A named place in the rules file."""

    name: str
    transport: str
    options: Mapping[str, OptionValue]
    rates: tuple[Rate, ...] | None = None
    """What the rules file said: () is unlimited, None leaves the transport's own."""
    most_per_hour: int | None = None
    """How many it gets in an hour, the others wait: UNLIMITED, or None for what the settings say."""
    language: str = "en"
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    fallback: str = ""
    """Another destination's name, for deliveries that end failed."""
    fallback_after: timedelta | None = None
    """Also for deliveries that have waited so long while this one was broken or silent; None: those wait on."""
    when_unsure: WhenUnsure | None = None
    """None leaves the transport's own."""
    timing: Timing = AT_ONCE
    """When it is told."""

    @property
    def reply_to(self) -> str:
        """Where an answer to its mails goes: VISITOR, NOBODY, or an address."""
        return reply_to(self.options)
