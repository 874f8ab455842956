"""Pages of chats for the console: of bounded length, in an order that does not change while new hooks come."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import sqlalchemy as sa

from relay.outbox.history import is_chat
from relay.outbox.past_chats import (
    ROW,
    ChatRow,
    PastChat,
    WantedChats,
    read_row,
    with_history,
)
from relay.outbox.rows import ITSELF, to_ms
from relay.outbox.schema import TROUBLED, chats, deliveries
from relay.outbox.session import Session

_is_chat = chats.c.account != ITSELF


@dataclass(frozen=True, slots=True)
class ChatPage:
    """One page of chats, the newest first."""

    chats: list[PastChat]
    before: int | None
    """The number of a chat; the next page has the chats with lower numbers. None on the last page."""
    is_cut: bool = False
    """Whether the search stopped at its limit of chats, so that older chats may match as well."""


Named = Callable[[str, str, str], bool]
"""Says whether a chat matches, given its account, its id and the visitor's name."""


def chat_page(
    session: Session,
    wanted: WantedChats,
    named: Named | None = None,
    *,
    before: int | None,
    limit: int,
    look_at: int,
) -> ChatPage:
    """A page of at most `limit` wanted chats with numbers below `before`, found among the newest `look_at` of those.

    Chats are sorted by their first hook, newest first, so that a further hook of a chat does not move it.
    """
    older = chats.c.id < before if before else sa.true()
    newest_first = chats.c.id.desc()
    all_older = sa.select(chats.c.id).where(_is_chat, older).order_by(newest_first)
    end = session.ask(all_older.offset(look_at).limit(1)).fetchone()
    within = (*wanted.conditions(), older, *([chats.c.id > end[0]] if end else []))
    question = sa.select(*ROW).order_by(newest_first).limit(limit + 1)
    if named:
        names = (chats.c.id, chats.c.account, chats.c.chat, chats.c.visitor)
        all_named = session.ask(sa.select(*names).where(*within).order_by(newest_first))
        found = (number for number, *name in all_named if named(*name))
        few = [chats.c.id == each for each in islice(found, limit + 1)]
        question = question.where(sa.or_(sa.false(), *few))
    else:
        question = question.where(*within)
    some = list(map(read_row, session.ask(question).fetchall()))
    page = list(with_history(session, some[:limit]))
    if len(some) > limit:
        return ChatPage(page, some[limit - 1].id)
    return ChatPage(page, end[0] + 1 if end else None, is_cut=end is not None)


def chat_rows(session: Session, *, after: int = 0, limit: int) -> list[ChatRow]:
    """The newest `limit` chats with numbers above `after`, newest first, without hooks and deliveries."""
    question = sa.select(*ROW).where(_is_chat, chats.c.id > after).order_by(chats.c.id.desc())
    return list(map(read_row, session.ask(question.limit(limit)).fetchall()))


def chat_called(session: Session, *, number: int) -> PastChat | None:
    """The chat with this number, with its hooks and deliveries; None where there is none."""
    row = session.ask(sa.select(*ROW).where(_is_chat, chats.c.id == number)).fetchone()
    return next(with_history(session, [read_row(row)]), None) if row else None


def number_of_chat(session: Session, name: tuple[str, str]) -> int | None:
    """The database's number for the chat named by account and id; None where there is no such chat."""
    row = session.ask(sa.select(chats.c.id).where(_is_chat, *is_chat(*name))).fetchone()
    return int(row[0]) if row else None


def count_troubled(session: Session, since: datetime) -> int:
    """How many deliveries have ended badly since then."""
    question = sa.select(sa.func.count()).select_from(deliveries)
    bad = sa.and_(sa.text(TROUBLED), deliveries.c.settled_at >= to_ms(since))
    return int(session.ask(question.where(bad)).fetchone()[0])
