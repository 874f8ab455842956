"""What a transport declares about its options and limits, and a destination of the rules file.

The rules reader validates `destinations:` against each `TransportSpec`, so a new transport needs no
change in the reader.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from relay.timing.plan import AT_ONCE, Timing


class OptionKind(StrEnum):
    """The type of an option's value."""

    ADDRESSES = "addresses"
    """One email address or a list of them; each becomes a recipient."""
    SECRET = "secret"  # noqa: S105 - the word, not one
    """`$NAME`, the name of an environment variable or of a NAME_FILE; a literal value is refused."""
    ADDRESS = "address"
    """One email address, or one of `Option.choices`."""
    TEXT = "text"
    JSON = "json"
    """A mapping, kept as JSON, whose texts may contain `{{ }}`."""
    YES_NO = "yes_no"
    """`true` or `false`."""


class WhenUnsure(StrEnum):
    """What to do after an attempt whose answer was lost: the message may have arrived."""

    REPEAT = "repeat"
    """Retry on the usual schedule until the server answers."""
    ONCE = "once"
    """Retry once, after a minute or two."""
    HOLD = "hold"
    """Do not retry: a person decides whether to send the message again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a destination, written under the transport's name."""

    kind: OptionKind
    doc: str
    choices: tuple[str, ...] = ()
    pattern: str = ""
    """For TEXT: a regular expression (Python `re`) that the whole value must match."""
    pattern_hint: str = ""
    """A description of the allowed values, for error messages."""
    stand_in: str = ""
    """For SECRET: the value that replaces it in a preview.

    `{stand_ins}` is the URL of the preview's local server, `{name}` the secret's name.
    """


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` messages in `per`. Where a Rate is optional, None means unlimited."""

    count: int
    per: timedelta = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSpec:
    """A transport's options and limits, used by the rules reader, `relay fields` and the docs."""

    name: str
    doc: str
    options: Mapping[str, Option]
    option_sets: tuple[tuple[str, ...], ...]
    """Sets of options of which exactly one must be given: (("webhook",), ("channel",))."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The settings that an option needs: {"channel": ("RELAY_SLACK_TOKEN",)}."""
    rates: tuple[Rate, ...] = ()
    """The rates that are all kept unless the rules file sets others."""
    max_concurrency: int = 8
    """The most attempts at one destination that run at the same time."""
    bodies: bool = False
    """Whether the transport sends a notification's text and HTML, which cost more to render than
    all its other parts.
    """
    whole_chat: bool = False
    """Whether the transport sends the chat itself, `Notification.chat`."""
    gives_up_after: timedelta = timedelta(hours=24)
    when_unsure: WhenUnsure = WhenUnsure.ONCE
    """The default for destinations. REPEAT is safe only if the server discards a repeated message."""

    @property
    def common_options(self) -> tuple[str, ...]:
        """The options that may also be written beside the transport's name, because they don't choose the place."""
        return tuple(
            name for name in self.options if not any(name in each for each in self.option_sets)
        )


@dataclass(frozen=True, slots=True)
class Secret:
    """The name of a secret, never its value."""

    name: str

    def __str__(self) -> str:
        return f"${self.name}"


UNLIMITED = 0
"""The value of `most_per_hour` that means "no limit"."""

OptionValue = str | bool | Secret | tuple[str, ...]

VISITOR, TEAM, NOBODY = "visitor", "team", "nobody"
"""Values of the `reply_to` option beside an email address."""


def reply_to(options: Mapping[str, OptionValue]) -> str:
    """Return the recipient of replies to an email: VISITOR, NOBODY or an address.

    TEAM becomes the first address in the destination's `to` option.
    """
    recipient = str(options.get("reply_to", VISITOR))
    if recipient != TEAM:
        return recipient
    to = options.get("to", ())
    # An address with braces is taken from the chat, so it is not the team's.
    fixed = [each for each in to if "{" not in each] if isinstance(to, tuple) else []
    return fixed[0] if fixed else NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A destination of the rules file: where messages are sent, in which language, and when."""

    name: str
    transport: str
    options: Mapping[str, OptionValue]
    rates: tuple[Rate, ...] | None = None
    """The rates in the rules file: () is unlimited, None means the transport's rates."""
    most_per_hour: int | None = None
    """The most messages in an hour; further ones wait. UNLIMITED, or None for the limit in the settings."""
    language: str = "en"
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    fallback: str = ""
    """The destination that gets the deliveries that fail here; empty if there is none."""
    fallback_after: timedelta | None = None
    """How long deliveries wait at this destination while it is broken or silent, before the
    fallback gets them; None: no limit.
    """
    when_unsure: WhenUnsure | None = None
    """What to do after a lost answer; None means the transport's default."""
    timing: Timing = AT_ONCE
    """The hours, digests and limits that decide when messages are sent."""

    @property
    def reply_to(self) -> str:
        """The recipient of replies to this destination's emails: VISITOR, NOBODY or an address."""
        return reply_to(self.options)
