"""How long no chat may come in before somebody is told. Only time within a schedule counts."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from relay.rules.schedules import Schedule

_MINUTE = timedelta(minutes=1)
_DAY = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """`silence:` of the rules file."""

    longer_than: timedelta
    within: Schedule

    def begins(self, last: datetime, now: datetime) -> datetime | None:
        """When it had been silent for too long after `last`; None if it is not so by `now`. Both aware."""
        left, at = self.longer_than, last.astimezone(UTC)
        while at < now:
            until = min(_next_change(self.within, at), now)
            if self.within.holds(at):
                if left <= until - at:
                    return at + left
                left -= until - at
            at = until
        return None


def _next_change(schedule: Schedule, at: datetime) -> datetime:
    """A moment after `at` until which the schedule holds, or does not, without a change."""
    local = at.astimezone(schedule.zone)
    minute = local.hour * 60 + local.minute
    ends = {_DAY, *(mark for hours in schedule.hours for mark in hours)}
    within_minute = timedelta(seconds=local.second, microseconds=local.microsecond)
    until = at + (min(mark for mark in ends if mark > minute) - minute) * _MINUTE - within_minute
    if until.astimezone(schedule.zone).utcoffset() == local.utcoffset():
        return until
    # The clocks are changed in between: minute by minute until that is past.
    return at + _MINUTE - within_minute
