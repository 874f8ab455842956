"""Converts a mail server's answer to the outcome of the attempt (RFC 5321 4.2, RFC 3463; see docs/delivery.md)."""

import re
from collections.abc import Iterable
from datetime import timedelta

from aiosmtplib.response import SMTPResponse

from relay.languages import N_
from relay.transports import Ending, Outcome, clean_answer
from relay.transports.cures import CERTIFICATES, CHECK, FAILED, Row, row_for
from relay.transports.email.failure import Cause, SmtpFailure, Stage
from relay.transports.email.refusals import (
    FULL_NOW,
    NOTHING,
    REFUSALS,
    SIZE,
    About,
    enhanced_code,
    is_about_room,
    refusal,
    refusal_of_us,
)

GREYLISTED = timedelta(minutes=5)
"""The wait after 4.7.x, greylisting and throttling: servers dislike earlier retries."""
DAILY_LIMIT = timedelta(hours=1)

# Postgrey answers 4.2.0, others have no enhanced code.
_GREYLISTING = re.compile(r"gr[ae]y-?list", re.IGNORECASE)
# Codes for commands that a server could not read together, besides those for unknown commands.
_OUT_OF_ORDER = re.compile(r"pipelin|synchroni[sz]|out of (?:order|sequence)", re.IGNORECASE)
_ASKED = {
    Stage.GREETING: "the greeting",
    Stage.TLS: "STARTTLS",
    Stage.LOGIN: "the login",
    Stage.MAIL: "our sender address",
    Stage.RCPT: "the recipient",
    Stage.DATA: "DATA",
    Stage.BODY: "the mail",
}


_ANSWERED = re.compile(
    rf" answered ({'|'.join(map(re.escape, _ASKED.values()))}) with (\d{{3}}) ?(.*)", re.DOTALL
)
_STAGES = {words: stage for stage, words in _ASKED.items()}
_BROKEN, _LATER = Ending.DESTINATION_BROKEN, Ending.LATER
_LOGIN_LATER = Row(
    "`454`, `432`: the login can't be checked now",
    _LATER,
    N_(
        "The server can't check the login just now, and the relay tries again: if that goes on, check user name and password."
    ),
    CHECK,
    once=N_(
        "The server can't check the login just now: if that goes on, check user name and password."
    ),
)
_MISUNDERSTOOD = Row(
    "anything that is not an answer of SMTP",
    _LATER,
    N_(
        "What answers there is not a mail server, or speaks another protocol: check host and port in RELAY_SMTP_URL."
    ),
    CHECK,
    "with something that is not SMTP|answered before it was asked",
)
WITHOUT_REPLY = (
    Row(
        "TLS on a port without it",
        _BROKEN,
        N_(
            "The port does not encrypt from the first byte: write smtp+starttls:// into RELAY_SMTP_URL, or another port."
        ),
        CHECK,
        "does not encrypt from the first byte",
    ),
    Row(
        "no greeting",
        _LATER,
        N_(
            "The server says nothing: if the port is one for TLS, such as 465, write smtps:// into RELAY_SMTP_URL."
        ),
        CHECK,
        "did not answer the greeting|dropped the line after the greeting",
    ),
    Row(
        "no STARTTLS",
        _BROKEN,
        N_(
            "The server offers no encryption on this port: write smtps:// and its TLS port into RELAY_SMTP_URL."
        ),
        CHECK,
        "does not offer STARTTLS",
    ),
    *CERTIFICATES,
    Row(
        "a certificate for another host name, or another fault of it",
        _BROKEN,
        N_(
            "The certificate is not for this host name: write the name that it is for into RELAY_SMTP_URL."
        ),
        CHECK,
        "certificate that can't be trusted",
    ),
    Row(
        "no common encryption",
        _LATER,
        N_(
            "Server and relay have no encryption in common: have the server's TLS brought up to date."
        ),
        CHECK,
        "could not agree on an encryption",
    ),
    Row(
        "no login with a password",
        _BROKEN,
        N_(
            "The server takes no login with a password here: log in with OAuth, or write another port into RELAY_SMTP_URL."
        ),
        CHECK,
        "takes no password login",
    ),
    Row(
        "no login with OAuth",
        _BROKEN,
        N_("The server takes no login with OAuth: write a password into RELAY_SMTP_URL."),
        CHECK,
        "takes no OAuth login",
    ),
    Row(
        "`invalid_client`, `invalid_grant` and others of the token endpoint",
        _BROKEN,
        N_(
            "There is no access token to log in with: check the RELAY_SMTP_OAUTH settings, or sign in again for a new refresh token."
        ),
        CHECK,
        "the token endpoint|RELAY_SMTP_OAUTH",
    ),
    Row(
        "a mail larger than the server said it takes",
        Ending.REFUSED,
        SIZE.cure,
        FAILED,
        "takes mails of at most",
    ),
    Row(
        "connection refused",
        _LATER,
        N_(
            "No mail server listens there: check host and port in RELAY_SMTP_URL, and whether the server is running."
        ),
        CHECK,
        "could not be reached: nothing listens",
    ),
    Row(
        "there is no host of this name",
        _LATER,
        N_(
            "The name of the mail server was not found: check the host in RELAY_SMTP_URL, and the DNS of this host."
        ),
        CHECK,
        "could not be reached: (?:there is no host|its name can't|this is not a host name)",
    ),
    Row(
        "no connection in time",
        _LATER,
        N_(
            "Nothing answers: check host and port in RELAY_SMTP_URL, and whether a firewall or your provider blocks the port."
        ),
        CHECK,
        "could not be reached",
    ),
    _MISUNDERSTOOD,
    Row(
        "a lost connection",
        _LATER,
        N_(
            "The connection broke: the relay tries again, with the same Message-ID, by which most servers drop a copy."
        ),
        "",
        r"dropped the line|did not answer \S+|said yes before",
        N_("The connection broke: send the test again."),
    ),
)
"""The rows for failures without a refusal by the server."""


def row_of(words: str) -> Row | None:
    """Return the row for the words of an email's outcome; None if no row fits."""
    answered = _ANSWERED.search(words)
    if answered is None:
        return row_for(WITHOUT_REPLY, words)
    stage, code = _STAGES[answered[1]], int(answered[2])
    reply = SMTPResponse(code, answered[3])
    if 500 <= code < 600:
        return refusal(stage, reply).cure
    if not 400 <= code < 500:
        return _MISUNDERSTOOD
    if stage is Stage.LOGIN:
        return _LOGIN_LATER
    if fault := refusal_of_us(stage, reply):
        return fault.cure
    return FULL_NOW if enhanced_code(reply) == "4.2.2" or is_about_room(reply) else NOTHING


def rows() -> tuple[Row, ...]:
    """Return all rows of the email transport, each once, in the order in which they are tried."""
    refused = dict.fromkeys(each.cure for each in REFUSALS)
    return (*refused, FULL_NOW, _LOGIN_LATER, *WITHOUT_REPLY)


def accepted(reply: SMTPResponse, secrets: Iterable[str] = ()) -> Outcome:
    """Return the outcome of an accepted email, with the server's queue ID if it sent one."""
    return Outcome(Ending.DELIVERED, clean_answer(f"{reply.code} {reply.message}", secrets))


def sort(failure: SmtpFailure, server: str, secrets: Iterable[str] = ()) -> Outcome:
    """Return the outcome of a failed email. `server` is the host's name, for the detail."""
    reply = failure.reply
    if reply is None:
        words = f"{server} {failure.words}" if failure.of_server else failure.words
        detail = clean_answer(words, secrets)
        return _without_reply(failure.stage, failure.cause, detail)
    text = f"{server} answered {_ASKED[failure.stage]} with {reply.code} {reply.message}"
    return _with_reply(failure.stage, reply, clean_answer(text, secrets))


def _without_reply(stage: Stage, cause: Cause, detail: str) -> Outcome:
    if cause is Cause.MISCONFIGURED:
        return Outcome(Ending.DESTINATION_BROKEN, detail)
    if cause is Cause.TOO_BIG:
        return Outcome(Ending.REFUSED, detail, shorten=True)
    if stage is Stage.BODY:
        return Outcome(Ending.MAYBE_DELIVERED, detail)
    return Outcome(Ending.LATER, detail)


def _with_reply(stage: Stage, reply: SMTPResponse, detail: str) -> Outcome:
    code = reply.code
    if 400 <= code < 500:
        return _not_now(stage, reply, detail)
    if not 500 <= code < 600:
        # Neither yes nor no: after the text was sent, the email
        # may have been accepted; before that, it was not.
        return Outcome(Ending.MAYBE_DELIVERED if stage is Stage.BODY else Ending.LATER, detail)
    match refusal(stage, reply).about:
        case About.US:
            return Outcome(Ending.DESTINATION_BROKEN, detail)
        case About.NOW:
            return Outcome(Ending.LATER, detail)
        case About.LIMIT:
            return Outcome(Ending.LATER, detail, DAILY_LIMIT)
        case about:
            return Outcome(Ending.REFUSED, detail, shorten=about is About.SIZE)


def _not_now(stage: Stage, reply: SMTPResponse, detail: str) -> Outcome:
    """Return the outcome of a temporary refusal (4yz)."""
    if refusal_of_us(stage, reply):
        return Outcome(Ending.DESTINATION_BROKEN, detail)
    enhanced = enhanced_code(reply)
    slow = enhanced.startswith("4.7.") or _GREYLISTING.search(reply.message)
    # With a full mailbox or greylisting, other recipients may be served. 421 and 4.3.x concern the server.
    only_this = stage is Stage.RCPT and reply.code != 421 and not enhanced.startswith("4.3.")
    return Outcome(Ending.LATER, detail, GREYLISTED if slow else None, only_this=only_this)


def is_out_of_order(reply: SMTPResponse | None) -> bool:
    """Whether a server may have refused, or answered wrongly or not at all, only because commands were sent together."""
    if reply is None or reply.code < 400 or _OUT_OF_ORDER.search(reply.message):
        return True
    enhanced = enhanced_code(reply)
    return (
        reply.code in {500, 502, 503, 504}
        or enhanced in {"5.5.1", "5.5.2", "5.5.4"}
        or (reply.code == 501 and not enhanced)
    )
