"""Builds the JSON of a webhook from a notification, and the JSON Schema that describes it.

    {"type": "chat", "timestamp": "2026-11-22T12:00:00Z", "schema_version": 1,
     "data": {"rule": "Missed chats", "subject": ..., "summary": ..., "facts": [...], "links": [...],
              "chat": {"account": ..., "id": ..., "missed": true, "visitor": {...}, "messages": [...]},
              "left_out": {"messages": 0, "pages": 0, "variables": 0}}}

A chat's names are those of `relay.chat`, so a change there changes what is published: it needs a new `schema_version`.
"""

import json
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from relay.chat import Chat
from relay.notification import (
    DigestContents,
    Fact,
    Json,
    Link,
    Misfit,
    Mixed,
    Notification,
    Value,
    mapped,
)
from relay.text import tidy

MAX_BYTES, MAX_BRIEF = 1_000_000, 20_000
"""The most bytes of a body, and of a short one: nginx accepts 1 MiB by default.

The Standard Webhooks specification recommends less than 20 kB.
"""
OPENING = 2
"""How many messages are kept from the start of a chat, because they show its subject."""


class LeftOut(msgspec.Struct, kw_only=True):
    """The numbers of messages, pages and variables that were left out of a body that was too large."""

    messages: int = 0
    pages: int = 0
    variables: int = 0


class DigestChat(msgspec.Struct, kw_only=True):
    """A chat of a digest. Visitors' texts are as typed: escape them before showing them."""

    account: str
    id: str
    rules: tuple[str, ...]
    why: str
    """Why the chat waited: `hours`, `send`, `limit`, `once per visitor`, or `muted:` and the mute's number."""
    arrived: datetime
    who: str
    what: str
    words: str
    answer: str
    """A `mailto:` link to the visitor; empty if there is no address."""


class Digest(msgspec.Struct, kw_only=True):
    """Several chats, in the order in which they should be read."""

    count: int
    """The number of chats, including those not listed."""
    erased: int
    """The number of chats erased before the digest was sent."""
    chats: tuple[DigestChat, ...]


class MutedUntil(msgspec.Struct, kw_only=True):
    """A mute that delayed a single chat or an alert and has ended."""

    by: str
    because: str
    until: datetime


class Data(msgspec.Struct, kw_only=True):
    """A chat and its notification by the rule's template. Visitors' texts are as typed: escape them."""

    rule: str
    """The name of the rule; empty for an alert and for a digest."""
    subject: str
    summary: str
    facts: tuple[Fact, ...]
    links: tuple[Link, ...]
    chat: Chat | None
    digest: Digest | None = None
    muted: MutedUntil | None = None
    left_out: LeftOut


class Body(msgspec.Struct, kw_only=True):
    """The body of a webhook. Within a version, members may be added; none is renamed, removed or changes its type."""

    type: Literal["chat", "alert", "digest"]
    timestamp: datetime
    schema_version: Literal[1] = 1
    data: Data


def pack(notification: Notification, timestamp: datetime) -> bytes:
    """Return the body of a POST as UTF-8 JSON, of at most MAX_BYTES unless a single text is longer.

    `timestamp` is aware and in UTC.
    """
    if notification.override is not None:
        return _encoded(notification.override)
    kind: Literal["chat", "alert", "digest"] = "chat" if notification.chat else "alert"
    kind = "digest" if notification.digest else kind
    whole = Body(type=kind, timestamp=timestamp, data=_data(notification))
    body = msgspec.to_builtins(whole, builtin_types=(timedelta,), enc_hook=dict)
    if chat := body["data"]["chat"]:
        _publish(chat)
        _shorten(body, chat, MAX_BRIEF if notification.brief else MAX_BYTES)
    return _encoded(body)


def _data(notification: Notification) -> Data:
    return Data(
        rule=notification.rule,
        subject=notification.subject,
        summary=notification.summary,
        facts=notification.facts,
        links=notification.links,
        chat=notification.chat,
        digest=_digest(notification.digest) if notification.digest else None,
        muted=_muted(notification),
        left_out=LeftOut(),
    )


def _muted(notification: Notification) -> MutedUntil | None:
    if (muted := notification.muted) is None:
        return None
    return MutedUntil(by=muted.by, because=muted.because, until=muted.until)


def _digest(contents: DigestContents) -> Digest:
    chats = tuple(
        DigestChat(
            account=line.account,
            id=line.id,
            rules=line.rules,
            why=line.why,
            arrived=line.arrived,
            who=line.who,
            what=line.summary,
            words=line.words,
            answer=line.answer.url if line.answer else "",
        )
        for line in contents.lines
    )
    return Digest(count=contents.count, erased=contents.erased, chats=chats)


def _encoded(value: Any) -> bytes:  # noqa: ANN401 - JSON
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # an unpaired surrogate, which parsers may refuse
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _publish(chat: Json) -> None:
    """Convert durations to seconds, and remove fields that only the relay's log needs."""
    del chat["oddities"]
    for name, value in chat.items():
        if isinstance(value, timedelta):
            chat[name] = value.total_seconds()


def _shorten(body: Json, chat: Json, most: int) -> None:
    """Remove all pages and variables and the middle of the messages, as far as needed for the body to fit."""
    messages, left_out = chat["messages"], body["data"]["left_out"]
    sizes = [len(_encoded(each)) + 1 for each in messages]
    room = most - len(_encoded(body)) + sum(sizes)
    if sum(sizes) <= room:
        return
    for name, owner in (("pages", chat), ("variables", chat["visitor"])):
        if room < 0:
            empty: list[Json] | Json = [] if name == "pages" else {}
            room += len(_encoded(owner[name]))
            left_out[name], owner[name] = len(owner[name]), empty
    kept: list[int] = []
    # The last messages come next after the first two, because they show how the chat ended.
    for number in (*range(len(sizes))[:OPENING], *reversed(range(len(sizes))[OPENING:])):
        if (room := room - sizes[number]) < 0:
            break
        kept.append(number)
    chat["messages"] = [messages[number] for number in sorted(kept)]
    left_out["messages"] = len(messages) - len(kept)


def finish(tree: Any, notification: Notification) -> Json:  # noqa: ANN401, ARG001 - see Finish
    """Return a destination's own JSON, with each value as its text. Raises Misfit."""
    body: Json = mapped(tree, _plain_text)
    if (size := len(json.dumps(body))) > MAX_BYTES:
        raise Misfit(f"has {size:,} bytes; a webhook carries {MAX_BYTES:,}")
    return body


def _plain_text(text: str | Mixed, _at: str) -> str:
    parts = text if isinstance(text, Mixed) else (text,)
    return "".join(tidy(each) if isinstance(each, Value) else each for each in parts)


def json_schema() -> Json:
    """Return the JSON Schema (2020-12) of every body that `pack` makes."""
    schema = msgspec.json.schema(Body)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A webhook of the Smartsupp relay, version 1",
        **_published(schema),
    }


def _published(node: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a schema with all members required, and durations as numbers of seconds."""
    if isinstance(node, list):
        return [_published(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("format") == "duration":
        return {"type": "number", "description": "Seconds."}
    schema = {name: _published(each) for name, each in node.items() if name != "default"}
    if "properties" in node:
        schema["properties"].pop("oddities", None)
        schema["required"] = list(schema["properties"])
    return schema
