"""The proxy for outgoing HTTP requests: `RELAY_HTTPS_PROXY` and `RELAY_NO_PROXY`."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from relay.redaction import may_hold_secret
from relay.settings.environment import IN_PASSWORDS, SecretValue, split_login_url

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_FORM = (
    "write http://proxy.example.com:3128, or http://name:password@proxy.example.com:3128; "
    + IN_PASSWORDS
)
HTTPS_PROXY = "RELAY_HTTPS_PROXY"


@dataclass(frozen=True, slots=True)
class NoProxy:
    """The hosts and networks that are reached without the proxy."""

    names: tuple[str, ...] = ()
    """Host names; their subdomains are included."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the hosts that are reached without it."""

    url: SecretValue
    """`http://host:port`, possibly with a user name and password."""
    exceptions: NoProxy = NoProxy()

    @property
    def password(self) -> SecretValue:
        """The password in the proxy's URL; empty if there is none."""
        return split_login_url(self.url.reveal()).password

    def is_for(self, host: str) -> bool:
        """Whether requests to a host use the proxy; never for this computer."""
        host = host.lower().rstrip(".")
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            names = (*self.exceptions.names, "localhost")
            return not any(host == name or host.endswith(f".{name}") for name in names)
        return not (address.is_loopback or any(address in net for net in self.exceptions.networks))


def proxy_url(value: str) -> SecretValue:
    """Return a proxy's URL after checking it. Raises ValueError, whose text does not contain the value."""
    try:
        url = split_login_url(value)
    except ValueError as error:
        raise ValueError(f"{error}; {_FORM}") from None
    if url.scheme != "http" or len(url.hosts) > 1 or not url.host.name:
        raise ValueError(f"this is not the address of an http:// proxy; {_FORM}")
    if url.path.strip("/") or url.query:
        raise ValueError(f"nothing may follow the port; {_FORM}")
    return SecretValue(value)


def no_proxy(value: str) -> NoProxy:
    """Parse the value of NO_PROXY, such as `intranet.example.com, 10.0.0.0/8`, separated by commas or spaces.

    Raises ValueError for a part that is neither a name nor an address.
    """
    names: list[str] = []
    networks: list[IPv4Network | IPv6Network] = []
    for entry in re.split(r"[,\s]+", value):
        if not entry:
            continue
        try:
            networks.append(ip_network(entry.strip("[]"), strict=False))
        except ValueError:
            name = entry.lower().removeprefix("*").strip(".")
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{'this' if may_hold_secret(entry) else repr(entry)} is neither a host name nor an address; "
                    "write intranet.example.com, 10.0.0.0/8"
                ) from None
            names.append(name)
    return NoProxy(tuple(names), tuple(networks))
