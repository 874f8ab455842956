"""Settings that were left as an example shows them, and passwords that are too short to be kept out of what is shown."""

import re
from collections.abc import Container, Iterable, Iterator

from relay.redaction import SHORTEST
from relay.settings.database import PostgresServer
from relay.settings.environment import Environment, is_placeholder, split_login_url
from relay.settings.table import SETTINGS, Settings

_EXAMPLE_HOST = re.compile(r"(?i)(?:.*\.)?example(?:\.(?:com|net|org))?\.?")
"""RFC 2606: nobody has them."""
_HERE = {"localhost", "127.0.0.1", "::1"}


def placeholders(environment: Environment, names: Iterable[str] = SETTINGS) -> Iterator[str]:
    """A sentence for every setting of these whose value is one; none of them is shown."""
    for name in names:
        try:
            value = environment.get(name, lines=True)
        except ValueError:
            continue  # it is named as what can't be read
        if value and is_placeholder(value):
            yield f"{name} holds the value of an example; write your own in its place"


def short_passwords(settings: Settings, names: Container[str] = SETTINGS) -> Iterator[str]:
    """A sentence for every password in a setting of these that would be found in ordinary words, and so is not taken out of all that is shown."""
    database = settings.database
    for name, password in (
        ("RELAY_SMTP_URL", settings.smtp and settings.smtp.password),
        ("RELAY_HTTPS_PROXY", settings.proxy and settings.proxy.password),
        ("RELAY_DATABASE", isinstance(database, PostgresServer) and database.password),
    ):
        if name in names and password and len(password.reveal()) < SHORTEST:
            yield (
                f"the password in {name} has fewer than {SHORTEST} characters: it can't be told from ordinary words, "
                "and may be shown in a log or an error; take a longer one"
            )


def example_hosts(settings: Settings) -> Iterator[str]:
    """A sentence for every setting that names a host of examples. What is local is a trial: there any sender will do."""
    smtp, proxy, database, sender = (
        settings.smtp,
        settings.proxy,
        settings.database,
        settings.mail_from,
    )
    hosts = {
        "RELAY_SMTP_URL": [smtp.host] if smtp else [],
        "RELAY_MAIL_FROM": [sender.domain] if sender and smtp and smtp.host not in _HERE else [],
        "RELAY_PUBLIC_URL": [_host_of(settings.public_url)],
        "RELAY_HTTPS_PROXY": [_host_of(proxy.url.reveal())] if proxy else [],
        "RELAY_DATABASE": database.hosts if isinstance(database, PostgresServer) else [],
    }
    for name, named in hosts.items():
        if any(map(_EXAMPLE_HOST.fullmatch, named)):
            yield f"{name} names a host of examples, which nobody has; write your own"


def _host_of(url: str) -> str:
    return split_login_url(url).host.name if url else ""
