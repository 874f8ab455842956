"""Put the demo together: a scratch folder, the catchers, the relay itself, the sample chats, and the page that shows what came of it."""

import asyncio
import base64
import errno
import secrets
import shlex
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from relay.files import copy_rules, copy_samples
from relay.preview.catchers import Catchers
from relay.preview.lookalike.slack_post import SLACK_CSS, slack_post_html
from relay.preview.lookalike.teams_card import TEAMS_CSS, teams_card_html
from relay.preview.preview_page import page_environment
from relay.preview.received import CaughtMail, Received
from relay.runtime.startup import OWN_TEMPLATES, NotReady
from relay.services.trial_send import post_hook
from relay.transports.http import HttpClient, HttpTimeouts
from relay.web.server import run_relay

PATIENCE = 30
"""Seconds that the samples' deliveries may take to arrive before the demo says that some did not."""

_LEADS = """
destinations:
  leads:        {email: {to: lead@example.com}}    # for the demo
"""
_BY_MAIL = """
rules:
  # For the demo: what Slack and Teams get below, as mails.
  - {name: Missed chats by mail, when: {missed: true}, send_to: leads, template: missed}
  - {name: Bad ratings by mail, when: {rating: {at_most: 2}}, send_to: leads, template: low_rating}

"""
_OLD_FORM = "documented_old_variant.json"
"""Tells of the same chat as another sample, in the form of older hooks."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What `relay demo` was asked for."""

    listen: str = "127.0.0.1:8000"
    page_port: int = 8025
    folder: Path | None = None
    """Kept and used again; None for one that goes away with the demo."""
    once: bool = False
    """End as soon as the samples arrived."""


async def run_demo(options: DemoOptions, *, say: Say) -> bool:
    """Run until SIGINT or SIGTERM, or until the samples arrived; whether all that was queued did arrive.

    Raises what `run_relay` raises; NotReady, too, where the folder can't be used.
    """
    with tempfile.TemporaryDirectory(prefix="relay-demo-") as scratch:
        folder = (options.folder or Path(scratch)).resolve()
        try:
            _furnish(folder)
        except OSError as error:
            raise NotReady([str(error)]) from None
        # The database never is the user's: one that knew the samples would queue nothing for them.
        return await _Demo(options, folder, Path(scratch) / "relay.db", say).run()


class _Demo:
    def __init__(self, options: DemoOptions, folder: Path, database: Path, say: Say) -> None:
        self._options = options
        self._say = say
        self._folder = folder
        self._database = database
        self._token = f"demo-{secrets.token_urlsafe(16)}"
        self._stopping = asyncio.Event()
        self._complete = False
        self._guide = Guide(
            rules=str(folder / "rules.yaml"),
            samples=shlex.quote(str(folder / "samples")),
            folder=shlex.quote(str(options.folder)) if options.folder else "",
        )

    async def run(self) -> bool:
        port = self._options.page_port
        async with Catchers(self._page, style=STYLE, http_port=port) as catchers:
            listen = self._free_address()
            tours: list[asyncio.Task[None]] = []

            async def ready(base_url: str) -> None:
                # Beside the relay, not in its way: it has to notice Ctrl-C while samples are under way.
                tours.append(asyncio.create_task(self._tour(base_url, catchers)))
                tours[-1].add_done_callback(self._toured)

            await run_relay(
                {
                    **_variables(catchers),
                    **self._own_templates(),
                    "RELAY_RULES": self._guide.rules,
                    "RELAY_DATABASE": f"sqlite:///{self._database}",
                    "RELAY_LISTEN": listen,
                    "RELAY_HOOK_TOKENS": self._token,
                },
                started=ready,
                stopping=self._stopping,
            )
            for tour in tours:
                tour.cancel()
                await asyncio.wait({tour})
                if not tour.cancelled():
                    tour.result()
        return self._complete

    def _own_templates(self) -> Mapping[str, str]:
        """The templates that the user keeps beside the rules, as docs/templates.md says."""
        own = self._folder / OWN_TEMPLATES
        return {"RELAY_TEMPLATES": str(own)} if own.is_dir() else {}

    def _page(self, received: Received) -> str:
        return render_page(received, self._guide)

    def _toured(self, tour: asyncio.Task[None]) -> None:
        if self._options.once or tour.cancelled() or tour.exception():
            self._stopping.set()

    def _free_address(self) -> str:
        """Where the relay is to listen: as asked, or on any free port if another program is there."""
        listen = self._options.listen
        host, _, port = listen.rpartition(":")
        if not port.isdecimal() or not _taken(host.strip("[]"), int(port)):
            return listen
        self._say(f"{listen} is taken by another program; the relay takes a free port instead.")
        return f"{host}:0"

    async def _tour(self, base_url: str, catchers: Catchers) -> None:
        self._guide = replace(self._guide, hook_url=f"{base_url}/hooks/smartsupp/{self._token}")
        self._say("The relay's demo: everything stays on this computer.\n")
        self._say(f"  rules  {self._guide.rules}")
        self._say(f"  hook   {self._guide.hook_url}\n")
        self._say("Sample chats, posted to the hook as Smartsupp would:")
        await self._post_samples()
        self._complete = await self._arrived(catchers.received)
        mails = len(catchers.received.mails)
        self._guide = replace(self._guide, waiting=False, mails=mails)
        self._say(f"\nLook at {catchers.http_url}/ - {_counted(catchers.received)}")
        if not self._options.once:
            end = "" if self._options.folder else " and removes its folder"
            self._say(f"Ctrl-C ends the demo{end}.")

    async def _post_samples(self) -> None:
        samples = _samples(self._folder)
        width = max(map(len, samples), default=0)
        http = HttpClient(allow_private=True, timeouts=HttpTimeouts(total=PATIENCE))
        try:
            for name, hook in samples.items():
                posted = await post_hook(http, self._guide.hook_url, hook)
                trouble = posted.words if posted.deliveries is None else ""
                sample = PostedSample(
                    name=name,
                    status=posted.status,
                    deliveries=posted.deliveries or 0,
                    trouble=trouble,
                )
                self._guide = replace(self._guide, posted=(*self._guide.posted, sample))
                self._say(f"  {sample.name:<{width}}  {sample.status or '---'}  {sample.words}")
        finally:
            await http.close()

    async def _arrived(self, received: Received) -> bool:
        queued = self._guide.deliveries
        try:
            async with asyncio.timeout(PATIENCE):
                await received.until(lambda received: received.total >= queued)
        except TimeoutError:
            self._say(
                f"\nOnly {received.total} of {queued} deliveries arrived within {PATIENCE} s; "
                "the relay's log says why."
            )
            return False
        return not any(sample.trouble for sample in self._guide.posted)


def _variables(catchers: Catchers) -> Mapping[str, str]:
    """With what the demo itself decides, the relay's whole environment: the user's own has no say in it."""
    return {
        "RELAY_SMTP_URL": f"smtp://127.0.0.1:{catchers.smtp_port}",
        "RELAY_MAIL_FROM": "Relay demo <relay@demo.example>",
        "RELAY_SLACK_TOKEN": "xoxb-demo",
        "RELAY_SLACK_API_URL": f"{catchers.http_url}/api/",
        "RELAY_ALLOW_PRIVATE_WEBHOOKS": "yes",
        "SLACK_SUPPORT_WEBHOOK": f"{catchers.http_url}/services/T0DEMO/B0DEMO/support",
        "TEAMS_MANAGERS_WEBHOOK": f"{catchers.http_url}/workflows/managers/triggers/manual",
        "CRM_URL": f"{catchers.http_url}/webhooks/crm",
        "CRM_SECRET": f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}",
    }


def _furnish(folder: Path) -> None:
    """Rules and samples that are there already are the user's own and stay. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if copy_rules(rules := folder / "rules.yaml"):
        rules.write_text(with_mails(rules.read_text("utf-8")), "utf-8")
    copy_samples(folder / "samples")


def with_mails(rules: str) -> str:
    """The example rules, which send most to Slack and Teams, with mails to look at."""
    return rules.replace("\ndestinations:\n", _LEADS, 1).replace("\nrules:\n", _BY_MAIL, 1)


def _taken(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError:
            return False  # no port at all; the settings say so better
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _by_interest(path: Path) -> tuple[int, str]:
    """What the product is for comes first."""
    names = ("missed.json", "low_rating_vip.json", "offline.json")
    return names.index(path.name) if path.name in names else len(names), path.name


def _samples(folder: Path) -> Mapping[str, bytes]:
    paths = sorted((folder / "samples").glob("*.json"), key=_by_interest)
    return {path.name: path.read_bytes() for path in paths if path.name != _OLD_FORM}


def _counted(received: Received) -> str:
    counts = {
        "mail": len(received.mails),
        "Slack post": received.post_count,
        "Teams card": len(received.cards),
        **({"webhook": len(received.bodies)} if received.bodies else {}),
    }
    return ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items())


_HERE = files("relay.demo")

STYLE = "\n".join([(_HERE / "page.css").read_text(encoding="utf-8"), SLACK_CSS, TEAMS_CSS])


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedSample:
    """A sample chat that was posted to the hook, and the relay's answer."""

    name: str
    status: int
    deliveries: int = 0
    """How many new deliveries it has."""
    trouble: str = ""

    @property
    def words(self) -> str:
        if self.trouble:
            return self.trouble
        if self.status == 200:
            return "known already, so nothing new is queued"
        if not self.deliveries:
            return "no rule matched"
        return f"{self.deliveries} {'delivery' if self.deliveries == 1 else 'deliveries'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What the page tells beside the messages: what was done, and how to go on."""

    hook_url: str = ""
    """Empty until the relay takes hooks."""
    rules: str = ""
    """Path of the rules file."""
    samples: str = ""
    """Path of the folder with the sample chats, quoted for a shell."""
    folder: str = ""
    """The folder that the user named, to be kept; empty for one that goes away with the demo."""
    posted: Sequence[PostedSample] = ()
    mails: int = 0
    """How many of the mails are of the samples: these are shown in their order, below those that came later."""
    waiting: bool = True
    """Whether samples are still under way, so that the page is worth another look by itself."""

    @property
    def deliveries(self) -> int:
        return sum(sample.deliveries for sample in self.posted)

    @property
    def curl(self) -> str:
        """A shell command that posts the missed chat under a new id: the relay does not tell of one chat twice."""
        return (
            f'sed "s/910001/$(date +%s)/" {self.samples}/missed.json |\n'
            f"  curl -sS -H 'Content-Type: application/json' --data-binary @- {self.hook_url}"
        )


def render_page(received: Received, guide: Guide) -> str:
    """A whole HTML document, to be served beside `/style.css` and `/mails/<number>`."""
    return _PAGE.render(
        guide=guide,
        mails=sorted(received.mails, key=partial(_place, of_samples=guide.mails)),
        posts=list(reversed(received.posts)),
        post_count=received.post_count,
        cards=list(reversed(received.cards)),
        bodies=list(reversed(received.bodies)),
    )


def _place(mail: CaughtMail, of_samples: int) -> int:
    """Later ones first; those of the samples after them, the first one first."""
    return mail.number if mail.number <= of_samples else -mail.number


def clock(arrived: datetime) -> str:
    """A moment as the time on this computer's clock, such as `14:05:09`."""
    return arrived.astimezone().strftime("%H:%M:%S")


def _environment() -> Environment:
    environment = page_environment()
    environment.filters["clock"] = clock
    # Both escape all they are given.
    environment.filters["slack"] = lambda post: Markup(  # noqa: S704
        slack_post_html(post.message, time=clock(post.arrived))
    )
    environment.filters["teams"] = lambda card: Markup(  # noqa: S704
        teams_card_html(card.message, time=clock(card.arrived))
    )
    return environment


_PAGE = _environment().from_string((_HERE / "page.html").read_text(encoding="utf-8"))
