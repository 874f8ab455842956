"""Resolves host names, and decides which IP addresses are on the public internet.

Each name is resolved in its own thread: the event loop's few threads would all be blocked by names
whose servers are silent. The lists of networks are from IANA's special-purpose registries
(iana-ipv4-special-registry and iana-ipv6-special-registry, 2025), because Python's differ between
versions. In IPv6, only 2000::/3 is public.
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
            *("224.0.0.0/4", "240.0.0.0/4"),  # multicast and reserved
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
"""Networks whose addresses contain an IPv4 address, with the position of its lowest bit."""
_TEREDO = _CARRIERS[-1][0]
_ISATAP = 0x5EFE
"""The bits before the IPv4 address in an ISATAP address, apart from the bit `_UNIQUE`."""
_UNIQUE = 0x0200_0000
_32_BITS = 0xFFFF_FFFF


def is_private(address: str) -> bool:
    """Whether an address is not public; True for a text that is no IP address.

    An IPv6 address that contains an IPv4 address is judged by that.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if isinstance(parsed, IPv4Address):
        return _is_private_4(parsed)
    carried = list(_carried(parsed))
    if any(map(_is_private_4, carried)):
        return True
    return not carried and _is_private_6(parsed)


def is_private_literal(host: str) -> bool:
    """Whether a URL's host is an IP address that is not public; False for a name."""
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
    """Whether the address tunnels (ISATAP) to a private IPv4 address in its last bits."""
    number = int(address)
    if (number >> 32) & _32_BITS & ~_UNIQUE != _ISATAP:
        return False
    return _is_private_4(IPv4Address(number & _32_BITS))


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that an IPv6 address contains."""
    number = int(address)
    for network, shift in _CARRIERS:
        if address in network:
            yield IPv4Address(number >> shift & _32_BITS)
    if address in _TEREDO:
        yield IPv4Address(~number & _32_BITS)  # the computer behind the server


FRESH = 30.0
"""How many seconds an answer is used without another look-up."""
FAILED = 5.0
"""How many seconds a failure is remembered."""
STALE = 3600.0
"""How many seconds an answer is used while the name's servers are silent or failing."""
HASTE = 1.0
"""How many seconds to wait for a newer answer while an old one can be used."""

Address = tuple[int, int, int, str, tuple[Any, ...]]
"""Family, kind, protocol, canonical name and address, as returned by `socket.getaddrinfo`."""
LookUp = Callable[[str, int], Sequence[Address]]
"""A function that resolves a host and port; may block. Raises OSError, or ValueError for an invalid name."""


def system_look_up(host: str, port: int) -> Sequence[Address]:
    """Return the addresses of a host by the system's resolver."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


@dataclass(slots=True)
class _Name:
    """The cached look-ups of one host name."""

    answer: Sequence[Address] = ()
    answered_at: float = 0.0
    failure: Exception | None = None
    failed_at: float = 0.0
    under_way: "asyncio.Future[Sequence[Address]] | None" = None


@dataclass(slots=True)
class Resolver:
    """Resolves hosts, and caches answers and failures.

    Each name has at most one look-up at a time, shared by all tasks that need it.
    """

    look_up: LookUp = system_look_up
    monotonic: Callable[[], float] = time.monotonic
    haste: float = HASTE
    _names: dict[tuple[str, int], _Name] = field(default_factory=dict)

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """Return the addresses of a host, at least one; the look-up outlives a cancelled call. Raises OSError, or ValueError for an invalid name."""
        if _is_address(host):
            flags = socket.AI_NUMERICHOST
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        name, now = self._names.setdefault((host, port), _Name()), self.monotonic()
        if name.answer and now - name.answered_at < FRESH:
            return name.answer
        usable = bool(name.answer) and now - name.answered_at < STALE
        if name.under_way is None and (name.failure is None or now - name.failed_at >= FAILED):
            name.under_way = self._begin(host, port, name)
        elif usable:
            return name.answer  # a task has waited already
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
        lookup: asyncio.Future[Sequence[Address]] = loop.create_future()

        def ended(answer: Sequence[Address], failure: Exception | None) -> None:
            self._keep(name, answer, failure)
            lookup.set_result(answer)

        def run() -> None:
            answer: Sequence[Address] = ()
            failure: Exception | None = None
            try:
                answer = self.look_up(host, port)
            except Exception as error:  # noqa: BLE001 - every kind is handed to whoever waits for it
                failure = error
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(ended, answer, failure)

        # A daemon thread, so that the relay can end while a name server is silent.
        threading.Thread(target=run, name=f"look-up {host}", daemon=True).start()
        return lookup

    def _keep(self, name: _Name, answer: Sequence[Address], failure: Exception | None) -> None:
        """Keep what a look-up found, or why it found nothing."""
        if not answer and failure is None:
            failure = OSError(errno.ENOENT, "the name has no address")
        name.under_way, name.failure = None, failure
        if failure is None:
            name.answer, name.answered_at = answer, self.monotonic()
            return
        name.failed_at = self.monotonic()
        if not _may_pass(failure):
            name.answer = ()


class HttpResolver(AbstractResolver):
    """A `Resolver` for aiohttp."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - all that there are
    ) -> list[ResolveResult]:
        """Return the addresses of a host, at least one, in aiohttp's form.

        Raises OSError, or ValueError for an invalid name.
        """
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
        """Do nothing; aiohttp requires this method."""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _may_pass(failure: Exception) -> bool:
    """Whether a look-up failed temporarily; if not, the name no longer exists."""
    if isinstance(failure, socket.gaierror):
        return failure.errno in {socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM}
    return isinstance(failure, OSError)
