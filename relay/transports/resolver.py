"""Which IP addresses are on the public internet. By lists of our own: Python's differ from version to version.

Taken from IANA's registries of special-purpose addresses (iana-ipv4-special-registry and iana-ipv6-special-registry, 2025), where
"globally reachable" is not true, and for IPv6 from its address space: only 2000::/3 is given out.


Names of servers become addresses: each name by a thread of its own, so that a silent name server holds up no other name.

The event loop's own look-ups share a few threads, and six destinations of a zone whose servers are silent use them up.
"""

import asyncio
import contextlib
import errno
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

_PRIVATE_4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4"),  # several receivers at a time, and not given out
        ),
    )
)
_PUBLIC_WITHIN_4 = (IPv4Address("192.0.0.9"), IPv4Address("192.0.0.10"))

_GIVEN_OUT = IPv6Network("2000::/3")
_PRIVATE_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_PUBLIC_WITHIN_6 = tuple(
    map(
        IPv6Network,
        (
            *("2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:3::/32"),
            *("2001:4:112::/48", "2001:20::/28", "2001:30::/28"),
        ),
    )
)

_CARRIERS = (
    (IPv6Network("::/96"), 0),  # "compatible"
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
    (IPv6Network("2001::/32"), 64),  # Teredo: its server
)
"""Networks that lead to the IPv4 address which stands in theirs, so many bits from the right."""
_TEREDO = _CARRIERS[-1][0]
_ISATAP = 0x5EFE
"""Between a network and an IPv4 address that it leads to; one more bit says whether that is unique in the world."""
_UNIQUE = 0x0200_0000
_32_BITS = 0xFFFF_FFFF


def is_private(address: str) -> bool:
    """Whether an IP address is anything but a public one; what is no address counts as private.

    An IPv6 address that leads to an IPv4 one is judged by that.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if isinstance(found, IPv4Address):
        return _is_private_4(found)
    carried = list(_carried(found))
    if any(map(_is_private_4, carried)):
        return True
    return not carried and _is_private_6(found)


def is_private_literal(host: str) -> bool:
    """Whether a URL's host is an IP address that is not a public one; a name is none."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return is_private(host)


def _is_private_4(address: IPv4Address) -> bool:
    return address not in _PUBLIC_WITHIN_4 and any(address in network for network in _PRIVATE_4)


def _is_private_6(address: IPv6Address) -> bool:
    if address not in _GIVEN_OUT or _behind_isatap(address):
        return True
    if any(address in network for network in _PUBLIC_WITHIN_6):
        return False
    return any(address in network for network in _PRIVATE_6)


def _behind_isatap(address: IPv6Address) -> bool:
    """Whether a network tunnels to a private IPv4 address, which stands at the end."""
    number = int(address)
    if (number >> 32) & _32_BITS & ~_UNIQUE != _ISATAP:
        return False
    return _is_private_4(IPv4Address(number & _32_BITS))


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to, or by way of which it does."""
    number = int(address)
    for network, shift in _CARRIERS:
        if address in network:
            yield IPv4Address(number >> shift & _32_BITS)
    if address in _TEREDO:
        yield IPv4Address(~number & _32_BITS)  # the computer behind its server


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
    """The addresses of a host, by the computer's own settings."""
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
    """Looks up hosts, and remembers answers and failures.

    Each name is looked up once at a time, and all that need it wait for that.
    """

    look_up: LookUp = system_look_up
    monotonic: Callable[[], float] = time.monotonic
    haste: float = HASTE
    _names: dict[tuple[str, int], _Name] = field(default_factory=dict)

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of a host, at least one. Raises OSError, or ValueError for what can't be a name.

        Cancelled, the look-up goes on.
        """
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
        """The addresses of a host, at least one, as aiohttp wants them. Raises OSError, or ValueError for what can't be a name."""
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
        """Do nothing: there is nothing to be closed."""


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
