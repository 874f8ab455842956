"""Previews of messages with edited templates, as each transport sends them, for a sample chat or a real one."""

import shutil
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files as package_files
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from relay.chat import Chat
from relay.delivery.renderer import Renderer
from relay.destination import Destination
from relay.languages.catalogue import PLACE
from relay.notification import Notification
from relay.outbox import Delivery
from relay.outbox.database_session import Sessions
from relay.outbox.delivery_types import DIGEST as DIGEST_CHAT
from relay.outbox.delivery_types import ITSELF
from relay.rendering.isolation.worker_pool import RenderPool
from relay.rendering.template_folders import DEFAULT, DIGEST
from relay.rules import Match
from relay.runtime.startup import template_folders
from relay.services import in_thread
from relay.services.draft_trial import find_hook
from relay.services.trial_send import as_queued
from relay.settings.table import Settings
from relay.smartsupp import read_chat
from relay.smartsupp.hook_json import as_of_now
from relay.timing.digest_contents import Digest, Member, arranged
from relay.transports.registry import TRANSPORTS

SHOWN = tuple(name for name, each in TRANSPORTS.items() if not each.whole_chat)
"""The transports whose messages people read: the others post the chat itself, to programs."""
BETWEEN = timedelta(minutes=7)
"""The time between two chats in the preview of a digest."""
LOW = 2
"""The rating up to which a chat is shown with the template `low_rating`."""


RULE_OF = {
    "missed": "Missed chats",
    "low_rating": "Bad ratings",
    "offline": "Offline messages",
    DEFAULT: "All chats",
}
"""The name of the rule in the preview of a digest, by the template of its chats."""


class MediumPreview(Struct, frozen=True):
    """A notification as one transport would send it."""

    transport: str
    notification: Notification
    trouble: str
    """The error in the template, as `file:line: what`; empty without one."""
    made_at: datetime


class Preview(Struct, frozen=True):
    """The notifications that would be sent for one chat."""

    chosen: int
    """The index of the chat among those given."""
    has_words: bool
    """Whether the notification contains the wanted words."""
    media: tuple[MediumPreview, ...]


@dataclass(frozen=True)
class _Front:
    workers: RenderPool
    folder: Path

    def shown(self, problem: str) -> str:
        """A problem with a draft's path replaced by its place among the templates."""
        return problem.replace(f"{self.folder}/", "")


class WordingPreviews:
    """Previews for one relay's console, in workers of their own, so that a text that hangs holds up no delivery."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root: tempfile.TemporaryDirectory[str] | None = None
        self._workers: RenderPool | None = None

    async def close(self) -> None:
        """End the workers, and remove the files of drafts."""
        if self._workers:
            await self._workers.close()
        if root := self._root:
            await in_thread(lambda _: root.cleanup())

    @asynccontextmanager
    async def _with(self, drafts: Mapping[str, str]) -> AsyncIterator["_Front"]:
        """Put these files, with names such as `missed/subject.txt`, before the templates in use."""
        if self._root is None or self._workers is None:
            self._root = tempfile.TemporaryDirectory(prefix="relay-drafts-")
            folders = (Path(self._root.name), *template_folders(self._settings))
            self._workers = RenderPool(folders)
        folder = Path(tempfile.mkdtemp(dir=self._root.name))

        def write(_: object) -> None:
            for name, text in drafts.items():
                path = folder / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, "utf-8", "replace", newline="")

        try:
            await in_thread(write)
            yield _Front(self._workers, folder)
        finally:
            await in_thread(lambda _: shutil.rmtree(folder, ignore_errors=True))

    async def problems(self, drafts: Mapping[str, str], templates: Iterable[str]) -> list[str]:
        """The problems of templates that use these files, tried with made-up chats; each as `file:line: what`."""
        async with self._with(drafts) as front:
            problems = [
                problem
                for name in templates
                for problem in await front.workers.check(name, front=front.folder.name)
            ]
            return list(dict.fromkeys(map(front.shown, problems)))

    async def show(
        self,
        drafts: Mapping[str, str],
        bodies: Sequence[bytes],
        now: datetime,
        *,
        template: str,
        language: str,
        zone: ZoneInfo,
        words: str = "",
    ) -> Preview:
        """Return a preview of the first hook in `bodies` whose notification contains `words`, else of the first hook.

        If none of several contains `words`, a digest is shown that does. Nothing is sent. `template`: empty for the
        usual one for such chats; that of digests shows one digest of these chats and the sample chats. `now`: aware.
        Raises UnreadableHook.
        """
        async with self._with(drafts) as front:

            async def digest(_: Delivery) -> Digest:
                return await in_thread(lambda _: _digest(bodies, now))

            renderer = Renderer(
                front.workers, self._settings.public_url, digest, front=front.folder.name
            )

            async def look(body: bytes, transport: str, name: str = template) -> MediumPreview:
                delivery = await in_thread(lambda _: _delivery(body, now, name, transport))
                place = Destination(
                    name=transport,
                    transport=transport,
                    options={},
                    language=language,
                    timezone=zone,
                )
                notification, trouble = await renderer.try_out(delivery, place, bodies=True)
                return MediumPreview(transport, notification, front.shown(trouble), now)

            chosen, has_words = 0, not words
            for number, body in enumerate(bodies if words else ()):
                if has_words := _contains((await look(body, SHOWN[0])).notification, words):
                    chosen = number
                    break
            name = template
            if not has_words and len(bodies) > 1:
                shown = await look(bodies[0], SHOWN[0], DIGEST)
                if has_words := _contains(shown.notification, words):
                    name = DIGEST
            media = [await look(bodies[chosen], transport, name) for transport in SHOWN]
            return Preview(chosen, has_words, tuple(media))


def _delivery(body: bytes, now: datetime, template: str, transport: str) -> Delivery:
    chat = read_chat(body, now)
    name = template or usual_template(chat)
    match = Match(rule="Preview", template=name, destination=transport, recipients=(transport,))
    delivery = as_queued(chat, body, [match], "localhost", now)[0]
    return replace(delivery, account=ITSELF, chat=DIGEST_CHAT) if name == DIGEST else delivery


def _digest(bodies: Sequence[bytes], now: datetime) -> Digest:
    """Return a digest of the chats in `bodies` and the sample chats, which came in one after the other until `now`."""
    samples = [as_of_now(each, now) for each in sample_chats().values()]
    members = [
        _member(body, now, now - BETWEEN * number)
        for number, body in enumerate((*samples, *bodies))
    ]
    each_once = {(each.account, each.chat): each for each in members}.values()
    return arranged(each_once, order=[*RULE_OF.values()], destination="preview", closed_at=now)


def _member(body: bytes, now: datetime, arrived: datetime) -> Member:
    chat = read_chat(body, now)
    return Member(
        account=chat.account,
        chat=chat.id,
        rules=(RULE_OF[usual_template(chat)],),
        why="send",
        arrived=arrived,
        updated=now,
        missed=bool(chat.missed),
        offline=bool(chat.offline),
        body=zlib.compress(body),
    )


def _contains(notification: Notification, words: str) -> bool:
    """Whether a notification contains a sentence, with any text at the sentence's placeholders."""
    facts = " ".join(f"{fact.label} {fact.value}" for fact in notification.facts)
    parts = (notification.subject, notification.summary, notification.text, facts)
    text = " ".join(" ".join(parts).split())
    return all(" ".join(part.split()) in text for part in PLACE.split(words)[::2])


def usual_template(chat: Chat) -> str:
    """The shipped template for chats of this kind."""
    if chat.offline:
        return "offline"
    if chat.missed:
        return "missed"
    return "low_rating" if chat.rating is not None and chat.rating <= LOW else DEFAULT


def template_for(file: str) -> str:
    """The template with which a file such as `missed/subject.txt` is shown; empty for shared parts."""
    folder = file.partition("/")[0]
    return "" if folder.startswith("_") else folder


SAMPLES = ("missed.json", "low_rating_vip.json", "offline.json", "documented.json")


def sample_chats() -> dict[str, bytes]:
    """Hooks of sample chats that come with the relay, by the names of their files."""
    folder = package_files("relay.demo") / "samples"
    return {name: (folder / name).read_bytes() for name in SAMPLES}


async def chosen_chats(
    sessions: Sessions, chat: str, sample: str, now: datetime
) -> tuple[int, list[bytes], datetime]:
    """The number, bodies and time of a chosen chat's hook, or of one sample chat or all of them.

    A chat is chosen by its number or `<account>/<id>`. Samples have the number 0 and come now. Raises NoSuchChat.
    """
    if chat.strip():
        hook = await find_hook(sessions, chat)
        return hook.id, [hook.body], hook.received_at
    names = [sample] if sample in SAMPLES else SAMPLES
    return 0, [as_of_now(sample_chats()[name], now) for name in names], now
