"""What a person can do about an answer: a sentence for each, and the command to run next.

Each transport has a table of answers. The outcome of an attempt, alerts, commands, the log and the tables of the
documentation go by it. `registry.cure_of` finds the row by the words in which an outcome is kept.
"""

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from relay.languages import N_
from relay.transports.outcome import Ending

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
"""Of all that is encrypted."""
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
        "could not be reached: (?:there is no host|its name can't|this is no host name)",
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
"""Of all that speaks HTTP, where no answer came."""
