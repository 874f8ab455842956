"""Reminders of mutes and pauses that last for long, so that none is forgotten.

Of a mute each week, and an hour before its end. Of a pause without an end each day, of another each week.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from relay.alerts.problem_detection import Kind
from relay.outbox.mutes import KeptMute, lasting_mutes, remind
from relay.outbox.pauses import pauses, remind_of_pause
from relay.outbox.statements import Statements
from relay.outbox.troubles import Trouble
from relay.outbox.writer import Cursor

_LONG, _WEEK = timedelta(days=1), timedelta(days=7)
_BEFORE_THE_END = timedelta(hours=1)

log = logging.getLogger(__name__)


def reminders(
    sql: Statements, cursor: Cursor, queued: Mapping[str, int], now: datetime
) -> list[Trouble]:
    """The reminders that are due now, one for each mute and pause. Of several relays only one gets each.

    `queued`: how many deliveries wait, by destination.
    """
    return [*_of_mutes(sql, cursor, now), *_of_pauses(sql, cursor, queued, now)]


def _of_pauses(
    sql: Statements, cursor: Cursor, queued: Mapping[str, int], now: datetime
) -> Iterator[Trouble]:
    for name, pause in pauses(sql, cursor).items():
        between = _LONG if pause.until is None else _WEEK
        is_long = pause.lasts(now) and pause.since is not None and now - pause.since >= between
        if not is_long or not remind_of_pause(sql, cursor, name, since=now - between, now=now):
            continue
        why = f"{pause.by}: {pause.because}"
        log.warning("%s is still paused, since %s UTC", name, f"{pause.since:%Y-%m-%d %H:%M}")
        yield Trouble(
            kind=Kind.PAUSED, subject=name, since=now, why=why, waiting=queued.get(name, 0)
        )


def _of_mutes(sql: Statements, cursor: Cursor, now: datetime) -> list[Trouble]:
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
    """When the last reminder of a mute was due; None where none was yet."""
    mute = kept.mute
    last = mute.until - _BEFORE_THE_END
    if mute.until - mute.begins <= _LONG or now < mute.begins:
        return None
    weeks = (min(now, last) - mute.begins) // _WEEK
    moments = [mute.begins + weeks * _WEEK] * (weeks > 0) + [last] * (last <= now)
    return max(moments, default=None)
