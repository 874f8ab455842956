"""Converts Teams' answer to the outcome of the attempt; see docs/delivery.md."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

from relay.languages import N_
from relay.transports import Ending, Outcome, clean_answer
from relay.transports.cures import FAILED, RESUME, SEND_TEST, Row, row_for, status_row
from relay.transports.http import TAKEN_IN_BETWEEN, is_page, wait_asked, wait_named

PAUSE = timedelta(seconds=60)
"""The wait after a rate limit without a Retry-After header."""
_HTTP_ERROR = re.compile(r"HTTP error ([45]\d\d)\b", re.ASCII | re.IGNORECASE)


_row = partial(status_row, r"Teams answered {0}\b|(?i:Teams answered 2\d\d.*HTTP error {0}\b)")
_BROKEN, _LATER = Ending.DESTINATION_BROKEN, Ending.LATER
_RATE_LIMITED = _row(
    "429",
    Ending.RATE_LIMITED,
    N_("Nothing needs to be done: the relay waits as long as the service asks."),
    once=N_("The service asks to wait: send the test again later."),
)
_SHORTER = _row(
    "400 413",
    Ending.REFUSED,
    N_(
        "The flow can't take the card, nor its short form: correct the template's teams.json if you have one, or make a new flow."
    ),
    FAILED,
)
_SWITCHED_OFF = Row(
    "`WorkflowTriggerIsNotEnabled`",
    _BROKEN,
    N_("The flow is switched off: turn it on in Power Automate."),
    RESUME,
    r"(?s)Teams answered [45]\d\d\b.*WorkflowTriggerIsNotEnabled|the flow is switched off",
)
ROWS = (
    _RATE_LIMITED,
    _SWITCHED_OFF,
    _row(
        "401 403",
        _BROKEN,
        N_(
            "The flow does not let the relay in: set “Who can trigger the flow?” to “Anyone”, and copy its whole URL into the settings."
        ),
        SEND_TEST,
    ),
    _row(
        "402 404 405 407 410",
        _BROKEN,
        N_(
            "The flow is gone, or its URL has changed: copy its URL into the settings again, or make a new flow."
        ),
        SEND_TEST,
    ),
    _SHORTER,
    _row(
        "408 412 421 425 502 504 511 521 523 525 526 530",
        _LATER,
        N_(
            "The flow could not post just now, and the relay tries again: if that goes on, look at the flow's run history."
        ),
        once=N_("The flow could not post just now: look at the flow's run history."),
    ),
    _row(
        "1xx 5xx",
        Ending.MAYBE_DELIVERED,
        N_(
            "Teams has trouble of its own: look in the channel whether the card arrived before you send it again."
        ),
        FAILED,
        answers="`500`, `503` and others from 500 on",
    ),
    _row(
        "[34]xx",
        Ending.REFUSED,
        N_("The flow refused the card: look at its run history in Power Automate."),
        FAILED,
        answers="others from 400 on",
    ),
)
"""The rows for Teams' answers, in the order in which they are tried."""


def sort(
    status: int, body: str, headers: Mapping[str, str], now: datetime, secrets: tuple[str, ...] = ()
) -> Outcome:
    """Return the outcome of an attempt that was answered; see docs/delivery.md."""
    detail = clean_answer(f"Teams answered {status} {body}", secrets)
    if 200 <= status < 300:
        if is_page(body):
            return Outcome(Ending.LATER, f"{detail}, {TAKEN_IN_BETWEEN.format('a flow')}")
        hidden = _HTTP_ERROR.search(body)
        if hidden is None:
            # 202 means that the flow posts later, without confirmation;
            # 200 comes from a flow with a Response action.
            return Outcome(Ending.DELIVERED if status == 200 else Ending.ACCEPTED, detail)
        # Old connectors reported errors with status 200.
        status = int(hidden[1])
    row = row_for(ROWS, f"Teams answered {status} {body}") or ROWS[-1]
    if row is _RATE_LIMITED:
        return Outcome(row.ending, detail, wait_asked(headers, now, PAUSE))
    if row is _SWITCHED_OFF:
        return Outcome(row.ending, f"the flow is switched off: {detail}")
    return Outcome(row.ending, detail, wait_named(headers, now), shorten=row is _SHORTER)
