"""A Slack channel with a bot's token: a message, what was said as replies below it, later news in its thread."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgspec.structs import replace

from relay.notification import Notification
from relay.transports import Identity
from relay.transports.outcome import Ending, Outcome, in_its_words
from relay.transports.slack.api import (
    NotDone,
    Receipt,
    SlackApi,
    metadata,
    posted_parts,
    read_receipt,
)
from relay.transports.slack.blocks import Json
from relay.transports.slack.pack import Thread, pack_thread

MOST_TRIES = 3
"""Most tries of a step that may be left out: a file, a change to an earlier message."""
NEEDED_SCOPES = {"chat:write", "files:write"}
NO_THREAD = {
    "cannot_reply_to_message",
    "message_not_found",
    "restricted_action_non_threadable_channel",
    "restricted_action_thread_locked",
    "thread_not_found",
}
"""Somebody deleted the message or locked its thread, or the channel has none."""
_ASK_AGAIN = {Ending.LATER, Ending.RATE_LIMITED}
"""What is there can't be looked at just now; with other answers, such as a scope that is missing, it never can."""


class SlackChannel:
    """Posts to a channel, one thread per chat. `objection` says why the API's address can't be used."""

    def __init__(
        self, api: SlackApi, *, channel: str, mention: str = "", objection: str = ""
    ) -> None:
        self._api = api
        self._channel = channel
        self._mention = mention
        self.objection = objection

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:  # noqa: ARG002
        """Make one attempt to send a notification, and say how it ended. What an earlier attempt posted is not posted again."""
        if self.objection:
            return Outcome(Ending.DESTINATION_BROKEN, self.objection)
        done, root = self._receipt(identity.receipt), self._receipt(identity.thread_receipt)
        if root and done and done.ts != root.ts:
            root = None  # this delivery began a thread of its own, and stays there
        posts = _Posts(self._api, self._channel, identity)
        if identity.unsure:
            try:
                done, root = await self._look(posts, notification, done, root)
            except NotDone as no:
                if (ending := no.harmless().outcome).ending in _ASK_AGAIN:
                    return ending
        try:
            if done is None:
                done, root = await self._begin(posts, notification, root)
        except NotDone as no:
            return no.outcome
        thread = self._thread(posts, notification, root)
        steps = _steps(posts, thread, done, root)
        if notification.brief:
            steps = []  # what is there is good enough
        return await _Rest(done).run(steps)

    async def connect(self) -> Outcome | str:
        """Go as far as can be gone without sending anything; returns what was found in words, or how a send would end.

        Whether the bot is in the channel can be seen only by a post.
        """
        if self.objection:
            return Outcome(Ending.DESTINATION_BROKEN, self.objection)
        try:
            found = await self._api.call("auth.test", {})
        except NotDone as no:
            return no.harmless().outcome
        if self._api.scopes and (missing := sorted(NEEDED_SCOPES - self._api.scopes)):
            return Outcome(Ending.DESTINATION_BROKEN, f"the bot lacks {' and '.join(missing)}")
        who = in_its_words(f"logged in to {found.get('team')} as {found.get('user')}")
        return f"{who}; whether it may post to {self._channel} can be seen only by a post"

    def _receipt(self, text: str) -> Receipt | None:
        found = read_receipt(text)
        # The rules file may name another room by now; threads don't move.
        return found if found and found.channel == self._channel else None

    def _thread(self, posts: "_Posts", notification: Notification, root: Receipt | None) -> Thread:
        mention = "" if posts.is_quiet else self._mention
        return pack_thread(notification, mention=mention, told=root.told if root else 0)

    async def _look(
        self,
        posts: "_Posts",
        notification: Notification,
        done: Receipt | None,
        root: Receipt | None,
    ) -> tuple[Receipt | None, Receipt | None]:
        """What is posted, and the thread it is in, where the end of an earlier attempt is not known. Raises NotDone."""
        if done is None and root:
            try:
                if 1 in await posts.there(root.ts):
                    told = max(len(notification.transcript), root.told)
                    done = posts.receipt(root.ts, told)
            except NotDone as no:
                if no.word not in NO_THREAD:
                    raise
                root = None
        if done is None and root is None and (ts := (await posts.there()).get(1)):
            done = posts.receipt(ts, len(notification.transcript))
        if done and not notification.brief:
            parts = await posts.there(done.ts)
            while done.steps + 1 in parts:
                done = done.after_step()
        return done, root

    async def _begin(
        self, posts: "_Posts", notification: Notification, root: Receipt | None
    ) -> tuple[Receipt, Receipt | None]:
        """Post the message that says it all, in the thread that there is or as the start of one.

        Raises NotDone.
        """
        lead = self._thread(posts, notification, root).lead
        told = max(len(notification.transcript), root.told if root else 0)
        if root:
            try:
                await posts.post(lead, 1, thread_ts=root.ts, reply_broadcast=True)
            except NotDone as no:
                if no.word not in NO_THREAD:
                    raise
            else:
                return posts.receipt(root.ts, told), root
        # Where the thread is gone, what it held has to be told again.
        ts = await posts.post(lead, 1)
        return posts.receipt(ts, len(notification.transcript)), None


# -- what is posted ----------------------------------------------------------------------------------------


class _Posts:
    """The calls that a delivery needs. All raise NotDone."""

    def __init__(self, api: SlackApi, channel: str, identity: Identity) -> None:
        self._api = api
        self._channel = channel
        self._identity = identity
        self.hook = int(identity.date.timestamp())
        self.is_quiet = identity.quiet

    def receipt(self, ts: str, told: int) -> Receipt:
        """Once the first message is posted."""
        return Receipt(channel=self._channel, ts=ts, hook=self.hook, told=told, steps=1)

    async def post(self, message: Json, part: int, **place: str | bool) -> str:
        """Returns the message's `ts`."""
        about = metadata(self._identity, part)
        post = {"channel": self._channel, **place, **message, "metadata": about}
        ts = (await self._api.call("chat.postMessage", post)).get("ts")
        if not isinstance(ts, str) or not ts:
            raise self._api.odd()
        return ts

    async def there(self, thread: str = "") -> dict[int, str]:
        """The parts of this notification that are in the channel, or in a thread, each with its `ts`. Raises NotDone."""
        return await posted_parts(self._api, self._channel, self._identity, thread=thread)

    async def renew(self, lead: Json, ts: str) -> None:
        try:
            await self._api.call("chat.update", {"channel": self._channel, "ts": ts, **lead})
        except NotDone as no:
            raise no.harmless() from no

    async def upload(self, file: str, title: str, ts: str) -> None:
        """Slack's three calls. Nothing shows before the last one."""
        content = file.encode()
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"chat-{self._identity.chat}")[:100].strip("-")
        fields = {"filename": f"{name}.txt", "length": str(len(content))}
        try:
            place = await self._api.call_form("files.getUploadURLExternal", fields)
            await self._api.upload(str(place.get("upload_url")), content)
        except NotDone as no:
            raise no.harmless() from no
        where = {"channel_id": self._channel, "thread_ts": ts}
        files = [{"id": str(place.get("file_id")), "title": title}]
        await self._api.call("files.completeUploadExternal", {"files": files, **where})


@dataclass(frozen=True, slots=True)
class _Step:
    take: Callable[[], Awaitable[object]]
    name: str = ""
    """What the detail calls a step that may be left out."""


def _steps(posts: _Posts, thread: Thread, done: Receipt, root: Receipt | None) -> list[_Step]:
    """What follows the first message: the same on each attempt."""

    def reply(message: Json, part: int) -> _Step:
        return _Step(lambda: posts.post(message, part, thread_ts=done.ts))

    steps = [reply(message, part) for part, message in enumerate(thread.replies, 2)]
    if root and root.hook < posts.hook:
        # A later hook knows all that the first one did: the message that everybody sees tells the latest.
        steps.append(_Step(lambda: posts.renew(thread.lead, done.ts), "the newer first message"))
    if thread.file:
        steps.append(_Step(lambda: posts.upload(thread.file, thread.title, done.ts), "the file"))
    return steps


class _Rest:
    """Takes the steps that are not done, and keeps count."""

    def __init__(self, done: Receipt) -> None:
        self._done = done
        self._missing: list[str] = []
        """What was left out, and why."""

    async def run(self, steps: list[_Step]) -> Outcome:
        for step in steps[self._done.steps - 1 :]:
            try:
                await step.take()
            except NotDone as no:
                if self._stops(step, no):
                    return self._outcome(no.outcome, no.outcome.detail)
                self._missing.append(f"{step.name or 'a reply'} is missing: {no.outcome.detail}")
            self._done = self._done.after_step()
        return self._outcome(Outcome(Ending.DELIVERED, ""))

    def _stops(self, step: _Step, no: NotDone) -> bool:
        """Whether the attempt ends with this failure; else it goes on without the step."""
        if not step.name:
            return no.word not in NO_THREAD
        passes = no.outcome.ending in {Ending.LATER, Ending.RATE_LIMITED}
        self._done = self._done.after_failure()
        return passes and self._done.tries < MOST_TRIES

    def _outcome(self, outcome: Outcome, *last: str) -> Outcome:
        """As the last step ended, after what was done."""
        posted = f"posted as {self._done.ts} in {self._done.channel}"
        detail = in_its_words("; ".join([posted, *self._missing, *last]))
        return replace(outcome, detail=detail, receipt=self._done.written())
