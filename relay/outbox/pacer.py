"""When the next message to a destination may start. No I/O: the time is handed in."""

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime

from relay.destination import Rate


class Pacer:
    """Keeps every rate at once: in no window of `rate.per` more than `rate.count` may start."""

    def __init__(self, rates: Iterable[Rate], started: Iterable[datetime] = ()) -> None:
        """`started`: when earlier messages began, the oldest first."""
        self.rates = tuple(rates)
        self._windows = [(rate, deque[datetime](maxlen=rate.count)) for rate in self.rates]
        self._not_before: datetime | None = None
        for moment in started:
            self.started(moment)

    @property
    def unlimited(self) -> bool:
        return not self.rates

    def free_at(self, now: datetime) -> datetime:
        """When the next one may start: `now` or later."""
        times = [now, self._not_before or now]
        for rate, started in self._windows:
            if len(started) == rate.count:
                times.append(started[0] + rate.per)
        return max(times)

    def started(self, now: datetime) -> None:
        for _, started in self._windows:
            started.append(now)

    def forget(self) -> None:
        """What was noted by a clock that has been set back would hold everything up until it is that late again."""
        self._not_before = None
        for _, started in self._windows:
            started.clear()

    def wait_until(self, moment: datetime) -> None:
        """Somebody else has used the pace up until then."""
        self._not_before = moment

    def counting(self, now: datetime) -> Sequence[datetime]:
        """The beginnings that still count, the oldest first."""
        longest = max((rate.per for rate in self.rates), default=None)
        most = max((started for _, started in self._windows), key=len, default=deque[datetime]())
        return [moment for moment in most if longest and moment + longest > now]
