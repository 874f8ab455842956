"""Points at which a test kills the relay, to show that a crash there loses nothing.

In production no crash point is active, and passing one costs a comparison.
"""

import os
import signal
from enum import StrEnum

ARMED_BY = "RELAY_TEST_CRASH_AT"
"""The environment variable that names the active crash point."""


class CrashPoint(StrEnum):
    """The points at which a test may kill the relay, in the order of a delivery's life.

    Each value describes what has happened by then, and what has not.
    """

    DRAFTED = "open: the new file is whole, but not in its place"
    IN_PLACE = "open: the new file is in its place"
    MIGRATED = "open: the schema is changed, nothing is committed"

    EXPIRING = "take up: a lost attempt is ended, its delivery is not queued again"
    EXPIRED = "take up: written, not committed"
    TAKEN_UP = "take up: committed"

    RECEIVED = "accept: read and judged, nothing is written"
    KEPT = "accept: the hook is written, its deliveries are not"
    ACCEPTING = "accept: written, not committed"
    ACCEPTED = "accept: committed, not answered"
    ANSWERED = "accept: answered"
    SETTING_ASIDE = "set aside: written, not committed"
    SET_ASIDE = "set aside: committed, not answered"

    RELEASING = "release: written, not committed"
    RELEASED = "release: committed, nobody knows of it"
    DIGEST_NUMBERED = "close a digest: it has its number, nothing is queued"
    DIGEST_QUEUED = "close a digest: queued, its chats wait still"
    CLOSING_DIGEST = "close a digest: written, not committed"
    REPLANNING = "plan anew: written, not committed"

    LEASED_AT_ONCE = "claim at once: a delivery is written as claimed, its attempt is not"
    CLAIMED_AT_ONCE = "claim at once: committed, nothing is begun or answered"

    LEASED = "claim: leased, its attempt is not written"
    CLAIMING = "claim: written, not committed"
    CLAIMED = "claim: committed, nothing is begun"

    RENDERED = "send: rendered, nothing is sent"
    SENT = "send: the server has said yes, nothing is decided"

    DECIDED = "settle: decided, nothing is written"
    ATTEMPT_ENDED = "settle: the attempt is ended, its delivery is not"
    SETTLING = "settle: written, not committed"
    SETTLED = "settle: committed"

    REASSIGNING = "reassign: a delivery is settled, what is sent instead is not queued yet"
    REASSIGNED = "reassign: committed"

    GATE_CLOSING = "a destination waits: written, not committed"
    GATE_CLOSED = "a destination waits: committed"
    HASTENED = "a destination is back: what waited is due, its gate is not open"
    GATE_OPEN = "a destination is back: its gate is open"

    PAUSE_ENDING = "a pause is over: written, not committed"
    PAUSE_OVER = "a pause is over: committed"

    MUTE_KEPT = "a mute: it is written, not committed"
    MUTE_ENDING = "a mute: its end is written, not committed"
    MUTED = "a command: a mute is written, not committed"
    PAUSED = "a command: a pause is written, not committed"

    VERSION_KEPT = "publish: both texts of the rules are kept, nothing is written into the file"
    RULES_WRITTEN = "publish: the new text stands beside the rules file"
    RULES_REPLACED = "publish: the new text is the rules file, the previous one stands beside it"
    PUBLISHED = "publish: the new text is the rules file, the draft is there still"

    ERASED = "erase: a batch is committed"
    ROOM_FREED = "erase: free pages are given back, the log still holds what was"
    FORGOTTEN = "erase: nothing is left"


armed: CrashPoint | None = CrashPoint(os.environ[ARMED_BY]) if ARMED_BY in os.environ else None


def reach(point: CrashPoint) -> None:
    """Kill this process with SIGKILL, without any cleanup, if `point` is the active crash point."""
    if point is armed:
        os.kill(os.getpid(), signal.SIGKILL)
