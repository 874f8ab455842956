"""What of a delivery is in Slack already, where nobody knows how an earlier attempt ended."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from relay.transports import Identity, beside_sending
from relay.transports.slack.api import SlackApi

EVENT_TYPE = "smartsupp_chat"
"""Of the metadata that each post carries."""
EARLIER = timedelta(minutes=10)
"""By so much our clock may be ahead of Slack's."""
MOST_PAGES = 5
"""Of a hundred messages each, the newest first: an earlier attempt was made just before."""


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
