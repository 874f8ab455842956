"""Limits how often somebody may try a password, and how many requests run at the same time."""

import asyncio
import contextlib
import math
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from ipaddress import IPv4Address, ip_address, ip_network

MOST_KNOWN = 4096
ALONE = 0.1
"""Seconds after which a request is taken to wait for something rather than to compute; most pages take a tenth of that."""
SOONER = 0.0005
"""Seconds after which a computing thread yields to others. With Python's 5 ms, hooks wait that long for pages, several times."""
TRIES, BETWEEN_TRIES = 5, 30.0
"""How many passwords may be tried at once for a name from one address, and how many seconds there are between further tries."""
TRIES_OF_ADDRESS, TRIES_OF_NAME = 20, 100
"""How many passwords may be tried from one address over all names, and for one name over all addresses.

The latter is high, so that nobody is kept out by tries of others.
"""
_SUBSCRIBER = 64
"""The length of the IPv6 prefix that one subscriber usually gets."""


def network_of(address: str) -> str:
    """The address or network whose tries are counted together: for IPv6 the network of one subscriber."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, IPv4Address):
        return address
    network = ip_network((ip, _SUBSCRIBER), strict=False)
    return str(ip.ipv4_mapped or network)


class Throttle:
    """Allows `burst` tries at once for each name, then one every `seconds`; a successful try does not count.

    Nobody is locked out for good. The names not seen for longest are forgotten.
    """

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = burst
        self._seconds = seconds
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """How many tries of each name count, and when that was computed."""

    def take(self, name: str, now: float) -> int:
        """Count a try and return 0; or the seconds to wait, if there were too many. `now`: monotonic."""
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
        """Stop counting the last try, because it succeeded."""
        self._used[name] = (max(0.0, self._now_used(name, now) - 1), now)

    def _now_used(self, name: str, now: float) -> float:
        used, at = self._used.get(name, (0.0, now))
        return max(0.0, used - (now - at) / self._seconds)


class PasswordTries:
    """Limits password tries: per address, per name from one address, and per name from all addresses."""

    def __init__(self) -> None:
        bursts = (TRIES_OF_ADDRESS, TRIES, TRIES_OF_NAME)
        self._throttles = [Throttle(burst, BETWEEN_TRIES) for burst in bursts]

    def take(self, name: str, address: str, now: float) -> int:
        """Count a try and return 0; or the seconds to wait, if there were too many. `now`: monotonic."""
        waits = (each.take(key, now) for each, key in self._keys(name, address))
        return next(filter(None, waits), 0)

    def give_back(self, name: str, address: str, now: float) -> None:
        """Stop counting the last try, because it succeeded."""
        for each, key in self._keys(name, address):
            each.give_back(key, now)

    def _keys(self, name: str, address: str) -> Iterator[tuple[Throttle, str]]:
        network = network_of(address)
        return zip(self._throttles, (network, f"{name} {network}", name), strict=True)


class Turns:
    """Lets at most `most` blocks run at the same time; `waiting` more wait for their turn, for at most `seconds`.

    One begins when the one before it has ended, or has taken ALONE seconds: two that compute at the same time end no
    sooner, and hooks wait for both. Meanwhile the threads of the process switch more often, so that the one that
    answers hooks does not wait for the others.
    """

    def __init__(self, most: int, waiting: int, seconds: float) -> None:
        self._free, self._begin = asyncio.Semaphore(most), asyncio.Semaphore(1)
        self._all = most + waiting
        self._seconds = seconds
        self._inside = 0
        self._usual = sys.getswitchinterval()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it during the block. Raises TimeoutError where it takes too long, or too many wait."""
        if self._inside >= self._all:
            raise TimeoutError
        self._inside += 1
        sys.setswitchinterval(SOONER)
        async with AsyncExitStack() as stack:
            stack.callback(self._leave)
            async with asyncio.timeout(self._seconds):
                await stack.enter_async_context(self._free)
                await self._begin.acquire()
            begun = stack.enter_context(ExitStack())
            begun.callback(self._begin.release)
            # Closed twice, it releases once.
            asyncio.get_running_loop().call_later(ALONE, begun.close)
            yield

    def _leave(self) -> None:
        self._inside -= 1
        if not self._inside:
            sys.setswitchinterval(self._usual)
