"""Names of servers become addresses: each name by a thread of its own, so that a silent name server holds up no other name.

The event loop's own look-ups share a few threads, and six destinations of a zone whose servers are silent use them up.
"""

import asyncio
import contextlib
import errno
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

FRESH = 30.0
"""Seconds for which an answer is used without another look-up."""
FAILED = 5.0
"""Seconds for which a failure is."""
STALE = 3600.0
"""Seconds for which an answer is used where the name's servers are silent, or say that they can't answer."""
HASTE = 1.0
"""Seconds for which a newer answer is waited for where there is such a one."""

Address = tuple[int, int, int, str, tuple[Any, ...]]
"""Family, kind, protocol, canonical name and address, as `socket.getaddrinfo` has them."""
LookUp = Callable[[str, int], Sequence[Address]]
"""May take long, and raises OSError, or ValueError for what can't be a name."""


def system_look_up(host: str, port: int) -> Sequence[Address]:
    """By the computer's own settings."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


@dataclass(slots=True)
class _Name:
    """What is known of a name."""

    answer: Sequence[Address] = ()
    answered_at: float = 0.0
    failure: Exception | None = None
    failed_at: float = 0.0
    under_way: "asyncio.Future[Sequence[Address]] | None" = None


@dataclass(slots=True)
class Resolver:
    """Remembers answers and failures. Of each name there is one look-up at a time, for which all wait that need it."""

    look_up: LookUp = system_look_up
    monotonic: Callable[[], float] = time.monotonic
    haste: float = HASTE
    _names: dict[tuple[str, int], _Name] = field(default_factory=dict)

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """At least one; raises OSError, or ValueError for what can't be a name. Cancelled, the look-up goes on."""
        if _is_address(host):
            return socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        name, now = self._names.setdefault((host, port), _Name()), self.monotonic()
        if name.answer and now - name.answered_at < FRESH:
            return name.answer
        usable = bool(name.answer) and now - name.answered_at < STALE
        if name.under_way is None and (name.failure is None or now - name.failed_at >= FAILED):
            name.under_way = self._begin(host, port, name)
        elif usable:
            return name.answer  # somebody has waited already
        if usable:
            with contextlib.suppress(OSError, ValueError):
                async with asyncio.timeout(self.haste):
                    await self._end(name)
            if name.answer:
                return name.answer
        return await self._end(name)

    async def _end(self, name: _Name) -> Sequence[Address]:
        if name.under_way is not None:
            await asyncio.wait([name.under_way])
        if name.failure is not None:
            raise name.failure.with_traceback(None)
        return name.answer

    def _begin(self, host: str, port: int, name: _Name) -> "asyncio.Future[Sequence[Address]]":
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[Sequence[Address]] = loop.create_future()

        def ended(answer: Sequence[Address], failure: Exception | None) -> None:
            name.under_way, name.failure = None, failure
            if failure is None:
                name.answer, name.answered_at = answer, self.monotonic()
            else:
                name.failed_at = self.monotonic()
                if not _may_pass(failure):
                    name.answer = ()
            asked.set_result(answer)

        def run() -> None:
            answer: Sequence[Address] = ()
            failure: Exception | None = None
            try:
                answer = self.look_up(host, port)
            except Exception as error:  # noqa: BLE001 - every kind is handed to whoever waits for it
                failure = error
            if not answer and failure is None:
                failure = OSError(errno.ENOENT, "the name has no address")
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(ended, answer, failure)

        # A daemon: a relay that ends waits for no name server.
        threading.Thread(target=run, name=f"look-up {host}", daemon=True).start()
        return asked


class HttpResolver(AbstractResolver):
    """A `Resolver` in the form that aiohttp asks for."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - all that there are
    ) -> list[ResolveResult]:
        """See `Resolver.addresses`."""
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=family,
                proto=protocol,
                flags=0,
            )
            for family, _, protocol, _, address in await self._resolver.addresses(host, port)
        ]

    async def close(self) -> None:
        """Holds nothing."""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _may_pass(failure: Exception) -> bool:
    """Whether a name server was away or in trouble; else the name is surely not there any more."""
    if isinstance(failure, socket.gaierror):
        return failure.errno in {socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM}
    return isinstance(failure, OSError)
