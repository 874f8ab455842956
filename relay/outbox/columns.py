"""How moments, words and records are kept in the columns: milliseconds since 1970 UTC, text that every database takes, bytes."""

import zlib
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
SHORT = 512
"""Bytes of a record, up to which packing it takes longer than what it saves is worth."""


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970 UTC of an aware datetime."""
    return round((moment - _EPOCH) / _MILLISECOND)


def from_ms(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def maybe_ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)


def maybe_time(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def storable(text: str) -> str:
    """What every database takes: no NUL, no lone surrogates. For words of far ends, which may hold anything."""
    if text.isprintable():
        return text
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def packed(record: bytes) -> bytes:
    """A record of verdicts, which is JSON, as it is kept."""
    return record if len(record) <= SHORT else zlib.compress(record, 1)


def unpacked(kept: bytes) -> bytes:
    """The record that `packed` was given."""
    is_packed = kept[:1] == b"x"  # as zlib begins, and no JSON
    return zlib.decompress(kept) if is_packed else kept
