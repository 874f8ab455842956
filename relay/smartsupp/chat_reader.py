"""Converts the bytes of a hook to a Chat.

Any JSON object gives a chat, even if its format has changed. Values that don't fit are left out and
described in `Chat.oddities`; the raw bytes are stored elsewhere.
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from relay.chat import Author, Chat, Message, Page, Variable, Visitor
from relay.smartsupp import hook_json as wire
from relay.smartsupp.hook_json import check_depth, decode_object
from relay.smartsupp.lenient import LenientReader
from relay.text import clean, clean_line, is_blank

MAX_TEXT = 100_000
"""The most characters of a message that are kept in a chat; the raw bytes keep all."""
MAX_NAME = 100
"""The most characters of an ID, which is a key in the database."""
MAX_ADDRESS = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HASH = re.compile(r"sha256-[0-9a-f]{16}\Z")
_AUTHORS = {"visitor": Author.VISITOR, "agent": Author.AGENT, "system": Author.SYSTEM}


def read_chat(body: bytes, arrived: datetime | None = None) -> Chat:
    """Return the chat of a hook; `arrived` is its time if the hook has none that is valid.

    Raises only UnreadableHook.
    """
    check_depth(body)
    hook = wire.decoded(body)
    chat = read_leniently(body) if hook is None else _chat(hook, body)
    if chat.began or arrived is None or chat.ended or any(each.sent_at for each in chat.messages):
        return chat
    return replace(chat, began=arrived, ended=arrived)


def read_leniently(body: bytes) -> Chat:
    """Return the chat of a hook in any format.

    For the documented format the result equals that of `read_chat`, which is faster.
    """
    check_depth(body)
    reader = LenientReader()
    hook = reader.hook(decode_object(body))
    return _chat(hook, body, reader.oddities)


def _chat(hook: wire.Hook, body: bytes, oddities: tuple[str, ...] = ()) -> Chat:
    channel = hook.channel
    return Chat(
        account=_name(hook.accountId) or "unknown",
        # Without an ID the bytes identify the chat, so that a repeated hook is still the same chat.
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
    """Return the messages sorted by time; messages of equal time keep their order.

    A message without a time follows the one that it followed in the hook.
    """
    at = next((message.sentAt for message in messages if message.sentAt), 0)
    moments = [at := message.sentAt or at for message in messages]
    if moments == sorted(moments):  # the usual case
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
    """Whether a text is visible and needs no cleaning. Most texts are, and a hook has about forty."""
    return "!" <= text[0] <= "~" and text.isprintable()


def _name(name: int | str | None) -> str:
    """Return an ID as text. Different IDs stay different: one that can't be kept is replaced by its start and a hash."""
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
