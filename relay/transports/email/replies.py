"""What a mail server answered -> how the attempt ended (codes of RFC 5321 4.2 and RFC 3463; docs/delivery.md)."""

import re
from collections.abc import Iterable
from datetime import timedelta

from aiosmtplib.response import SMTPResponse

from relay.outcome import Ending, Outcome
from relay.transports.email.failure import Cause, SmtpFailure, Stage
from relay.transports.email.refusals import About, enhanced_code, refusal_is_about
from relay.transports.far_end import in_its_words

GREYLISTED = timedelta(minutes=5)
"""4.7.x: greylisting and throttling; sooner is not looked at kindly."""
DAILY_LIMIT = timedelta(hours=1)

# Postgrey calls it 4.2.0, others give no enhanced code at all.
_GREYLISTING = re.compile(r"gr[ae]y-?list", re.IGNORECASE)
# Of commands that a server could not read together, beside its codes for commands that it does not understand.
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


def accepted(reply: SMTPResponse, secrets: Iterable[str] = ()) -> Outcome:
    """The server's 250, with its queue id where it tells one."""
    return Outcome(Ending.DELIVERED, in_its_words(f"{reply.code} {reply.message}", secrets))


def sort(failure: SmtpFailure, server: str, secrets: Iterable[str] = ()) -> Outcome:
    """How it ended. `server` is the host's name, for the detail."""
    reply = failure.reply
    if reply is None:
        words = f"{server} {failure.words}" if failure.of_server else failure.words
        detail = in_its_words(words, secrets)
        return _without_reply(failure.stage, failure.cause, detail)
    said = f"{server} answered {_ASKED[failure.stage]} with {reply.code} {reply.message}"
    return _with_reply(failure.stage, reply, in_its_words(said, secrets))


def _without_reply(stage: Stage, cause: Cause, detail: str) -> Outcome:
    if cause is Cause.MISCONFIGURED:
        return Outcome(Ending.DESTINATION_BROKEN, detail)
    if cause is Cause.TOO_BIG:
        return Outcome(Ending.REFUSED, detail, shorten=True)
    if stage is Stage.BODY:
        return Outcome(Ending.MAYBE_DELIVERED, detail)
    return Outcome(Ending.LATER, detail)


def _with_reply(stage: Stage, reply: SMTPResponse, detail: str) -> Outcome:
    code, enhanced = reply.code, enhanced_code(reply)
    if 400 <= code < 500:
        slow = enhanced.startswith("4.7.") or _GREYLISTING.search(reply.message)
        wait = GREYLISTED if slow else None
        # A full mailbox, greylisting: other recipients may go on. 421 and 4.3.x are about the server.
        one = stage is Stage.RCPT and code != 421 and not enhanced.startswith("4.3.")
        return Outcome(Ending.LATER, detail, wait, only_this=one)
    if not 500 <= code < 600:
        # Neither yes nor no: after the mail it may be in, before it surely is not.
        return Outcome(Ending.MAYBE_DELIVERED if stage is Stage.BODY else Ending.LATER, detail)
    match refusal_is_about(stage, reply):
        case About.US:
            return Outcome(Ending.DESTINATION_BROKEN, detail)
        case About.NOW:
            return Outcome(Ending.LATER, detail)
        case About.LIMIT:
            return Outcome(Ending.LATER, detail, DAILY_LIMIT)
        case about:
            return Outcome(Ending.REFUSED, detail, shorten=about is About.SIZE)


def is_out_of_order(reply: SMTPResponse | None) -> bool:
    """Whether a server may have refused, answered wrongly or not at all only because commands came together."""
    if reply is None or reply.code < 400 or _OUT_OF_ORDER.search(reply.message):
        return True
    enhanced = enhanced_code(reply)
    return (
        reply.code in {500, 502, 503, 504}
        or enhanced in {"5.5.1", "5.5.2", "5.5.4"}
        or (reply.code == 501 and not enhanced)
    )
