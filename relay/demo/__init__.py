"""The demo: a scratch folder, stand-ins for servers, the relay itself with its console, and sample chats."""

import asyncio
import base64
import errno
import secrets
import socket
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from relay.clock import utc_now
from relay.files import copy_rules, copy_samples
from relay.preview.catchers import Catchers
from relay.preview.received import Received
from relay.runtime.startup import OWN_TEMPLATES, NotReady, Ready
from relay.services.trial_send import post_hook
from relay.smartsupp.hook_json import as_of_now
from relay.transports.http import HttpClient, HttpTimeouts
from relay.web.app import Pages
from relay.web.server import run_relay

PATIENCE = 30
"""Seconds for the samples' deliveries to arrive, before the demo reports that some did not."""

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
"""A sample with the same chat as another one, in the form of older hooks."""

Echo = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """The options of `relay demo`."""

    listen: str = "127.0.0.1:8000"
    folder: Path | None = None
    """A folder that is kept and used again; None for one that is deleted at the end."""
    once: bool = False
    """End as soon as the samples have arrived."""
    page_patience: float = 3.0
    """Seconds that a page waits for the deliveries of a posted sample; digests and the like come later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedSample:
    """A sample chat that was posted to the hook's URL, and the relay's answer."""

    name: str
    """The name of the sample's file."""
    status: int
    chat: str = ""
    """Account and id, such as `208/910001`; empty where the hook was refused."""
    deliveries: int = 0
    """How many new deliveries it has led to."""
    trouble: str = ""

    @property
    def words(self) -> str:
        """What became of the sample, in words."""
        if self.trouble:
            return self.trouble
        if self.status == 200:
            return "known already, so nothing new is queued"
        if not self.deliveries:
            return "no rule matched"
        return f"{self.deliveries} {'delivery' if self.deliveries == 1 else 'deliveries'}"


class Demo:
    """A running demo, for its console. Used from one event loop."""

    def __init__(self, folder: Path, received: Received, echo: Echo, options: DemoOptions) -> None:
        self.received = received
        self.posted: list[PostedSample] = []
        """The newest last."""
        self.is_guide_shown = True
        self.folder = folder
        self.is_kept = options.folder is not None
        """The folder stays when the demo ends."""
        self.page_patience = options.page_patience
        self.token = f"demo-{secrets.token_urlsafe(16)}"
        self.url = ""
        """The relay's base URL; empty until it accepts hooks."""
        self._link, self._echo = "", echo

    @property
    def samples(self) -> Mapping[str, bytes]:
        """The sample chats by the names of their files, the most interesting last."""
        paths = sorted((self.folder / "samples").glob("*.json"), key=_by_interest)
        return {path.name: path.read_bytes() for path in paths if path.name != _OLD_FORM}

    @property
    def rules(self) -> Path:
        """The path of the rules file."""
        return self.folder / "rules.yaml"

    @property
    def hook_url(self) -> str:
        """The URL to which hooks are posted, with its token."""
        return f"{self.url}/hooks/smartsupp/{self.token}"

    def note_link(self, path: str) -> None:
        """Note the path of the link that signs in; print it if an earlier link was used."""
        is_another, self._link = bool(self._link), path
        if is_another:
            self._echo(f"The link was used. For another browser: {self.url}{path}")

    @property
    def link(self) -> str:
        """The URL of the link that signs in, once."""
        return f"{self.url}{self._link}"

    async def post(self, name: str, hook: bytes) -> PostedSample:
        """Post a hook as Smartsupp would. `name`: for the console."""
        http = HttpClient(allow_private=True, timeouts=HttpTimeouts(total=PATIENCE))
        try:
            posted = await post_hook(http, self.hook_url, hook)
        finally:
            await http.close()
        sample = PostedSample(
            name=name,
            status=posted.status,
            chat=posted.chat,
            deliveries=posted.deliveries or 0,
            trouble=posted.words if posted.deliveries is None else "",
        )
        self.posted.append(sample)
        return sample

    async def arrived(self, total: int, patience: float) -> bool:
        """Wait until `total` deliveries have arrived; False if they have not after `patience` seconds."""
        try:
            async with asyncio.timeout(patience):
                await self.received.until(lambda received: received.total >= total)
        except TimeoutError:
            return False
        return True


async def run_demo(
    options: DemoOptions,
    *,
    pages: Callable[[Demo], Callable[[Ready], Pages]],
    echo: Echo,
    stopping: asyncio.Event | None = None,
) -> bool:
    """Run the demo until SIGINT or SIGTERM, until `stopping` is set, or until the samples have arrived.

    Returns whether everything queued has arrived. `pages`: the demo's console. Raises what `run_relay` raises, and
    NotReady where the folder can't be used.
    """
    with tempfile.TemporaryDirectory(prefix="relay-demo-") as scratch:
        folder = (options.folder or Path(scratch)).resolve()
        try:
            _furnish(folder)
        except OSError as error:
            raise NotReady([str(error)]) from None
        async with Catchers() as catchers:
            demo = Demo(folder, catchers.received, echo, options)
            variables = _variables(catchers, demo, scratch, _free_address(options.listen, echo))
            return await _Tour(options, demo, echo, stopping).run(variables, pages(demo))


class _Tour:
    """Runs the relay, posts the samples to it, and prints what happens."""

    def __init__(
        self, options: DemoOptions, demo: Demo, echo: Echo, stopping: asyncio.Event | None
    ) -> None:
        self._options, self._demo, self._echo = options, demo, echo
        self._stopping = stopping or asyncio.Event()
        self._complete = False

    async def run(self, variables: Mapping[str, str], pages: Callable[[Ready], Pages]) -> bool:
        tours: list[asyncio.Task[None]] = []

        async def ready(base_url: str) -> None:
            # In a task of its own, so that the relay notices Ctrl-C meanwhile.
            self._demo.url = _reachable(base_url)
            tours.append(asyncio.create_task(self._run_tour()))
            tours[-1].add_done_callback(self._end_after)

        await run_relay(variables, started=ready, stopping=self._stopping, pages=pages)
        for tour in tours:
            tour.cancel()
            await asyncio.wait({tour})
            if not tour.cancelled():
                tour.result()
        return self._complete

    def _end_after(self, tour: asyncio.Task[None]) -> None:
        if self._options.once or tour.cancelled() or tour.exception():
            self._stopping.set()

    async def _run_tour(self) -> None:
        demo, echo = self._demo, self._echo
        echo("The relay's demo: everything stays on this computer.\n")
        echo(f"  rules  {demo.rules}")
        echo(f"  hook   {demo.hook_url}\n")
        echo("Sample chats, posted to the hook as Smartsupp would:")
        samples, now = demo.samples, utc_now()
        width = max(map(len, samples), default=0)
        for name, hook in samples.items():
            posted = await demo.post(name, as_of_now(hook, now))
            echo(f"  {name:<{width}}  {posted.status or '---'}  {posted.words}")
        self._complete = await self._all_arrived()
        if not self._options.once:
            end = "" if demo.is_kept else " and removes its folder"
            echo(f"\nOpen {demo.link} in a browser; the link works once.")
            echo(f"Ctrl-C ends the demo{end}.")

    async def _all_arrived(self) -> bool:
        received, posted = self._demo.received, self._demo.posted
        queued = sum(sample.deliveries for sample in posted)
        if not await self._demo.arrived(queued, PATIENCE):
            self._echo(
                f"\nOnly {received.total} of {queued} deliveries arrived within {PATIENCE} s; "
                "the relay's log says why."
            )
            return False
        self._echo(f"\nArrived: {_counted(received)}")
        return not any(sample.trouble for sample in posted)


def _variables(catchers: Catchers, demo: Demo, scratch: str, listen: str) -> Mapping[str, str]:
    """The whole environment of the relay; the user's own is not used. `scratch`: the folder of its database."""
    return {
        "RELAY_LISTEN": listen,
        "RELAY_TEMPLATES": str(demo.folder / OWN_TEMPLATES),
        "RELAY_RULES": str(demo.rules),
        # Never the user's database: one that knew the samples would queue nothing for them.
        "RELAY_DATABASE": f"sqlite:///{scratch}/relay.db",
        "RELAY_HOOK_TOKENS": demo.token,
        "RELAY_SMTP_URL": f"smtp://127.0.0.1:{catchers.smtp_port}",
        "RELAY_MAIL_FROM": "Relay demo <relay@demo.example>",
        "RELAY_SLACK_TOKEN": "xoxb-demo",
        "RELAY_SLACK_API_URL": f"{catchers.http_url}/api/",
        "RELAY_ALLOW_PRIVATE_WEBHOOKS": "yes",
        "SLACK_SUPPORT_WEBHOOK": f"{catchers.http_url}/services/T0DEMO/B0DEMO/support",
        "TEAMS_MANAGERS_WEBHOOK": f"{catchers.http_url}/teams/managers/triggers/manual",
        "CRM_URL": f"{catchers.http_url}/webhook/crm",
        "CRM_SECRET": f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}",
    }


def _furnish(folder: Path) -> None:
    """Create rules, templates and samples in the folder; those that exist are the user's own and stay. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if copy_rules(rules := folder / "rules.yaml"):
        rules.write_text(with_mails(rules.read_text("utf-8")), "utf-8")
    copy_samples(folder / "samples")
    (folder / OWN_TEMPLATES).mkdir(exist_ok=True)


def with_mails(rules: str) -> str:
    """The example rules, which send most to Slack and Teams, with additional emails."""
    return rules.replace("\ndestinations:\n", _LEADS, 1).replace("\nrules:\n", _BY_MAIL, 1)


def _free_address(listen: str, echo: Echo) -> str:
    """The address to listen at: as requested, or with any free port if another program uses it."""
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or not _taken(host.strip("[]"), int(port)):
        return listen
    echo(f"{listen} is taken by another program; the relay takes a free port instead.")
    return f"{host}:0"


def _reachable(url: str) -> str:
    """The URL for a browser on this computer, where the relay listens on all addresses; the cookie works only with it."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:", 1).replace("//[::]:", "//[::1]:", 1)


def _taken(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError:
            return False  # not a port; the settings report it better
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _by_interest(path: Path) -> tuple[int, str]:
    """A sort key for samples: the most interesting last, as pages show the newest first."""
    names = ("offline.json", "low_rating_vip.json", "missed.json")
    return names.index(path.name) if path.name in names else -1, path.name


def _counted(received: Received) -> str:
    cards = sum(body.transport == "teams" for body in received.bodies)
    others = len(received.bodies) - cards
    counts = {
        "mail": len(received.mails),
        "Slack post": received.post_count,
        "Teams card": cards,
        **({"webhook": others} if others else {}),
    }
    return ", ".join(f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in counts.items())
