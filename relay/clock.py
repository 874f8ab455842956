"""What time it is: handed to whatever asks, so that a test can say so."""

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Aware, UTC."""


def utc_now() -> datetime:
    """The clock of a real relay."""
    return datetime.now(UTC)


def pause(seconds: float) -> None:
    """Let this thread rest. Where the system's clock jumps the call may fail: then it rests no longer."""
    with contextlib.suppress(OSError, ValueError, OverflowError):
        time.sleep(seconds)
