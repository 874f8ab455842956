"""Hook bytes -> Chat: the only place that knows the wire (docs/glossary.md has both names).

Lenient by design: JSON that is an object is always a chat, however its shape has changed. What did not fit
is left out and named in `Chat.oddities`; the raw bytes are kept elsewhere.
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from relay.chat import Author, Chat, Message, Page, Variable, Visitor
from relay.smartsupp import hook_json as wire
from relay.smartsupp.hook_json import UnreadableHook, check_depth, decode_object
from relay.smartsupp.lenient import LenientReader
from relay.text import clean, clean_line, is_blank

__all__ = ["UnreadableHook", "read_chat", "read_leniently"]

MAX_TEXT = 100_000
"""Characters of one message that are kept in the chat (the raw bytes keep all)."""
MAX_NAME = 100
"""Characters of an id, which is a key in the database."""
MAX_ADDRESS = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HASH = re.compile(r"sha256-[0-9a-f]{16}\Z")
_AUTHORS = {"visitor": Author.VISITOR, "agent": Author.AGENT, "system": Author.SYSTEM}


def read_chat(body: bytes, arrived: datetime | None = None) -> Chat:
    """A chat whose hook holds no time that can be used was when it `arrived`. Raises UnreadableHook, and nothing else."""
    check_depth(body)
    hook = wire.decoded(body)
    chat = read_leniently(body) if hook is None else _chat(hook, body)
    if chat.began or arrived is None or chat.ended or any(each.sent_at for each in chat.messages):
        return chat
    return replace(chat, began=arrived, ended=arrived)


def read_leniently(body: bytes) -> Chat:
    """The chat of a hook of any shape; `read_chat` gives an equal one, faster where the shape is the documented one."""
    check_depth(body)
    reader = LenientReader()
    hook = reader.hook(decode_object(body))
    return _chat(hook, body, reader.oddities)


def _chat(hook: wire.Hook, body: bytes, oddities: tuple[str, ...] = ()) -> Chat:
    channel = hook.channel
    return Chat(
        account=_name(hook.accountId) or "unknown",
        # Without an id the bytes themselves are the identity: the same hook twice is still one chat.
        id=_name(channel.id) or _hash(body),
        began=_time(hook.beginAt),
        ended=_time(hook.endAt),
        missed=channel.isMissed,
        offline=channel.isOffline,
        dropped=channel.isDropped,
        completed=channel.isCompleted,
        triggered=channel.isTriggered,
        answered_chat=channel.isChat,
        duration=_duration(channel.duration),
        first_response=_duration(channel.firstResponse),
        average_response=_duration(channel.avgResponse),
        message_count=channel.messagesCount,
        word_count=channel.wordsCount,
        rating=channel.rating,
        rating_comment=_text(channel.ratingDesc),
        visitor=_visitor(hook.visitor),
        pages=tuple([_page(page) for page in hook.paths]),
        messages=tuple([_message(message) for message in _in_order(hook.messages)]),
        oddities=oddities,
    )


def _visitor(visitor: wire.Visitor) -> Visitor:
    return Visitor(
        id=_name(visitor.id),
        name=_line(visitor.name),
        email=_line(visitor.email),
        note=_text(visitor.note),
        group=_line(visitor.group) or _line(visitor.groupKey),
        ip=_line(visitor.ipAddress),
        city=_line(visitor.city),
        country_code=_line(visitor.countryCode),
        country=_line(visitor.country),
        platform=_line(visitor.platform),
        user_agent=_line(visitor.userAgent),
        referer=_line(visitor.referer, MAX_ADDRESS),
        variables=_variables(visitor.variables),
    )


def _variables(variables: wire.Variables) -> dict[str, Variable]:
    read = {}
    for key, variable in variables.items() if isinstance(variables, dict) else ():
        name, value = clean_line(key), variable.value
        if value is None or isinstance(value, str):
            value = _text(value)
        read[name] = Variable(label=_line(variable.label) or name, value=value)
    return read


def _page(page: wire.Page) -> Page:
    return Page(url=_line(page.url, MAX_ADDRESS), title=_line(page.title))


def _message(message: wire.Message) -> Message:
    author, trigger = _AUTHORS.get(message.type, Author.UNKNOWN), _line(message.triggeredBy)
    return Message(
        author=Author.AUTOMATIC if trigger and author is Author.AGENT else author,
        name=_line(message.name),
        text=_text(message.content),
        sent_at=_time(message.sentAt),
        trigger=trigger,
    )


def _in_order(messages: list[wire.Message]) -> list[wire.Message]:
    """By the time at which they were sent, those of the same time as they came.

    One without a time stays behind the one that it came behind, or at the beginning.
    """
    at = next((message.sentAt for message in messages if message.sentAt), 0)
    moments = [at := message.sentAt or at for message in messages]
    if moments == sorted(moments):  # as nearly always
        return messages
    return [messages[place] for place in sorted(range(len(moments)), key=moments.__getitem__)]


def _line(text: str | None, limit: int = 500) -> str:
    if not text:
        return ""
    if _is_plain(text) and "  " not in text and text[-1] != " " and len(text) <= limit:
        return text
    line = clean_line(text, limit)
    return "" if is_blank(line) else line


def _text(text: str | None) -> str:
    if not text:
        return ""
    if _is_plain(text) and len(text) <= MAX_TEXT:
        return text
    if len(text) > MAX_TEXT:
        return f"{clean(text[:MAX_TEXT])}… [{len(text) - MAX_TEXT:,} more characters]"
    text = clean(text)
    return "" if is_blank(text) else text


def _is_plain(text: str) -> bool:
    """Whether there is nothing to clean, and something to see. Most texts are so, and a hook has forty."""
    return "!" <= text[0] <= "~" and text.isprintable()


def _name(name: int | str | None) -> str:
    """Two that differ anywhere stay two: of one that can't be kept as it is, the beginning and a hash of the whole."""
    if name is None:
        return ""
    text = str(name)
    line = clean_line(text, MAX_NAME)
    if is_blank(line):
        return ""
    if line == text and not _HASH.search(text):
        return text
    whole = _hash(text.encode("utf-8", "surrogatepass"))
    return f"{clean_line(text, MAX_NAME - len(whole) - 1)} {whole}"


def _hash(data: bytes) -> str:
    return f"sha256-{hashlib.sha256(data).hexdigest()[:16]}"


def _time(milliseconds: float | None) -> datetime | None:
    return None if milliseconds is None else _EPOCH + timedelta(0, 0, 0, milliseconds)


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(0, seconds)
