"""Which transports there are, and how a destination's one is opened. A new one adds a line to each table."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from relay.destination import (
    UNLIMITED,
    Destination,
    OptionValue,
    Secret,
    TransportSpec,
    reply_to,
)
from relay.transports import Transport
from relay.transports.access import Access
from relay.transports.cures import HTTP, Row, row_for
from relay.transports.email import transport as email
from relay.transports.email.answers import row_of as row_of_mail
from relay.transports.slack import answers as slack_answers
from relay.transports.slack import transport as slack
from relay.transports.slack.api import SlackApi
from relay.transports.slack.channel import SlackChannel
from relay.transports.teams import answers as teams_answers
from relay.transports.teams import transport as teams

TRANSPORTS: Mapping[str, TransportSpec] = {
    spec.name: spec for spec in (email.SPEC, slack.SPEC, teams.SPEC)
}
MAIL_PER_HOUR, MAIL_PER_HOUR_HERE = 200, 2000
"""To one destination, unless somebody says otherwise; HERE: by a server on this computer."""


def open_transport(destination: Destination, access: Access) -> Transport:
    """Opens no connection yet. Raises ValueError where a setting is missing, and what `access.secret` raises."""
    return _OPEN[destination.transport](destination.options, access)


def _email(options: Mapping[str, OptionValue], access: Access) -> Transport:
    """Recipients come with each mail."""
    return email.EmailTransport(
        *access.mail,
        reply_to=reply_to(options),
        mark_as_automatic=options.get("mark_as_automatic") is not False,
    )


def _slack(options: Mapping[str, OptionValue], access: Access) -> Transport:
    mention = _text(options.get("mention", ""))
    if "webhook" in options:
        return slack.SlackWebhook(
            access.http,
            url=access.secret(_secret(options["webhook"])),
            name=str(options["webhook"]),
            mention=mention,
            clock=access.clock,
        )
    token = access.settings.slack_token
    if token is None:
        raise ValueError("a Slack channel needs RELAY_SLACK_TOKEN")
    url = access.settings.slack_api_url
    objection = access.http.objection(url)
    return SlackChannel(
        SlackApi(
            access.http,
            url=url,
            token=token.reveal(),
            pause=access.slack_pause,
            clock=access.clock,
        ),
        channel=_text(options["channel"]),
        mention=mention,
        objection=f"what RELAY_SLACK_API_URL holds {objection}" if objection else "",
    )


def _teams(options: Mapping[str, OptionValue], access: Access) -> Transport:
    return teams.TeamsWebhook(
        access.http,
        url=access.secret(_secret(options["webhook"])),
        name=str(options["webhook"]),
        clock=access.clock,
    )


def cure_of(words: str) -> Row | None:
    """What to do about an attempt that ended with these words; None where nothing is known of them."""
    if said := _OF_A_WEBHOOK.search(words):
        rows = slack_answers.ROWS if said[1] == "Slack" else teams_answers.ROWS
        return row_for((*HTTP, *rows), words)
    return row_of_mail(words) or row_for(HTTP, words)


def cure_in_words(words: str, destination: str) -> str:
    """For the end of a line of the log: `. What to do. Then run: relay check`; empty where nothing is known."""
    row = cure_of(words)
    return f". {' '.join(row.lines(destination))}" if row else ""


_OF_A_WEBHOOK = re.compile(
    r"(?:^|[:;] )(Slack|Teams)(?:'s file store)? (?:answered|asked|was|could|has|did|dropped) "
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a destination leads."""

    key: str
    """Equal for all destinations that lead there, in all relays; no secret can be read from it."""
    login: object = None
    """What is compared only: another one there may be let in where this one was not."""


def most_per_hour(destination: Destination, access: Access) -> int | None:
    """How many notifications the destination gets in an hour; None for any number.

    The rules file goes first, then the settings. Where both are silent only mail has a ceiling, and a higher one by a
    server on this computer: that one waits for its provider by itself.
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
    """Raises as `open_transport` does."""
    parts, login = _PLACES[destination.transport](destination.options, access)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    return Place(f"{destination.transport} {digest}", login)


_Parts = tuple[tuple[str, ...], object]


def _mail_place(options: Mapping[str, OptionValue], access: Access) -> _Parts:  # noqa: ARG001 - one server for all
    _, server, sender, _ = access.mail
    return (server.host, str(server.port), server.username), (server, sender)


def _slack_place(options: Mapping[str, OptionValue], access: Access) -> _Parts:
    if "webhook" in options:
        return _webhook_place(options, access)
    settings = access.settings
    token = settings.slack_token.reveal() if settings.slack_token else ""
    return (settings.slack_api_url, token, _text(options["channel"])), None


def _webhook_place(options: Mapping[str, OptionValue], access: Access) -> _Parts:
    return (access.secret(_secret(options["webhook"])),), None


_PLACES: Mapping[str, Callable[[Mapping[str, OptionValue], Access], _Parts]] = {
    "email": _mail_place,
    "slack": _slack_place,
    "teams": _webhook_place,
}
_OPEN: Mapping[str, Callable[[Mapping[str, OptionValue], Access], Transport]] = {
    "email": _email,
    "slack": _slack,
    "teams": _teams,
}


def _secret(value: OptionValue) -> str:
    if not isinstance(value, Secret):
        raise TypeError("the rules reader gives secrets by name only")
    return value.name


def _text(value: OptionValue) -> str:
    if not isinstance(value, str):
        raise TypeError("the rules reader gives one text here")
    return value
