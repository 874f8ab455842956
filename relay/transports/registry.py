"""Which transports there are, and how a destination's one is opened. A new one adds a line to each table."""

from collections.abc import Callable, Mapping

from relay.destination import Destination, OptionValue, Secret, TransportSpec
from relay.transports import Transport
from relay.transports.access import Access
from relay.transports.email import transport as email
from relay.transports.slack import transport as slack
from relay.transports.slack.api import SlackApi
from relay.transports.slack.channel import SlackChannel
from relay.transports.teams import transport as teams

TRANSPORTS: Mapping[str, TransportSpec] = {
    spec.name: spec for spec in (email.SPEC, slack.SPEC, teams.SPEC)
}


def open_transport(destination: Destination, access: Access) -> Transport:
    """Opens no connection yet. Raises ValueError where a setting is missing, and what `access.secret` raises."""
    return _OPEN[destination.transport](destination.options, access)


def _email(options: Mapping[str, OptionValue], access: Access) -> Transport:  # noqa: ARG001 - recipients come with each mail
    return email.EmailTransport(*access.mail)


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
