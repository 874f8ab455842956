"""The transports, by the names that the rules file uses. A new transport adds its line to REGISTRATIONS."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from relay.destination import UNLIMITED, Destination, TransportSpec
from relay.transports import Transport
from relay.transports.access import Access, Registration
from relay.transports.cures import HTTP, Row, row_for
from relay.transports.email import transport as email
from relay.transports.email.answers import row_of as row_of_mail
from relay.transports.slack import transport as slack
from relay.transports.teams import transport as teams
from relay.transports.webhook import transport as webhook

REGISTRATIONS: Mapping[str, Registration] = {
    each.spec.name: each
    for each in (
        email.REGISTRATION,
        slack.REGISTRATION,
        teams.REGISTRATION,
        webhook.REGISTRATION,
    )
}
TRANSPORTS: Mapping[str, TransportSpec] = {name: each.spec for name, each in REGISTRATIONS.items()}
SERVICES: Mapping[str, Sequence[Row]] = {
    each.service: each.answers for each in REGISTRATIONS.values() if each.service
}
"""The answers of each HTTP service, by its name in outcomes."""
MAIL_PER_HOUR, MAIL_PER_HOUR_HERE = 200, 2000
"""The default limit of emails per destination in an hour; HERE is for a mail server on this computer."""


def open_transport(destination: Destination, access: Access) -> Transport:
    """Return the transport of a destination, without opening a connection.

    Raises ValueError if a setting is missing, and the errors of `access.secret`.
    """
    return REGISTRATIONS[destination.transport].open(destination.options, access)


def cure_of(words: str) -> Row | None:
    """Return the advice for an outcome with these words; None if there is none."""
    if service := _OF_A_SERVICE.search(words):
        return row_for((*HTTP, *SERVICES[service[1]]), words)
    return row_of_mail(words) or row_for((*_OF_SECRETS, *HTTP), words)


def cure_in_words(words: str, destination: str) -> str:
    """Return the advice for an outcome as the end of a log line: ". What to do. Then run: relay check".

    Empty if there is none.
    """
    row = cure_of(words)
    return f". {' '.join(row.lines(destination))}" if row else ""


_OF_SECRETS = [
    row for rows in SERVICES.values() for row in rows if row.pattern.startswith("^what ")
]
"""The rows for what a secret holds, in which no service is named."""
_OF_A_SERVICE = re.compile(
    rf"(?:^|[:;] )({'|'.join(SERVICES)})(?:'s file store)? (?:answered|asked|was|could|has|did|dropped) "
)


@dataclass(frozen=True, slots=True)
class Place:
    """The server and login that a destination uses, without secrets."""

    key: str
    """Equal for all destinations with this server and login, in all relays. No secret can be derived from it."""
    login: object = None
    """The credentials, only for comparison: new ones may be accepted where the previous ones were not."""


def most_per_hour(destination: Destination, access: Access) -> int | None:
    """Return how many notifications the destination may get in an hour; None for no limit.

    The rules file takes precedence over the settings. Without both, only email has a limit, which
    is higher for a mail server on this computer, because that server paces its own sending.
    """
    most = destination.most_per_hour
    if most is None and destination.transport == "email":
        most = access.settings.mail_per_hour
        if most is None and access.settings.smtp:
            most = MAIL_PER_HOUR_HERE if _is_here(access.settings.smtp.host) else MAIL_PER_HOUR
    return None if most in {None, UNLIMITED} else most


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.startswith("/")


def place_of(destination: Destination, access: Access) -> Place:
    """Return the server and login of a destination. Raises ValueError and the errors of `access.secret`."""
    parts, login = REGISTRATIONS[destination.transport].place(destination.options, access)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    return Place(f"{destination.transport} {digest}", login)
