"""Converts the answer of a webhook's server to the outcome of the attempt; see docs/delivery.md."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

from relay.languages import N_
from relay.transports import Ending, Outcome, clean_answer
from relay.transports.cures import CHECK, FAILED, SEND_TEST, Row, row_for, status_row
from relay.transports.http import wait_asked, wait_named

SERVICE = "The webhook"
"""The name of the server in outcomes."""
PAUSE = timedelta(seconds=60)
"""The wait after a rate limit without a Retry-After header."""


_row = partial(status_row, SERVICE + r" answered {0}\b")
_BROKEN, _LATER = Ending.DESTINATION_BROKEN, Ending.LATER
_RATE_LIMITED = _row(
    "429",
    Ending.RATE_LIMITED,
    N_("Nothing needs to be done: the relay waits as long as the service asks."),
    once=N_("The service asks to wait: send the test again later."),
)
_SHORTER = _row(
    "413",
    Ending.REFUSED,
    N_("The chat is too large for the server: let it accept bodies of 1 MB."),
    FAILED,
)
SECRET = Row(
    "a secret that can't be used",
    _BROKEN,
    N_(
        "The webhook's secret can't be used: it is whsec_ and the Base64 of 24 to 64 random bytes; the receiver needs the same one."
    ),
    CHECK,
    r"^what \S+ holds .*(?:whsec_|not a secret;)",
)
ROWS = (
    _RATE_LIMITED,
    _row(
        "401 403",
        _BROKEN,
        N_(
            "The server does not let the relay in: give it the same secret, and look whether its clock is right."
        ),
        SEND_TEST,
    ),
    _row(
        "410",
        _BROKEN,
        N_(
            "The server wants no more webhooks at this URL: delete the destination, or write its new URL into the settings."
        ),
        SEND_TEST,
    ),
    _row(
        "402 404 405 407",
        _BROKEN,
        N_("Nothing takes webhooks at this URL: copy it again, whole, into the settings."),
        SEND_TEST,
    ),
    _SHORTER,
    _row(
        "408 421 425 502 503 504 511 521 523 525 526 530",
        _LATER,
        N_(
            "The server could not take the chat just now, and the relay tries again: if that goes on, look at the server's log."
        ),
        once=N_("The server could not take the chat just now: look at the server's log."),
    ),
    _row(
        "1xx 5xx",
        Ending.MAYBE_DELIVERED,
        N_(
            "The server has trouble of its own, and the relay tries again with the same webhook-id: look at the server's log."
        ),
        FAILED,
        answers="`500` and others from 500 on",
        once=N_("The server has trouble of its own: look at the server's log."),
    ),
    _row(
        "[34]xx",
        Ending.REFUSED,
        N_("The server refused the chat: its answer or its log says why."),
        FAILED,
        answers="others from 400 on",
    ),
    SECRET,
)
"""The rows for a server's answers to a webhook, in the order in which they are tried."""


def sort(
    status: int, body: str, headers: Mapping[str, str], now: datetime, secrets: tuple[str, ...] = ()
) -> Outcome:
    """Return the outcome of an attempt that was answered. Any status from 200 to 299 is a success."""
    detail = clean_answer(f"{SERVICE} answered {status} {body}", secrets)
    if 200 <= status < 300:
        return Outcome(Ending.DELIVERED, detail)
    row = row_for(ROWS, f"{SERVICE} answered {status} {body}") or ROWS[-2]
    if row is _RATE_LIMITED:
        return Outcome(row.ending, detail, wait_asked(headers, now, PAUSE))
    return Outcome(row.ending, detail, wait_named(headers, now), shorten=row is _SHORTER)
