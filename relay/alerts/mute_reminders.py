"""Mutes that last for long, so that none is forgotten: somebody is reminded each week, and an hour before the end."""

from datetime import datetime, timedelta

from relay.alerts.detection import Kind
from relay.outbox.mutes import KeptMute, lasting_mutes, remind
from relay.outbox.statements import Statements
from relay.outbox.troubles import Trouble
from relay.outbox.writer import Cursor

_LONG, _WEEK = timedelta(days=1), timedelta(days=7)
_BEFORE_THE_END = timedelta(hours=1)


def mute_reminders(sql: Statements, cursor: Cursor, now: datetime) -> list[Trouble]:
    """One for each mute of which somebody is to be reminded now. Of several relays that ask, one gets it."""
    return [
        Trouble(
            kind=Kind.MUTED,
            subject=kept.mute.rule or kept.mute.destination or f"#{kept.mute.id}",
            since=now,
            why=f"{kept.mute.by}: {kept.mute.because}",
            waiting=kept.matched,
        )
        for kept in lasting_mutes(sql, cursor, now)
        if (at := _last_reminder(kept, now))
        and remind(sql, cursor, kept.mute.id, since=at, now=now)
    ]


def _last_reminder(kept: KeptMute, now: datetime) -> datetime | None:
    """When somebody was to be reminded last; None where the time for it has not come."""
    mute = kept.mute
    last = mute.until - _BEFORE_THE_END
    if mute.until - mute.begins <= _LONG or now < mute.begins:
        return None
    weeks = (min(now, last) - mute.begins) // _WEEK
    moments = [mute.begins + weeks * _WEEK] * (weeks > 0) + [last] * (last <= now)
    return max(moments, default=None)
