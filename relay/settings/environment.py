"""Reads environment variables and the files that `NAME_FILE` names, and protects the secrets in them.

Also splits URLs that contain a login. This is strict, because a lenient parser ends the host at a
`/` or `#` in a password and then contacts the wrong host or shows the password. Errors quote no
part of a URL.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from relay.files import read_file
from relay.redaction import may_hold_secret, may_name_file


class SecretValue:
    """A secret that is not printed by accident: its repr shows stars, and `reveal` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "SecretValue(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretValue) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


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
    """The host of a server. `port` is None if the URL has none."""

    name: str
    port: int | None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginUrl:
    """The parts of a URL. The login is decoded; all other parts are as written."""

    scheme: str
    hosts: tuple[Host, ...]
    user: str = ""
    password: SecretValue = field(default_factory=lambda: SecretValue(""))
    path: str = ""
    """The path, with its leading slash."""
    query: str = ""

    @property
    def host(self) -> Host:
        """The first host."""
        return self.hosts[0]


def split_login_url(value: str) -> LoginUrl:
    """Split a URL that may contain a login. Raises ValueError, which quotes nothing, as any part may belong to a password."""
    scheme = _SCHEME.match(value)
    if scheme is None:
        raise ValueError("this is not a URL")
    rest = value[scheme.end() :]
    end = min((rest.find(sign) for sign in "/?#" if sign in rest), default=len(rest))
    if "@" in rest[end:] or "#" in rest:
        raise ValueError(_encoding_of(rest.rpartition("@")[0] or rest))
    login, at, hosts = rest[:end].rpartition("@")
    path, _, query = rest[end:].partition("?")
    user, password = _user_and_password(login)
    return LoginUrl(
        scheme=scheme[1].lower(),
        hosts=tuple(_host(host, after_login=bool(at)) for host in hosts.split(",")),
        user=user,
        password=SecretValue(password),
        path=path,
        query=query,
    )


def _user_and_password(login: str) -> tuple[str, str]:
    """Return the decoded user name and password. Raises ValueError, whose text quotes neither."""
    if _BAD_CODE.search(login) or not login.isprintable() or " " in login:
        raise ValueError(_encoding_of(login))
    user, colon, password = login.partition(":")
    if colon and not password:
        # A password that begins with @ has this form, and the rest of it looks like the host.
        raise ValueError(
            "no password follows the colon; leave the colon out, or write @ as %40 in the password"
        )
    return unquote(user), unquote(password)


def _host(written: str, *, after_login: bool) -> Host:
    match = _HOST.fullmatch(written)
    if match is None or int(match["port"] or 1) not in range(1, 65536):
        where = "behind the @" if after_login else "behind ://"
        hint = "" if after_login else "; a user name and password end with an @ before the host"
        raise ValueError(f"what stands {where} is not a host with a port{hint}")
    return Host((match["name"] or "").strip("[]"), int(match["port"]) if match["port"] else None)


def _encoding_of(login: str) -> str:
    """Return a hint for the characters to encode: `in the user name or password, write / as %2F and # as %23`."""
    signs = [sign for sign in _CODES if sign in login]
    if "%" in signs and not _BAD_CODE.search(login):
        signs.remove("%")
    if not signs:
        return "it has a line break or another control character in it"
    *most, last = (f"{'a space' if sign == ' ' else sign} as {_CODES[sign]}" for sign in signs)
    return f"in the user name or password, write {', '.join(most)}{' and ' if most else ''}{last}"


LONGEST = 65_536
"""The most bytes of a file that NAME_FILE names."""
_BREAK = re.compile("[\n\r\x0b\x0c\x85\u2028\u2029]")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\xad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_EXAMPLE = re.compile(
    r"(?i)\.\.\.|…|<[\w -]+>|\byour[-_/][a-z]|change[-_]?me|x{8,}|T0{8}/B0{8}|:(?:app-)?password@"
)
"""Placeholders that documentation writes in place of a value."""


def is_placeholder(value: str) -> bool:
    """Whether the value was copied from an example, with a placeholder for the secret."""
    return _EXAMPLE.search(value) is not None


class Environment:
    """The environment variables by name, each from its value or from the file that NAME_FILE names."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def get(self, name: str, *, lines: bool = False) -> str | None:
        """Return a variable without surrounding spaces; None if it is unset or empty.

        `lines` allows several lines. Raises ValueError, without the value in its text, if both NAME
        and NAME_FILE are set, the file can't be read, or the value has a line break, an invisible
        character or surrounding quotes.
        """
        plain = self._variables.get(name, "").strip()
        file = self._variables.get(f"{name}_FILE", "").strip()
        if plain and file:
            raise ValueError(f"{name} and {name}_FILE are both set; keep one of them")
        value = _read(f"{name}_FILE", file) if file else plain
        if objection := _objection(" ".join(value.split()) if lines else value):
            raise ValueError(
                f"{name}_FILE: the file {objection}" if file else f"{name} {objection}"
            )
        return value or None

    def names(self) -> set[str]:
        """Return the names of all variables that are set; for NAME_FILE, also NAME."""
        return {name.removesuffix("_FILE") for name in self._variables}

    def files(self, names: Iterable[str]) -> tuple[Path, ...]:
        """Return the files from which the variables in `names` are read."""
        named = (self._variables.get(f"{name}_FILE", "").strip() for name in names)
        return tuple(Path(file) for file in dict.fromkeys(named) if file)

    def secret(self, name: str) -> SecretValue | None:
        """Return the secret that `$NAME` in the rules file means. Raises ValueError as `get` does."""
        value = self.get(name)
        return None if value is None else SecretValue(value)


def _read(name: str, file: str) -> str:
    if not may_name_file(file):
        raise ValueError(
            f"{name} names no file: it seems to hold the secret itself; set {name.removesuffix('_FILE')} to that, or "
            f"{name} to the name of a file"
        )
    # Show only what is certainly a path: a secret set by mistake would appear in the log.
    called = (
        f" {file},"
        if file.startswith(("/", "./", "../")) and not may_hold_secret(file)
        else " a file"
    )
    try:
        content = read_file(Path(file), LONGEST)
        if len(content) > LONGEST:
            raise ValueError(f"{name} names{called} which is too long: at most {LONGEST:,} bytes")
        return content.decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ValueError(f"{name} names{called} which can't be read: {reason}") from None


def _objection(value: str) -> str:
    """Return the problem of a value: line breaks, invisible characters or surrounding quotes; empty if none."""
    if _BREAK.search(value):
        return "holds more than one line; write the value on one line"
    if unseen := _UNSEEN.search(value):
        return (
            f"holds a character that can't be seen (U+{ord(unseen[0]):04X}); type the value again"
        )
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"`":
        return "holds quotes around the value; write it without them"
    return ""
