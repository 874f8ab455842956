"""What a person can do about each answer of a server: tables of answers with their cures.

Each transport has a table, used for outcomes, alerts, commands, logs and documentation;
`registry.cure_of` finds the row for the words of a stored outcome. docs/delivery.md describes what
follows each outcome.
"""

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from relay.languages import N_
from relay.transports import Ending

CHECK = "relay check --connect"
SEND_TEST = "relay send-test {destination}"
RESUME = "relay resume {destination}"
FAILED = "relay deliveries --failed"
_RESTART = N_("Restart the relay if it is running.")
_IN_SETTINGS = re.compile(r"RELAY_\w+|the settings|its token")

_BROKEN, _LATER, _UNSURE = Ending.DESTINATION_BROKEN, Ending.LATER, Ending.MAYBE_DELIVERED


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of answer with the ending of the attempt and the advice for it."""

    answers: str
    """The answers in Markdown, for the documentation."""
    ending: Ending
    cure: str
    """The problem and its solution in one English sentence."""
    command: str = ""
    """The command to run next, with a placeholder `{destination}`; empty if the relay continues by itself."""
    pattern: str = ""
    """A regular expression for the words of an outcome."""
    once: str = ""
    """The cure for what is not retried, such as a test; empty where `cure` fits it, too."""

    def next_command(self, destination: str) -> str:
        """Return the command to run next, ready for a shell; empty if there is none."""
        return self.command.format(destination=shlex.quote(destination))

    def advice(self, translate: Callable[[str], str] = str, *, is_retried: bool = True) -> str:
        """Return the advice, including a restart if a setting must change. `translate` translates texts."""
        restart = self.command in {CHECK, SEND_TEST} and _IN_SETTINGS.search(self.cure)
        cure = translate(self.cure if is_retried else self.once or self.cure)
        return f"{cure} {translate(_RESTART)}" if restart else cure

    def lines(self, destination: str, *, is_retried: bool = True) -> tuple[str, ...]:
        """Return the advice and the command to run next, in English."""
        command = self.next_command(destination)
        return (
            self.advice(is_retried=is_retried),
            *([f"Then run: {command}"] if command else []),
        )


def status_row(
    pattern: str,
    statuses: str,
    ending: Ending,
    cure: str,
    command: str = "",
    *,
    answers: str = "",
    once: str = "",
) -> Row:
    """Return the row for HTTP statuses such as `401 5xx`, for which `{0}` in the pattern stands.

    `answers` is their description for the documentation.
    """
    codes = statuses.split()
    alternatives = "|".join(codes).replace("x", r"\d")
    shown = answers or ", ".join(f"`{status}`" for status in codes)
    return Row(shown, ending, cure, command, pattern.format(f"(?:{alternatives})"), once)


def row_for(rows: Iterable[Row], words: str) -> Row | None:
    """Return the first row whose pattern is found in the words of an outcome; None if there is none."""
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
"""The rows for failures of TLS."""
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
        N_("The name of the host was not found: check the URL and the DNS of this host."),
    ),
    Row(
        "no connection",
        _LATER,
        N_(
            "Nothing answers: check the network and the firewall of this host; the relay tries again by itself."
        ),
        CHECK,
        "could not be reached",
        N_("Nothing answers: check the network and the firewall of this host."),
    ),
    Row(
        "no answer after the message was sent",
        _UNSURE,
        N_("Nobody knows whether the message arrived: look there before you send it again."),
        FAILED,
        r"did not answer in time|dropped the line before it answered|no answer (?:in time|within)",
    ),
)
"""The rows for HTTP requests without answer."""
