"""Shares the connections of a mail server among recipients, so that slow ones don't delay the others.

Some servers take a minute to answer for one address and a moment for another, for example because
of tarpits or remote mailbox checks.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto

MOST_KNOWN = 10_000
"""The most recipients whose speed is remembered."""


class _Pace(Enum):
    UNKNOWN = auto()
    QUICK = auto()
    SLOW = auto()


class FairShares:
    """Shares `most` connections among recipients, which take turns.

    A recipient is slow if an email to it is taking more than `slow` seconds, or the last one did.
    Slow recipients together get at most half of the connections. A recipient of unknown speed gets
    one; a quick one, which may turn slow, gets half, or all while it is alone. The last free
    connection is kept for a quick recipient that has none.
    """

    def __init__(self, most: int, slow: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._half = max(1, most // 2)
        self._slow = slow
        self._clock = clock
        self._held: dict[str, list[float]] = {}
        """The start times of each recipient's connections in use."""
        self._waiting: dict[str, deque[asyncio.Future[float]]] = {}
        """The waiting requests of each recipient; the recipient that has waited longest is first."""
        self._last: dict[str, _Pace] = {}
        """The pace of each recipient's last email, the latest at the end."""
        self._first = ""
        self._is_alone = True

    async def take(self, recipient: str) -> float:
        """Wait until the recipient may use a connection. Returns the start time, which `give_back` needs."""
        self._first = self._first or recipient
        self._is_alone &= self._first == recipient
        if recipient not in self._waiting and self._may(recipient):
            return self._hold(recipient)
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(recipient, deque()).append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free(recipient, turn.result())
            else:
                self._leave(recipient, turn)
            raise

    def give_back(self, recipient: str, since: float) -> None:
        """Give a connection back. `since` is the value that `take` returned."""
        self._last.pop(recipient, None)
        late = self._clock() - since > self._slow
        self._last[recipient] = _Pace.SLOW if late else _Pace.QUICK
        if len(self._last) > MOST_KNOWN:
            del self._last[next(iter(self._last))]
        self._free(recipient, since)

    def _free(self, recipient: str, since: float) -> None:
        self._held[recipient].remove(since)
        if not self._held[recipient]:
            del self._held[recipient]
        while chosen := next(filter(self._may, self._waiting), None):
            turns = self._waiting.pop(chosen)
            turn = turns.popleft()
            if turns:
                self._waiting[chosen] = turns  # at the end, because the others come first
            if not turn.cancelled():
                turn.set_result(self._hold(chosen))

    def _leave(self, recipient: str, turn: "asyncio.Future[float]") -> None:
        turns = self._waiting.get(recipient, deque())
        if turn in turns:
            turns.remove(turn)
        if not turns:
            self._waiting.pop(recipient, None)

    def _hold(self, recipient: str) -> float:
        now = self._clock()
        self._held.setdefault(recipient, []).append(now)
        return now

    def _may(self, recipient: str) -> bool:
        free = self._most - sum(map(len, self._held.values()))
        if free <= 0:
            return False
        own = len(self._held.get(recipient, ()))
        match self._pace(recipient):
            case _Pace.QUICK:
                return self._is_alone or own == 0 or (own < self._half and free > 1)
            case _Pace.SLOW:
                return self._held_by(_Pace.SLOW) < self._half
            case _Pace.UNKNOWN:
                doubtful = self._held_by(_Pace.SLOW) + self._held_by(_Pace.UNKNOWN)
                return own == 0 and doubtful < max(1, self._most - 1)

    def _held_by(self, pace: _Pace) -> int:
        return sum(len(held) for each, held in self._held.items() if self._pace(each) is pace)

    def _pace(self, recipient: str) -> _Pace:
        longest = self._clock() - min(self._held.get(recipient, (self._clock(),)))
        return _Pace.SLOW if longest > self._slow else self._last.get(recipient, _Pace.UNKNOWN)
