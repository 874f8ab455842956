"""How moments and words are kept in the columns: milliseconds since 1970 UTC, and text that every database takes."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970 UTC of an aware datetime."""
    return round((moment - _EPOCH) / timedelta(milliseconds=1))


def from_ms(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def maybe_ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)


def maybe_time(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def storable(text: str) -> str:
    """What every database takes: no NUL, no lone surrogates. For words of far ends, which may hold anything."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
