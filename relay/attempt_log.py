"""The log line about an attempt: words for people, fields for programs."""

import logging

from relay.outbox.values import Delivery, Settlement, State
from relay.outcome import Outcome

log = logging.getLogger("relay.dispatcher")


def log_attempt(delivery: Delivery, outcome: Outcome, settlement: Settlement) -> None:
    """An error where the delivery has ended badly by it. Holds no secrets and no words of a visitor."""
    bad = settlement.state in {State.FAILED, State.MAYBE_DELIVERED}
    log.log(
        logging.ERROR if bad else logging.INFO,
        "delivery %d to %s, attempt %d: %s (%s)%s",
        delivery.id,
        delivery.destination,
        delivery.attempt,
        outcome.ending.value,
        outcome.detail,
        f"; {settlement.state.value}" if bad else "",
        extra={
            "fields": {
                "chat": f"{delivery.account}/{delivery.chat}",
                "rule": delivery.rule,
                "destination": delivery.destination,
                "delivery": delivery.id,
                "attempt": delivery.attempt,
                "outcome": outcome.ending.value,
                "state": settlement.state.value,
            }
        },
    )
