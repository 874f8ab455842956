"""How often somebody may guess a password."""

import math
from collections import OrderedDict

MOST_KNOWN = 4096


class Throttle:
    """`burst` tries at once for each name, then one every `seconds`; a try that succeeds takes nothing.

    Never locks anybody out. Names not seen for longest are forgotten.
    """

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = burst
        self._seconds = seconds
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """How many tries of each name count, and when that was so."""

    def take(self, name: str, now: float) -> int:
        """Count a try; or, where there have been too many, the seconds to wait for the next. `now`: monotonic."""
        used = self._now_used(name, now)
        wait = (used + 1 - self._burst) * self._seconds
        if wait > 0.001:
            return math.ceil(round(wait, 3))
        self._used[name] = (used + 1, now)
        self._used.move_to_end(name)
        if len(self._used) > MOST_KNOWN:
            self._used.popitem(last=False)
        return 0

    def give_back(self, name: str, now: float) -> None:
        """The try that was counted last has succeeded."""
        self._used[name] = (max(0.0, self._now_used(name, now) - 1), now)

    def _now_used(self, name: str, now: float) -> float:
        used, at = self._used.get(name, (0.0, now))
        return max(0.0, used - (now - at) / self._seconds)
