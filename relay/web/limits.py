"""How often somebody may knock. Time comes in as an argument, in seconds that only go forward."""

from collections import OrderedDict

MOST_CALLERS = 4096


class TokenBucket:
    """`burst` at once, then `per_second`."""

    __slots__ = ("_burst", "_left", "_per_second", "_seen")

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = burst
        self._seen = 0.0

    def take(self, now: float) -> bool:
        """Whether one more may pass."""
        if self._seen:
            self._left = min(self._burst, self._left + (now - self._seen) * self._per_second)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Callers:
    """A bucket per caller; the callers not seen for longest are forgotten."""

    def __init__(self, burst: float, per_second: float, most: int = MOST_CALLERS) -> None:
        self._burst = burst
        self._per_second = per_second
        self._most = most
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, caller: str, now: float) -> bool:
        """Whether this caller may pass once more."""
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = TokenBucket(self._burst, self._per_second)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(caller)
        return bucket.take(now)
