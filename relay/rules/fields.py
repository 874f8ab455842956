"""The table of all fields that rules can test; the reader, `relay fields` and docs/rules.md use it."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any

from relay.chat import Author, Chat, agents, bot_only, distinct, unanswered, written
from relay.languages import N_
from relay.rules import field_type
from relay.rules.field_type import Field, Kind, Raw, Setter


def _field(
    kind: Kind,
    *,
    name: str,
    subject: str,
    absent: str = "",
    get: Callable[[Chat], Raw] | None = None,
    put: Setter | None = None,
    **more: Any,  # noqa: ANN401 - the rest of a field is as it is there
) -> Field:
    # Most fields have the chat's own names; a line that differs says how its field is read and set.
    return Field(
        name=name,
        kind=kind,
        subject=subject,
        absent=absent or f"no {subject}",
        get=get or attrgetter(name),
        put=put if get else field_type.plain(name),
        **more,
    )


_yes_no = partial(_field, Kind.YES_NO)
_number = partial(_field, Kind.NUMBER)
_duration = partial(_field, Kind.DURATION)
_time = partial(_field, Kind.TIME)
_text = partial(_field, Kind.TEXT)
_texts = partial(_field, Kind.TEXTS)


# -- the table ---------------------------------------------------------------------------------------------

_ALL = (
    _yes_no(
        name="missed",
        wire="channel.isMissed",
        doc="No agent answered the visitor's last message.",
        subject=N_("missed"),
        absent=N_("not missed"),
    ),
    _yes_no(
        name="offline",
        wire="channel.isOffline",
        doc="A message left while nobody was there.",
        subject=N_("an offline message"),
        absent=N_("not an offline message"),
    ),
    _yes_no(
        name="dropped",
        wire="channel.isDropped",
        doc="Smartsupp calls the chat dropped; its pages don't say when it does.",
        subject=N_("dropped"),
        absent=N_("not dropped"),
    ),
    _yes_no(
        name="completed",
        wire="channel.isCompleted",
        doc="Closed, and every message of the visitor was answered.",
        subject=N_("completed"),
        absent=N_("not completed"),
    ),
    _yes_no(
        name="triggered",
        wire="channel.isTriggered",
        doc="At least one automatic message was sent.",
        subject=N_("with an automatic message"),
        absent=N_("without an automatic message"),
    ),
    _yes_no(
        name="answered_chat",
        wire="channel.isChat",
        doc="The visitor and an agent both wrote.",
        subject=N_("written by both sides"),
        absent=N_("not written by both sides"),
    ),
    _yes_no(
        name="bot_only",
        doc="The visitor wrote and got only automatic answers.",
        subject=N_("answered only automatically"),
        absent=N_("not answered only automatically"),
        get=bot_only,
    ),
    _yes_no(
        name="unanswered",
        doc="The visitor wrote and no agent wrote at all. True of offline messages too.",
        subject=N_("never answered by an agent"),
        absent=N_("answered by an agent, or nothing to answer"),
        get=unanswered,
    ),
    _number(
        name="rating",
        wire="channel.rating",
        doc="The visitor's rating, 1 (worst) to 5.",
        subject=N_("rated"),
        absent=N_("not rated"),
        limits=(1, 5),
    ),
    _text(
        name="rating_comment",
        wire="channel.ratingDesc",
        doc="What the visitor wrote with the rating.",
        subject=N_("rating comment"),
    ),
    _duration(
        name="duration",
        wire="channel.duration",
        doc="How long the chat lasted.",
        subject=N_("lasted"),
        absent=N_("no duration"),
    ),
    _duration(
        name="first_response",
        wire="channel.firstResponse",
        doc="How long the visitor waited for the first answer.",
        subject=N_("first answer took"),
        absent=N_("no first answer"),
    ),
    _duration(
        name="average_response",
        wire="channel.avgResponse",
        doc="How long the visitor waited for an answer on average.",
        subject=N_("answers took on average"),
        absent=N_("no average answer time"),
    ),
    _number(
        name="message_count",
        wire="channel.messagesCount",
        doc="How many messages the chat has.",
        subject=N_("number of messages"),
        limits=(0, math.inf),
    ),
    _number(
        name="word_count",
        wire="channel.wordsCount",
        doc="How many words the chat has.",
        subject=N_("number of words"),
        limits=(0, math.inf),
    ),
    _text(
        name="account",
        wire="accountId",
        doc="The Smartsupp account.",
        subject=N_("account"),
    ),
    _text(
        name="id",
        wire="channel.id",
        doc="The chat's number within the account.",
        subject=N_("chat id"),
    ),
    _time(
        name="began",
        wire="beginAt",
        doc="When the chat began.",
        subject=N_("began"),
        absent=N_("no time of beginning"),
    ),
    _time(
        name="ended",
        wire="endAt",
        doc="When the chat ended.",
        subject=N_("ended"),
        absent=N_("no time of ending"),
    ),
    _text(
        name="visitor.name",
        wire="visitor.name",
        doc="The visitor's name.",
        subject=N_("visitor's name"),
    ),
    _text(
        name="visitor.email",
        wire="visitor.email",
        doc="The visitor's address, as typed.",
        subject=N_("visitor's email"),
        form=".*@.*",
        form_words="it has an @; for a part of it use contains, or ends_with",
    ),
    _text(
        name="visitor.note",
        wire="visitor.note",
        doc="The note that agents keep on the visitor.",
        subject=N_("visitor's note"),
        absent=N_("no note on the visitor"),
    ),
    _text(
        name="visitor.group",
        wire="visitor.group, visitor.groupKey",
        doc="The group of agents that the visitor was sent to.",
        subject=N_("visitor's group"),
        absent=N_("no group"),
    ),
    _text(
        name="visitor.country_code",
        wire="visitor.countryCode",
        doc="Two letters, such as CZ.",
        subject=N_("visitor's country code"),
        absent=N_("no country code"),
        form="[A-Za-z]{2}",
        form_words="it has two letters, such as CZ",
    ),
    _text(
        name="visitor.city",
        wire="visitor.city",
        doc="As Smartsupp sends it; sometimes city and country are swapped.",
        subject=N_("visitor's city"),
        absent=N_("no city"),
    ),
    _text(
        name="visitor.ip",
        wire="visitor.ipAddress",
        doc="The visitor's IP address.",
        subject=N_("visitor's IP address"),
        absent=N_("no IP address"),
    ),
    _text(
        name="visitor.platform",
        wire="visitor.platform",
        doc="What the visitor's browser runs on, such as Win32.",
        subject=N_("visitor's platform"),
        absent=N_("no platform"),
    ),
    _text(
        name="visitor.referer",
        wire="visitor.referer",
        doc="The page that led the visitor to the site.",
        subject=N_("visitor's referer"),
        absent=N_("no referer"),
    ),
    _text(
        name="visitor.id",
        wire="visitor.id",
        doc="Smartsupp's number for the visitor.",
        subject=N_("visitor's id"),
        absent=N_("no visitor id"),
    ),
    _texts(
        name="agent",
        wire="messages[].name",
        doc="The names of the agents who wrote in the chat or joined it.",
        subject=N_("an agent's name"),
        absent=N_("no agent took part"),
        get=agents,
        put=field_type.joined,
    ),
    _texts(
        name="said",
        wire="messages[].content",
        doc="What the visitor wrote, message by message.",
        subject=N_("something the visitor wrote"),
        absent=N_("the visitor wrote nothing"),
        get=lambda chat: written(chat, Author.VISITOR),
        put=field_type.wrote(Author.VISITOR),
    ),
    _texts(
        name="answered",
        wire="messages[].content",
        doc="What agents wrote, message by message; automatic messages are not among it.",
        subject=N_("something an agent wrote"),
        absent=N_("no agent wrote anything"),
        get=lambda chat: written(chat, Author.AGENT),
        put=field_type.wrote(Author.AGENT),
    ),
    _texts(
        name="trigger",
        wire="messages[].triggeredBy",
        doc="The names of the triggers that sent automatic messages.",
        subject=N_("a trigger's name"),
        absent=N_("no trigger sent anything"),
        get=lambda chat: distinct(m.trigger for m in chat.messages),
        put=field_type.triggered,
    ),
    _texts(
        name="page.url",
        wire="paths[].url",
        doc="The addresses of the pages that the visitor looked at.",
        subject=N_("a visited page's address"),
        absent=N_("no visited page's address"),
        get=lambda chat: tuple(page.url for page in chat.pages),
        put=field_type.visited("url"),
        form=r"\w+://.+",
        form_words="it begins with https://; for a part of it use contains",
    ),
    _texts(
        name="page.title",
        wire="paths[].title",
        doc="The titles of the pages that the visitor looked at.",
        subject=N_("a visited page's title"),
        absent=N_("no visited page's title"),
        get=lambda chat: tuple(page.title for page in chat.pages),
        put=field_type.visited("title"),
    ),
)

FIELDS: Mapping[str, Field] = {field.name: field for field in _ALL}
