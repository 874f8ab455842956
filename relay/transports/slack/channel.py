"""Posts to a Slack channel with a bot token: a message, the transcript as replies, and later hooks in its thread."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgspec.structs import replace

from relay.notification import Json, Notification
from relay.transports import Ending, Identity, Outcome, clean_answer
from relay.transports.slack.api import (
    CallError,
    Receipt,
    SlackApi,
    metadata,
    posted_parts,
    read_receipt,
)
from relay.transports.slack.pack import Thread, pack_thread

MOST_TRIES = 3
"""The most tries of an optional step: a file, or an update of an earlier message."""
NEEDED_SCOPES = {"chat:write", "files:write"}
NO_THREAD = {
    "cannot_reply_to_message",
    "message_not_found",
    "restricted_action_non_threadable_channel",
    "restricted_action_thread_locked",
    "thread_not_found",
}
"""Slack's errors for a deleted message or a locked thread, and for a channel without threads."""
_ASK_AGAIN = {Ending.LATER, Ending.RATE_LIMITED}
"""Slack's temporary errors when reading a channel; others, such as a missing scope, are permanent."""
Receipts = tuple[Receipt | None, Receipt | None]
"""The receipt of a delivery, and that of the thread to which it belongs."""


class SlackChannel:
    """Posts to a channel, with one thread per chat. `objection` says why the API's URL can't be used."""

    def __init__(
        self, api: SlackApi, *, channel: str, mention: str = "", objection: str = ""
    ) -> None:
        self._api = api
        self._channel = channel
        self._mention = mention
        self.objection = objection

    async def send(self, notification: Notification, recipient: str, identity: Identity) -> Outcome:  # noqa: ARG002
        """Make one attempt to send a notification, without the parts that an earlier attempt has posted; return its outcome."""
        if self.objection:
            return Outcome(Ending.DESTINATION_BROKEN, self.objection)
        done, root = self._receipts(identity)
        posts = _Posts(self._api, self._channel, identity)
        if identity.unsure:
            try:
                done, root = await self._look(posts, notification, (done, root))
            except CallError as error:
                if (ending := error.repeatable().outcome).ending in _ASK_AGAIN:
                    return ending
        try:
            if done is None:
                done, root = await self._begin(posts, notification, root)
        except CallError as error:
            return error.outcome
        if notification.brief:
            return await _Rest(done).run([])  # the existing message is good enough
        thread = self._thread(posts, notification, root)
        return await _Rest(done).run(_steps(posts, thread, done, root))

    async def connect(self) -> Outcome | str:
        """Check the token without sending anything; return a description, or the outcome that a post would have.

        Whether the bot is in the channel shows only in a post.
        """
        if self.objection:
            return Outcome(Ending.DESTINATION_BROKEN, self.objection)
        try:
            account = await self._api.call("auth.test", {})
        except CallError as error:
            return error.repeatable().outcome
        if self._api.scopes and (missing := sorted(NEEDED_SCOPES - self._api.scopes)):
            return Outcome(Ending.DESTINATION_BROKEN, f"the bot lacks {' and '.join(missing)}")
        who = clean_answer(f"logged in to {account.get('team')} as {account.get('user')}")
        return f"{who}; whether it may post to {self._channel} can be seen only by a post"

    def _receipts(self, identity: Identity) -> Receipts:
        done, root = self._receipt(identity.receipt), self._receipt(identity.thread_receipt)
        if root and done and done.ts != root.ts:
            root = None  # this delivery began a thread of its own and stays there
        return done, root

    def _receipt(self, text: str) -> Receipt | None:
        receipt = read_receipt(text)
        # The rules file may name another channel by now, but threads don't move.
        return receipt if receipt and receipt.channel == self._channel else None

    def _thread(self, posts: "_Posts", notification: Notification, root: Receipt | None) -> Thread:
        mention = "" if posts.is_quiet else self._mention
        return pack_thread(notification, mention=mention, posted=root.posted if root else 0)

    async def _look(self, posts: "_Posts", notification: Notification, known: Receipts) -> Receipts:
        """Return the receipt of what an earlier attempt has posted, and that of its thread, by reading the channel.

        Used if the outcome of that attempt is unknown. Raises CallError.
        """
        done, root = known
        if done is None and root:
            try:
                if 1 in await posts.find_parts(root.ts):
                    done = posts.receipt(root.ts, max(len(notification.transcript), root.posted))
            except CallError as error:
                if error.word not in NO_THREAD:
                    raise
                root = None
        if done is None and root is None and (ts := (await posts.find_parts()).get(1)):
            done = posts.receipt(ts, len(notification.transcript))
        if done and not notification.brief:
            parts = await posts.find_parts(done.ts)
            while done.steps + 1 in parts:
                done = done.after_step()
        return done, root

    async def _begin(
        self, posts: "_Posts", notification: Notification, root: Receipt | None
    ) -> tuple[Receipt, Receipt | None]:
        """Post the main message, in the existing thread or as the start of a new one.

        Returns the receipts of the message and of its thread. Raises CallError.
        """
        lead = self._thread(posts, notification, root).lead
        posted = max(len(notification.transcript), root.posted if root else 0)
        if root:
            try:
                await posts.post(lead, 1, thread_ts=root.ts, reply_broadcast=True)
            except CallError as error:
                if error.word not in NO_THREAD:
                    raise
            else:
                return posts.receipt(root.ts, posted), root
        # The thread is gone, so its content has to be posted again.
        ts = await posts.post(lead, 1)
        return posts.receipt(ts, len(notification.transcript)), None


# -- calls and steps -------------------------------------------------------------------------------------------


class _Posts:
    """Slack's API calls for one delivery. All raise CallError."""

    def __init__(self, api: SlackApi, channel: str, identity: Identity) -> None:
        self._api = api
        self._channel = channel
        self._identity = identity
        self.hook = int(identity.date.timestamp())
        self.is_quiet = identity.quiet

    def receipt(self, ts: str, posted: int) -> Receipt:
        """Return the receipt after the main message was posted."""
        return Receipt(channel=self._channel, ts=ts, hook=self.hook, posted=posted, steps=1)

    async def post(self, message: Json, part: int, **place: str | bool) -> str:
        """Post a message and return its `ts`."""
        about = metadata(self._identity, part)
        post = {"channel": self._channel, **place, **message, "metadata": about}
        ts = (await self._api.call("chat.postMessage", post)).get("ts")
        if not isinstance(ts, str) or not ts:
            raise self._api.odd_answer()
        return ts

    async def find_parts(self, thread: str = "") -> dict[int, str]:
        """Return the parts of the delivery that are in the channel or a thread, each with its `ts`. Raises CallError."""
        return await posted_parts(self._api, self._channel, self._identity, thread=thread)

    async def renew(self, lead: Json, ts: str) -> None:
        try:
            await self._api.call("chat.update", {"channel": self._channel, "ts": ts, **lead})
        except CallError as error:
            raise error.repeatable() from error

    async def upload(self, file: str, title: str, ts: str) -> None:
        """Upload a file with Slack's three calls. Nothing is visible before the last one."""
        content = file.encode()
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"chat-{self._identity.chat}")[:100].strip("-")
        fields = {"filename": f"{name}.txt", "length": str(len(content))}
        try:
            place = await self._api.call_form("files.getUploadURLExternal", fields)
            await self._api.upload(str(place.get("upload_url")), content)
        except CallError as error:
            raise error.repeatable() from error
        where = {"channel_id": self._channel, "thread_ts": ts}
        files = [{"id": str(place.get("file_id")), "title": title}]
        await self._api.call("files.completeUploadExternal", {"files": files, **where})


@dataclass(frozen=True, slots=True)
class _Step:
    take: Callable[[], Awaitable[object]]
    name: str = ""
    """The name of an optional step in the outcome's detail; empty for a required step."""


def _steps(posts: _Posts, thread: Thread, done: Receipt, root: Receipt | None) -> list[_Step]:
    """Return the steps that follow the main message; they are the same in each attempt."""

    def reply(message: Json, part: int) -> _Step:
        return _Step(lambda: posts.post(message, part, thread_ts=done.ts))

    steps = [reply(message, part) for part, message in enumerate(thread.replies, 2)]
    if root and root.hook < posts.hook:
        # A later hook includes all of the first one: the visible message shows the latest state.
        steps.append(_Step(lambda: posts.renew(thread.lead, done.ts), "the newer first message"))
    if thread.file:
        steps.append(_Step(lambda: posts.upload(thread.file, thread.title, done.ts), "the file"))
    return steps


class _Rest:
    """Runs the remaining steps of a delivery and counts them."""

    def __init__(self, done: Receipt) -> None:
        self._done = done
        self._missing: list[str] = []
        """The optional steps that were left out, each with the reason."""

    async def run(self, steps: list[_Step]) -> Outcome:
        for step in steps[self._done.steps - 1 :]:
            try:
                await step.take()
            except CallError as error:
                if self._stops(step, error):
                    return self._outcome(error.outcome, error.outcome.detail)
                self._missing.append(f"{step.name or 'a reply'} is missing: {error.outcome.detail}")
            self._done = self._done.after_step()
        return self._outcome(Outcome(Ending.DELIVERED, ""))

    def _stops(self, step: _Step, error: CallError) -> bool:
        """Whether the attempt ends with this failure; if not, the step is left out."""
        if not step.name:
            return error.word not in NO_THREAD
        passes = error.outcome.ending in {Ending.LATER, Ending.RATE_LIMITED}
        self._done = self._done.after_failure()
        return passes and self._done.tries < MOST_TRIES

    def _outcome(self, outcome: Outcome, *last: str) -> Outcome:
        """Return the outcome of the last step, with a detail that lists what was posted and what is missing."""
        posted = f"posted as {self._done.ts} in {self._done.channel}"
        detail = clean_answer("; ".join([posted, *self._missing, *last]))
        return replace(outcome, detail=detail, receipt=self._done.written())
