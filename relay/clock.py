"""What time it is: handed to whatever asks, so that a test can say so."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Aware, UTC."""


def utc_now() -> datetime:
    """The clock of a real relay."""
    return datetime.now(UTC)
