"""How long it may take to ask the rules about one chat."""

import math
from collections.abc import Callable


class OutOfTime(Exception):
    """The rules could not be asked within the time that there is."""

    def __init__(self) -> None:
        super().__init__("asking the rules takes longer than it may for one chat")


class TimeLimit:
    """From its making on. Looked at between the steps of asking, each of which is short."""

    __slots__ = ("_clock", "_until")

    def __init__(self, seconds: float, clock: Callable[[], float], until: float = math.inf) -> None:
        """`clock` gives seconds that only go up; by it, the limit is reached at `until` at the latest."""
        self._clock = clock
        self._until = min(clock() + seconds, until)

    def within(self, seconds: float) -> "TimeLimit":
        """From now on, and no longer than this one."""
        return TimeLimit(seconds, self._clock, self._until)

    def check(self) -> None:
        """Raises OutOfTime."""
        if self._clock() > self._until:
            raise OutOfTime


class CurrentLimit:
    """The limit that holds at the moment. None: as long as it takes.

    Not the view's own, whose words ask it: they would hold the view that holds them, and each chat would stay in
    memory until the garbage collector finds it.
    """

    __slots__ = ("limit",)

    def __init__(self) -> None:
        self.limit: TimeLimit | None = None

    def check(self) -> None:
        """Raises OutOfTime."""
        if self.limit is not None:
            self.limit.check()
