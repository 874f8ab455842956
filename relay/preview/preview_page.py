"""Writes a preview: real transports send to catchers on loopback, and what those receive becomes files.

The files therefore have exactly the bytes that would be sent. A page shows them, and works without scripts. A preview
deletes the files of the previous one, and no others.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from relay.delivery.attempt import SingleAttempt, attempt_once
from relay.delivery.renderer import Renderer
from relay.destination import Destination, Secret
from relay.files import create_private, make_private_folder
from relay.mail_address import MailAddress
from relay.outbox import Delivery
from relay.preview.catchers import LOOPBACK, Catchers
from relay.preview.lookalike import LOOKALIKE_CSS, LOOKALIKES
from relay.preview.lookalike.markup import Node, mrkdwn_html
from relay.preview.preview_digest import digests_of
from relay.preview.received import CaughtBody, CaughtMail, CaughtPost
from relay.rendering.isolation.worker_pool import RenderPool
from relay.rules import RuleBook
from relay.settings.environment import SecretValue
from relay.settings.smtp import smtp_url
from relay.settings.table import TABLE, Settings
from relay.timing.digest_contents import Digest
from relay.transports.access import Access
from relay.transports.registry import TRANSPORTS, open_transport

LIST = "preview.json"
"""Lists the files that were written, so that the next preview can delete them."""
_MADE_BY = "relay preview"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


class FolderTaken(Exception):
    """Raised where files of others are in the way; the message names them."""


def fill(folder: Path, files: Mapping[str, bytes], about: Mapping[str, object]) -> list[Path]:
    """Write the files, and the list with `about` as additional data. Returns the files' paths.

    Raises FolderTaken before anything is changed, and OSError.
    """
    if folder.exists() and not folder.is_dir():
        raise FolderTaken(f"{folder} is not a folder; name another one with --out")
    ours = _ours(folder)
    names = [*files, LIST]
    for name in names:
        if name not in ours and (folder / name).exists():
            words = "is there already, and no preview wrote it; name another folder with --out"
            raise FolderTaken(f"{folder / name} {words}")
    make_private_folder(folder)
    for name in ours:
        (folder / name).unlink(missing_ok=True)
    listed = {"made_by": _MADE_BY, **about, "files": names}
    contents = {**files, LIST: json.dumps(listed, indent=2, ensure_ascii=False).encode() + b"\n"}
    for name, content in contents.items():
        with create_private(folder / name) as file:
            file.write(content)
    return [folder / name for name in files]


def _ours(folder: Path) -> set[str]:
    """Names of the files that an earlier preview wrote there."""
    try:
        listed = json.loads((folder / LIST).read_bytes())
        if listed["made_by"] != _MADE_BY:
            return set()
        names = {name for name in listed["files"] if _NAME.fullmatch(name)}
    except (OSError, ValueError, TypeError, KeyError):
        return set()
    return {name for name in names if not (folder / name).is_dir()}


def file_name(*words: str) -> str:
    """A portable file name made of words: `Missed chats`, `support-room` -> `missed-chats-support-room`."""
    plain = unicodedata.normalize("NFKD", "-".join(words)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:70].strip("-")


SENDER = MailAddress("Relay", "relay@example.com")
"""The sender where RELAY_MAIL_FROM is not set."""
PATIENCE = 30.0
"""Seconds to wait for an answer of the catchers on this computer."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One delivery and everything that was sent for it."""

    delivery: Delivery
    destination: Destination
    attempt: SingleAttempt
    mails: Sequence[CaughtMail] = ()
    posts: Sequence[CaughtPost] = ()
    bodies: Sequence[CaughtBody] = ()

    @property
    def has_arrived(self) -> bool:
        """Whether a catcher received anything."""
        return bool(self.mails or self.posts or self.bodies)


async def show(
    queued: Sequence[Delivery], book: RuleBook, settings: Settings, folders: tuple[Path, ...]
) -> list[Shown]:
    """Send each delivery to catchers, and a digest for each recipient that gets digests; returns what was received.

    Uses no secret and no outside server.
    """
    digests, contents = digests_of(queued, book)

    async def read_digest(delivery: Delivery) -> Digest:
        return contents[delivery.id]

    workers = RenderPool(folders)
    renderer = Renderer(workers, settings.public_url, read_digest)
    try:
        async with Catchers() as catchers:
            return [
                await _show(each, book.destinations[each.destination], catchers, settings, renderer)
                for each in (*queued, *digests)
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
    access = Access(_harmless(settings, catchers), _stand_ins(destination, catchers).__getitem__)
    try:
        transport = open_transport(destination, access)
        attempt = await attempt_once(delivery, destination, transport, renderer, PATIENCE)
    finally:
        await access.close()
    caught = catchers.received.take()
    return Shown(delivery, destination, attempt, *caught)


def _stand_ins(destination: Destination, catchers: Catchers) -> dict[str, str]:
    """The values that replace the destination's secrets, by the secrets' names."""
    options = TRANSPORTS[destination.transport].options
    return {
        value.name: options[option].stand_in.format(stand_ins=catchers.http_url, name=value.name)
        for option, value in destination.options.items()
        if isinstance(value, Secret)
    }


def _harmless(settings: Settings, catchers: Catchers) -> Settings:
    """The user's settings with the catchers in place of every server, and without secrets."""
    no_secrets: dict[str, Any] = {
        setting.field: None for setting in TABLE if setting.is_secret and setting.field
    }
    return replace(
        replace(settings, **no_secrets),
        smtp=smtp_url(f"smtp://{LOOPBACK}:{catchers.smtp_port}"),
        mail_from=settings.mail_from or SENDER,
        slack_token=SecretValue("xoxb-preview"),
        slack_api_url=f"{catchers.http_url}/api/",
        allow_private_webhooks=True,
    )


INDEX = "index.html"
_PACKAGE = files("relay.preview")
_STYLE = f"{(_PACKAGE / 'pages' / 'page.css').read_text('utf-8')}\n{LOOKALIKE_CSS}"


@dataclass(frozen=True, slots=True)
class Written:
    """One delivery with the files that show it, by name."""

    shown: Shown
    name: str
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The head of a preview's page."""

    chat: str
    """`<account>/<id>`."""
    notes: Sequence[str] = ()
    """Notes for the reader, such as that a rule does not match."""
    problems: Sequence[str] = ()
    """Problems, such as a broken template."""


def written(shown: Sequence[Shown]) -> list[Written]:
    """The files of each delivery. The page that shows them all is made by `index`."""
    return [_written(number, each) for number, each in enumerate(shown, 1)]


def index(all_written: Sequence[Written], about: About) -> bytes:
    """The page that shows and links all deliveries; it loads nothing."""
    return _page(INDEX, deliveries=all_written, about=about)


def _written(number: int, shown: Shown) -> Written:
    delivery = shown.delivery
    to = (delivery.recipient,) if delivery.recipient != delivery.destination else ()
    name = f"{number:02}-{file_name(delivery.rule, delivery.destination, *to)}"
    entry = Written(shown, name)
    files = _mail_files(entry) | _slack_files(entry) | _webhook_files(entry)
    return Written(shown, name, files)


def _mail_files(entry: Written) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for mail in entry.shown.mails:
        files[f"{entry.name}.eml"] = mail.wire
        if mail.html:
            files[f"{entry.name}.html"] = mail.html.encode()
        files[f"{entry.name}.txt"] = mail.text.encode()
        for name, text in attached(mail):
            files[f"{entry.name}.{name}"] = text.encode()
    return files


def _slack_files(entry: Written) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for post in entry.shown.posts:
        files[f"{entry.name}.slack.json"] = post.wire
        files[f"{entry.name}.slack.html"] = _page("post.html", post=post, title=entry.name)
        for place, reply in enumerate(post.replies, 1):
            files[f"{entry.name}.slack.thread-{place}.json"] = reply.wire
        for file in post.files:
            files[f"{entry.name}.slack.{file_name(file.name.removesuffix('.txt'))}.txt"] = (
                file.text.encode()
            )
    return files


def _webhook_files(entry: Written) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for body in entry.shown.bodies:
        files[f"{entry.name}.{body.transport}.json"] = body.wire
        files[f"{entry.name}.{body.transport}.html"] = _page(
            "body.html", body=body, title=entry.name
        )
    return files


def attached(mail: CaughtMail) -> Iterator[tuple[str, str]]:
    """The names and texts of an email's attachments."""
    message = message_from_bytes(mail.wire, policy=policy.default)
    if isinstance(message, EmailMessage):
        for part in message.iter_attachments():
            yield str(part.get_filename("attachment.txt")), str(part.get_content())


def _page(template: str, **values: object) -> bytes:
    page = _pages().get_template(template).render(style=Markup(_STYLE), **values)  # noqa: S704 - the relay's own
    return page.encode("utf-8", "replace")


def _destination(delivery: Delivery) -> str:
    """A delivery's destination, with the recipient where the destination has several."""
    if delivery.recipient == delivery.destination:
        return delivery.destination
    return f"{delivery.destination}: {delivery.recipient}"


def _lookalike(message: Node, transport: str) -> Markup:
    """A message as its service shows it; empty where its JSON says enough."""
    html = LOOKALIKES[transport](message) if transport in LOOKALIKES else ""
    return Markup(html)  # noqa: S704 - lookalikes escape what they are given


def _toast(post: CaughtPost) -> Markup:
    return Markup(mrkdwn_html(post.toast))  # noqa: S704 - it escapes what it is given


def page_environment() -> Environment:
    """The Jinja environment for `pages/`, with filters that show messages as Slack and Teams do."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=PackageLoader("relay.preview", "pages"),
    )
    environment.filters["toast"] = _toast
    environment.filters["attached"] = attached
    environment.filters["destination"] = _destination
    environment.filters["lookalike"] = _lookalike
    return environment


_pages = cache(page_environment)
