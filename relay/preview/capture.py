"""Deliveries, sent by the real transports to the demo's catchers, and what these caught of each.

So what is shown is what would go over the wire, to the byte: there is no second way to pack it. Loopback only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from relay.delivery.attempt import Renderer
from relay.demo.catchers import LOOPBACK, Catchers
from relay.demo.received import CaughtCard, CaughtMail, CaughtPost
from relay.destination import Destination
from relay.mail_address import MailAddress
from relay.outbox import Delivery
from relay.rendering.isolation.worker_pool import RenderPool
from relay.rules import RuleBook
from relay.services.trial_send import Told, tell_once
from relay.settings.environment import SecretValue
from relay.settings.smtp import smtp_url
from relay.settings.table import Settings
from relay.transports.registry import Access, open_transport

SENDER = MailAddress("Relay", "relay@example.com")
"""Stands in where RELAY_MAIL_FROM is not set."""
PATIENCE = 30.0
"""Seconds: the catchers are on this computer."""
_PATHS = {"slack": "services", "teams": "workflows"}


@dataclass(frozen=True, slots=True)
class Shown:
    """One delivery and all that was sent for it."""

    delivery: Delivery
    destination: Destination
    told: Told
    mails: Sequence[CaughtMail] = ()
    posts: Sequence[CaughtPost] = ()
    cards: Sequence[CaughtCard] = ()


async def show(
    owed: Iterable[Delivery], book: RuleBook, settings: Settings, folders: tuple[Path, ...]
) -> list[Shown]:
    """What is sent for each. No secret is asked for, and no address of the outside is used."""
    workers = RenderPool(folders)
    renderer = Renderer(workers, settings.public_url)
    try:
        async with Catchers(lambda _: "") as catchers:
            return [
                await _show(each, book.destinations[each.destination], catchers, settings, renderer)
                for each in owed
            ]
    finally:
        await workers.close()


async def _show(
    delivery: Delivery,
    destination: Destination,
    catchers: Catchers,
    settings: Settings,
    renderer: Renderer,
) -> Shown:
    path = _PATHS.get(destination.transport, "")
    access = Access(
        _harmless(settings, catchers), lambda name: f"{catchers.http_url}/{path}/{name}"
    )
    try:
        transport = open_transport(destination, access)
        told = await tell_once(delivery, destination, transport, renderer, PATIENCE)
    finally:
        await access.close()
    caught = catchers.received.take()
    return Shown(delivery, destination, told, *caught)


def _harmless(settings: Settings, catchers: Catchers) -> Settings:
    """The user's own, with the catchers in place of every far end and nothing secret left."""
    return replace(
        settings,
        smtp=smtp_url(f"smtp://{LOOPBACK}:{catchers.smtp_port}"),
        mail_from=settings.mail_from or SENDER,
        slack_token=SecretValue("xoxb-preview"),
        slack_api_url=f"{catchers.http_url}/api/",
        allow_private_webhooks=True,
    )
