"""URLs with a login in them, of mail servers, proxies and databases: taken apart strictly, and never quoted.

A `/` or `#` in a password ends the host for whoever reads generously: then the user's name is called, or the password shown.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from relay.settings.secret import SecretValue

_CODES = {
    "/": "%2F",
    "#": "%23",
    "?": "%3F",
    "@": "%40",
    "%": "%25",
    "[": "%5B",
    "]": "%5D",
    " ": "%20",
}
IN_PASSWORDS = "in a password, write / as %2F, # as %23, ? as %3F, @ as %40, % as %25"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = re.compile(
    r"(?P<name>[\w.-]+|\[[0-9A-Fa-f:.]+\]|(?:%2[Ff][\w.%-]*))?(?::(?P<port>[0-9]+))?"
)
_BAD_CODE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Host:
    """Where a server is. `port` is None where none is written."""

    name: str
    port: int | None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginUrl:
    """The parts of a URL. The login is decoded, all else as it is written."""

    scheme: str
    hosts: tuple[Host, ...]
    user: str = ""
    password: SecretValue = field(default_factory=lambda: SecretValue(""))
    path: str = ""
    """With its slash."""
    query: str = ""

    @property
    def host(self) -> Host:
        return self.hosts[0]


def split_login_url(value: str) -> LoginUrl:
    """Raises ValueError, which says in words what is wrong and quotes nothing: any part may belong to a password."""
    scheme = _SCHEME.match(value)
    if scheme is None:
        raise ValueError("this is not a URL")
    rest = value[scheme.end() :]
    end = min((rest.find(sign) for sign in "/?#" if sign in rest), default=len(rest))
    if "@" in rest[end:] or "#" in rest:
        raise ValueError(_encoding_of(rest.rpartition("@")[0] or rest))
    login, at, hosts = rest[:end].rpartition("@")
    path, _, query = rest[end:].partition("?")
    if _BAD_CODE.search(login) or not login.isprintable() or " " in login:
        raise ValueError(_encoding_of(login))
    user, colon, password = login.partition(":")
    if colon and not password:
        # A password that begins with @ looks like this, and its rest like the host.
        raise ValueError(
            "no password follows the colon; leave the colon out, or write @ as %40 in the password"
        )
    return LoginUrl(
        scheme=scheme[1].lower(),
        hosts=tuple(_host(host, after_login=bool(at)) for host in hosts.split(",")),
        user=unquote(user),
        password=SecretValue(unquote(password)),
        path=path,
        query=query,
    )


def _host(written: str, *, after_login: bool) -> Host:
    found = _HOST.fullmatch(written)
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        where = "behind the @" if after_login else "behind ://"
        hint = "" if after_login else "; a user name and password end with an @ before the host"
        raise ValueError(f"what stands {where} is no host with a port{hint}")
    return Host((found["name"] or "").strip("[]"), int(found["port"]) if found["port"] else None)


def _encoding_of(login: str) -> str:
    """How what stands in it is written: `in the user name or password, write / as %2F and # as %23`."""
    signs = [sign for sign in _CODES if sign in login]
    if "%" in signs and not _BAD_CODE.search(login):
        signs.remove("%")
    if not signs:
        return "it has a line break or another control character in it"
    *most, last = (f"{'a blank' if sign == ' ' else sign} as {_CODES[sign]}" for sign in signs)
    return f"in the user name or password, write {', '.join(most)}{' and ' if most else ''}{last}"
