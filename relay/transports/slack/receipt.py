"""What a delivery has in Slack already: what it keeps of its posts, and what is found of them where that is not known.

What a delivery keeps of its posts in Slack, so that nothing is posted twice and a thread is found again.

What of a delivery is in Slack already, where nobody knows how an earlier attempt ended.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from msgspec import Struct
from msgspec.structs import replace

from relay.transports import Identity, beside_sending
from relay.transports.slack.api import SlackApi


class Receipt(Struct, frozen=True, kw_only=True):
    """Where the thread is, and how far a delivery has come."""

    channel: str
    ts: str
    """The time stamp of the message that begins the thread, which may be another delivery's."""
    hook: int
    """When the delivery was first queued, in seconds; all deliveries of one hook have the same."""
    told: int
    """How many messages of the transcript stand in the thread, or are this delivery's to bring there."""
    steps: int
    """How many of the delivery's steps are done."""
    tries: int = 0
    """How often the next step failed, where it is one that may be left out."""

    def written(self) -> str:
        """One line of text, for the outbox."""
        fields = {
            "channel": self.channel,
            "ts": self.ts,
            "hook": self.hook,
            "told": self.told,
            "steps": self.steps,
            "tries": self.tries,
        }
        return urlencode(fields)

    def after_step(self) -> "Receipt":
        return replace(self, steps=self.steps + 1, tries=0)

    def after_failure(self) -> "Receipt":
        return replace(self, tries=self.tries + 1)


def read_receipt(text: str) -> Receipt | None:
    """None for what is none: an empty one, or one of another version of the relay."""
    fields = dict(parse_qsl(text))
    try:
        numbers = {name: int(fields[name]) for name in ("hook", "told", "steps", "tries")}
        return Receipt(channel=fields["channel"], ts=fields["ts"], **numbers)
    except (KeyError, ValueError):
        return None


EVENT_TYPE = "smartsupp_chat"
"""The type of the metadata that each post carries."""
EARLIER = timedelta(minutes=10)
"""By so much our clock may be ahead of Slack's."""
MOST_PAGES = 5
"""How many pages of a hundred messages are read, the newest first: an earlier attempt was made just before."""


def metadata(identity: Identity, part: int) -> dict[str, Any]:
    """By which a post is found again. `part`: 1 is the message that says it all, others are replies below it."""
    about = {"chat": identity.chat, "delivery": identity.message_id, "part": part}
    return {"event_type": EVENT_TYPE, "event_payload": about}


async def posted_parts(
    api: SlackApi, channel: str, identity: Identity, *, thread: str = ""
) -> dict[int, str]:
    """The parts that are in a channel, or in the thread below a message, each with its `ts`. Raises NotDone."""
    fields = {
        "channel": channel,
        "oldest": f"{(identity.date - EARLIER).timestamp():.6f}",
        "include_all_metadata": "true",
        "limit": "100",
    }
    if thread:
        fields["ts"] = thread
    found: dict[int, str] = {}
    for _ in range(MOST_PAGES):
        with beside_sending():
            answer = await api.call_form(
                "conversations.replies" if thread else "conversations.history", fields
            )
        messages = answer.get("messages")
        for message in messages if isinstance(messages, list) else ():
            if isinstance(message, Mapping) and (part := _part(message, identity)):
                found.setdefault(part, str(message.get("ts")))
        more = answer.get("response_metadata")
        cursor = more.get("next_cursor") if isinstance(more, Mapping) else ""
        if not cursor or (1 in found and not thread):
            break
        fields["cursor"] = str(cursor)
    return found


def _part(message: Mapping[str, Any], identity: Identity) -> int:
    """0 for a message of something else."""
    about = message.get("metadata")
    told = about.get("event_payload") if isinstance(about, Mapping) else None
    if not isinstance(told, Mapping) or told.get("delivery") != identity.message_id:
        return 0
    part = told.get("part")
    return part if isinstance(part, int) else 0
