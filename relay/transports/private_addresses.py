"""Which IP addresses are on the public internet. By lists of our own: Python's differ from version to version.

Taken from IANA's registries of special-purpose addresses (iana-ipv4-special-registry and iana-ipv6-special-registry, 2025), where
"globally reachable" is not true, and for IPv6 from its address space: only 2000::/3 is given out.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

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
