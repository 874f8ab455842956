"""Values for tests: each builder makes something plain, and takes what the test cares about."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from relay.chat import Chat
from relay.outbox import Delivery
from relay.smartsupp import read_chat

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def a_wire_chat(chat: int | str = 1, **changes: Any) -> dict[str, Any]:
    """A hook of the documented shape as Python objects; `missed=True` and the like change its channel."""
    channel = {
        "id": chat,
        "isChat": True,
        "isMissed": False,
        "isTriggered": False,
        "isOffline": False,
        "isCompleted": True,
        "isDropped": False,
        "duration": 36,
        "avgResponse": 14,
        "firstResponse": 14,
        "messagesCount": 2,
        "wordsCount": 7,
        "rating": changes.pop("rating", None),
        "ratingDesc": changes.pop("rating_comment", None),
    }
    for word in ("missed", "offline", "dropped", "completed", "triggered"):
        if word in changes:
            channel[f"is{word.capitalize()}"] = changes.pop(word)
    visitor = {
        "id": 27671,
        "name": "Marta Nowak",
        "email": "marta@example.com",
        "note": "",
        "group": None,
        "ipAddress": "192.0.2.17",
        "city": "Brno",
        "countryCode": "CZ",
        "country": "Czech Republic",
        "userAgent": "Mozilla/5.0",
        "platform": "MacIntel",
        "referer": "",
        "variables": {"plan": {"label": "Plan", "value": "pro"}},
        **changes.pop("visitor", {}),
    }
    began = 1763800000000
    return {
        "accountId": 208,
        "beginAt": began,
        "endAt": began + 36000,
        "channel": channel,
        "visitor": visitor,
        "paths": [{"url": "https://shop.example.com/", "title": "Home"}],
        "messages": [
            _said("visitor", "Hello, is anybody there?", began),
            _said("agent", "Yes, how can I help?", began + 14000),
        ],
        **changes,
    }


def _said(kind: str, content: str, at: int) -> dict[str, Any]:
    return {
        "type": kind,
        "name": "Jana" if kind == "agent" else "",
        "from": "agent:3" if kind == "agent" else "visitor:x1",
        "content": content,
        "sentAt": at,
        "triggeredBy": None,
    }


def a_hook(chat: int | str = 1, **changes: Any) -> bytes:
    """The same as the bytes that Smartsupp would post."""
    return json.dumps(a_wire_chat(chat, **changes)).encode()


def a_chat(chat: int | str = 1, **changes: Any) -> Chat:
    """The same, read."""
    return read_chat(a_hook(chat, **changes))


def a_delivery(**changes: Any) -> Delivery:
    """A claimed delivery at its first attempt, queued since noon."""
    plain: dict[str, Any] = {
        "id": 1,
        "account": "208",
        "chat": "1",
        "hook_id": 1,
        "rule": "Missed chats",
        "template": "missed",
        "destination": "desk",
        "recipient": "desk@example.com",
        "message_id": "0123456789abcdef01234567@example.org",
        "created_at": NOON,
        "attempt": 1,
        "failures": 0,
        "unsure": 0,
        "short": False,
        "suspect": False,
        "receipt": "",
        "thread_receipt": "",
        "body": a_hook(),
    }
    return Delivery(**{**plain, **changes})


def later(**duration: float) -> datetime:
    """Noon and so much more."""
    return NOON + timedelta(**duration)
