"""How an attempt at a delivery ended, what the server said of it, and what a person can do about it.

How an attempt at a delivery ended (docs/delivery.md is the law on what follows).

What a server answers: its words made fit to be shown, the wait it asks for made fit to be kept.

What a person can do about an answer: a sentence for each, and the command to run next.

Each transport has a table of answers. The outcome of an attempt, alerts, commands, the log and the tables of the
documentation go by it. `registry.cure_of` finds the row by the words in which an outcome is kept.
"""

import errno
import math
import re
import shlex
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

from msgspec import Struct

from relay.languages import N_
from relay.redaction import redact_answer
from relay.text import clean_line
from relay.transports.tls import is_plain_text


class Ending(StrEnum):
    """The ways an attempt can end."""

    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    """The server took it but posts later, out of our sight (Teams answers 202)."""
    LATER = "later"
    """Surely not delivered, for a reason that passes."""
    RATE_LIMITED = "rate limited"
    """The server asks the whole destination to wait; not counted as an attempt."""
    MAYBE_DELIVERED = "maybe delivered"
    """The answer was lost after the message had gone out."""
    REFUSED = "refused"
    """This message will never pass."""
    DESTINATION_BROKEN = "destination broken"
    """Login refused, webhook revoked, certificate wrong: nothing passes until somebody fixes it."""
    MOVED = "moved"
    """Not sent: its destination leads to other recipients by now, and they get it."""


class Outcome(Struct, frozen=True):
    """How one attempt ended, and what the server said. `detail` is shown to people: it holds no secrets."""

    ending: Ending
    detail: str
    after: timedelta | None = None
    """The wait that the server asked for, if it asked."""
    shorten: bool = False
    """Refused for size or format: the short form may pass."""
    hold: bool = False
    """Maybe delivered, and a repeat would likely be a copy: leave it to a person."""
    receipt: str = ""
    """What the server gave us to find the message again: opaque to all but its transport, and kept."""
    only_this: bool = False
    """Says nothing about the destination as a whole (one mailbox is full): others may go on."""


MAX_WORDS = 300
MAX_TEXT = 100_000
SHORTEST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(hours=1)


def in_its_words(text: str, secrets: Iterable[str] = ()) -> str:
    """What a server said, on one line of at most 300 characters, without addresses, tokens or `secrets`."""
    # First: a control or a line's end within a secret would hide it.
    text = clean_line(text, MAX_TEXT)
    return clean_line(redact_answer(text[: 20 * MAX_WORDS], secrets), MAX_WORDS)


def unreachable(error: BaseException) -> str:
    """Why no connection was made: the cause in words, and the system's own words behind it."""
    said = str(getattr(error, "strerror", None) or error or type(error).__name__)
    if isinstance(error, socket.gaierror):
        passing = error.errno == socket.EAI_AGAIN
        cause = "its name can't be looked up now" if passing else "there is no host of this name"
    elif isinstance(error, UnicodeError):
        cause = "this is not a host name"
    elif is_plain_text(error):
        cause = "this port does not encrypt"
    else:
        cause = _CAUSES.get(getattr(error, "errno", None) or 0, "")
    if not cause:
        return f"could not be reached: {said}"
    addresses = ", ".join(f"{host} port {port}" for host, port in _CALLED.findall(said))
    return f"could not be reached: {cause} ({addresses or said})"


_CALLED = re.compile(r"Connect call failed \('([^']*)', (\d+)")
"""What asyncio says of each address that it has tried."""


_CAUSES = {
    errno.ECONNREFUSED: "nothing listens on this port",
    errno.ECONNRESET: "it dropped the connection",
    errno.EHOSTUNREACH: "no way leads there",
    errno.ENETUNREACH: "no way leads there",
    errno.ETIMEDOUT: "it did not answer in time",
}


def wait_named(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The wait that an answer asks for beside anything but "too many"; None where it asks for none."""
    header = retry_after(headers)
    return wait_asked(header, now, SHORTEST_WAIT) if header else None


def retry_after(headers: Mapping[str, str]) -> str | None:
    """The Retry-After header, however its name is spelled."""
    return next((value for name, value in headers.items() if name.lower() == "retry-after"), None)


def wait_asked(header: str | None, now: datetime, default: timedelta) -> timedelta:
    """The wait of a Retry-After header: seconds, a fraction of them or an HTTP date; from 1 s to 1 h.

    `default` where there is none, or one that says nothing (a word, a negative number, a date gone by).
    """
    seconds = _seconds(header.strip(), now) if header else None
    if seconds is None or math.isnan(seconds) or seconds < 0:
        return default
    if seconds >= LONGEST_WAIT.total_seconds():
        return LONGEST_WAIT
    return max(timedelta(seconds=seconds), SHORTEST_WAIT)


def _seconds(header: str, now: datetime) -> float | None:
    try:
        return float(header)
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": no zone told, which HTTP takes for GMT
        date = date.replace(tzinfo=UTC)
    return (date - now).total_seconds()


CHECK = "relay check --connect"
SEND_TEST = "relay send-test {destination}"
RESUME = "relay resume {destination}"
FAILED = "relay deliveries --failed"
_RESTART = N_("Restart the relay if it is running.")
_IN_SETTINGS = re.compile(r"RELAY_\w+|the settings|its token")

_BROKEN, _LATER, _UNSURE = Ending.DESTINATION_BROKEN, Ending.LATER, Ending.MAYBE_DELIVERED


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of answer, how an attempt ends that gets it, and its cure."""

    answers: str
    """For the documentation, in Markdown."""
    ending: Ending
    cure: str
    """What is wrong and what to do, in one sentence in the source language."""
    command: str = ""
    """What to run then, with a place for `{destination}`; empty where the relay goes on by itself."""
    pattern: str = ""
    """A regular expression for the words of an outcome."""

    def next_command(self, destination: str) -> str:
        """The command to run next, to be pasted into a shell; empty where there is none."""
        return self.command.format(destination=shlex.quote(destination))

    def what_to_do(self, say: Callable[[str], str] = str) -> str:
        """The cure, and a restart where it changes a setting: settings are read at the start. `say`: translates."""
        restart = self.command in {CHECK, SEND_TEST} and _IN_SETTINGS.search(self.cure)
        return f"{say(self.cure)} {say(_RESTART)}" if restart else say(self.cure)

    def lines(self, destination: str) -> tuple[str, ...]:
        """What to do and the command to run next, in English."""
        command = self.next_command(destination)
        return (self.what_to_do(), *([f"Then run: {command}"] if command else []))


def status_row(
    pattern: str, statuses: str, ending: Ending, cure: str, command: str = "", *, answers: str = ""
) -> Row:
    """The row for some HTTP statuses, such as `401 5xx`; `{0}` in the pattern stands for them. `answers`: how they are shown."""
    each = statuses.split()
    any_of = "|".join(each).replace("x", r"\d")
    shown = answers or ", ".join(f"`{status}`" for status in each)
    return Row(shown, ending, cure, command, pattern.format(f"(?:{any_of})"))


def row_for(rows: Iterable[Row], words: str) -> Row | None:
    """The first row whose pattern is found in the words of an outcome."""
    return next((row for row in rows if row.pattern and re.search(row.pattern, words)), None)


_UNTRUSTED = "certificate that can't be trusted"
CERTIFICATES = (
    Row(
        "a certificate that has expired",
        _BROKEN,
        N_(
            "The server's certificate has expired, or the clock of this host is wrong: have it renewed, or set the clock."
        ),
        CHECK,
        f"{_UNTRUSTED}: it has expired",
    ),
    Row(
        "a certificate that is not valid yet",
        _BROKEN,
        N_(
            "The server's certificate is not valid yet: the clock of this host is most likely wrong, so set it."
        ),
        CHECK,
        f"{_UNTRUSTED}: it is not valid yet",
    ),
    Row(
        "a self-signed certificate, or one whose issuer is not known",
        _BROKEN,
        N_(
            "The certificate comes from an unknown authority: if it is your own, or your proxy's, put its certificate into the file of RELAY_CA_FILE."
        ),
        CHECK,
        f"{_UNTRUSTED}: (?:it is self-signed|its issuer is not known)",
    ),
)
"""The rows for answers of whatever speaks TLS."""
HTTP = (
    Row(
        "a redirect",
        _BROKEN,
        N_("The URL is not the right one: copy it again, whole, into the settings."),
        SEND_TEST,
        r" answered 3\d\d, a redirect",
    ),
    Row(
        "`407`, `401` or `403` of the proxy",
        _BROKEN,
        N_(
            "The proxy does not let the relay pass: check its user name and password in RELAY_HTTPS_PROXY."
        ),
        CHECK,
        r"the proxy of \w+ answered 4(?:01|03|07)",
    ),
    Row(
        "no answer from the proxy, or another refusal",
        _LATER,
        N_("The proxy is not there or does not pass on: check RELAY_HTTPS_PROXY."),
        CHECK,
        r"the proxy of \w+(?: answered \d|:)",
    ),
    Row(
        "a web page in place of an answer",
        _LATER,
        N_(
            "Something in your network took the message: set RELAY_HTTPS_PROXY, or let this host pass without a login."
        ),
        CHECK,
        "something in between",
    ),
    *CERTIFICATES,
    Row(
        "a certificate for another host name, or another fault of it",
        _BROKEN,
        N_(
            "Another server answers in place of the right one: check the URL, and the DNS and the proxy of your network."
        ),
        CHECK,
        _UNTRUSTED,
    ),
    Row(
        "an address that is not on the public internet",
        _BROKEN,
        N_(
            "The URL leads into a private network: set RELAY_ALLOW_PRIVATE_WEBHOOKS=yes if that is meant."
        ),
        CHECK,
        "is not on the public internet",
    ),
    Row(
        "a URL that can't be used",
        _BROKEN,
        N_("The URL is not whole or not the right one: copy it again into the settings."),
        CHECK,
        r"^what \S+ holds|address can't be used",
    ),
    Row(
        "there is no host of this name",
        _LATER,
        N_(
            "The name of the host was not found: check the URL and the DNS of this host; the relay tries again by itself."
        ),
        CHECK,
        "could not be reached: (?:there is no host|its name can't|this is not a host name)",
    ),
    Row(
        "no connection",
        _LATER,
        N_(
            "Nothing answers: check the network and the firewall of this host; the relay tries again by itself."
        ),
        CHECK,
        "could not be reached",
    ),
    Row(
        "no answer after the message was sent",
        _UNSURE,
        N_("Nobody knows whether the message arrived: look there before you send it again."),
        FAILED,
        r"did not answer in time|dropped the line before it answered|no answer (?:in time|within)",
    ),
)
"""The rows for whatever speaks HTTP, where no answer came."""
