"""Pages of chats for the console: of bounded length, in an order that does not change while new hooks come."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa

from relay.outbox.database_session import Session
from relay.outbox.delivery_types import ITSELF, to_ms
from relay.outbox.history import is_chat
from relay.outbox.past_chats import ROW, PastChat, WantedChats, read_row, with_history
from relay.outbox.schema import TROUBLED, chats, deliveries
from relay.outbox.statements import Query, is_any

_is_chat = chats.c.account != ITSELF


@dataclass(frozen=True, slots=True)
class ChatPage:
    """One page of chats, the newest first."""

    chats: list[PastChat]
    before: int | None
    """The number of a chat; the next page has the chats with lower numbers. None on the last page."""
    is_cut: bool = False
    """Whether the search stopped at its limit of chats, so that older chats may match as well."""


@dataclass(frozen=True, slots=True)
class Named:
    """A search for chats: by a part of the visitor's name, or by the chat's id."""

    text: str
    fold: Callable[[str], str]
    """Returns the part of a text that is compared, such as the text without case and accents."""

    def matches(self, account: str, chat: str, visitor: str) -> bool:
        """Says whether a chat matches, given its account, its id and the visitor's name."""
        is_named = self.fold(self.text) in self.fold(visitor)
        return is_named or self.text in {chat, f"{account}/{chat}"}

    def may_match(self, visitors: str) -> bool:
        """Says whether one of several names may match. `visitors`: the names, separated by white space."""
        names = self.fold(visitors)
        return all(word in names for word in self.fold(self.text).split())


_BLANK: Any = sa.literal_column("' '")
BLOCKS = 10
"""The number of blocks in which chats are searched. Most blocks hold no matching name, and are not read row by row."""


def _blocks(within: Sequence[Any], named: Named, size: int) -> sa.Select[*tuple[Any, ...]]:
    """Selects for each block of chats its lowest and highest number, its names, and whether an id matches; newest first."""
    account, _, chat = named.text.rpartition("/")
    is_id = sa.case(
        (sa.or_(chats.c.chat == named.text, sa.and_(*is_chat(account, chat))), 1), else_=0
    )
    block = chats.c.id // sa.literal_column(str(size), sa.Integer)
    first, last = sa.func.min(chats.c.id), sa.func.max(chats.c.id)
    names = sa.func.aggregate_strings(chats.c.visitor, _BLANK)
    columns = (first, last, names, sa.func.max(is_id))
    return sa.select(*columns).where(*within).group_by(block).order_by(last.desc())


def _numbers(session: Session, within: Sequence[Any], named: Named, size: int) -> Iterator[int]:
    """The numbers of the matching chats, newest first."""
    row = sa.select(chats.c.id, chats.c.account, chats.c.chat, chats.c.visitor)
    for first, last, names, has_id in session.ask(_blocks(within, named, size)).fetchall():
        if has_id or named.may_match(names):
            block = row.where(*within, chats.c.id.between(first, last))
            rows = session.ask(block.order_by(chats.c.id.desc())).fetchall()
            yield from (number for number, *name in rows if named.matches(*name))


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
    if named:
        numbers = _numbers(session, within, named, max(look_at // BLOCKS, 1))
        within = (is_any(chats.c.id, list(islice(numbers, limit + 1))),)
    question = sa.select(*ROW).where(*within).order_by(newest_first).limit(limit + 1)
    rows = list(map(read_row, session.ask(question).fetchall()))
    page = list(with_history(session, rows[:limit]))
    if len(rows) > limit:
        return ChatPage(page, rows[limit - 1].id)
    return ChatPage(page, end[0] + 1 if end else None, is_cut=end is not None)


MOST_COUNTED = 2_000
_newest = (
    sa.select(chats.c.id, chats.c.first_seen, chats.c.missed, chats.c.offline, chats.c.rating)
    .where(_is_chat)
    .order_by(chats.c.id.desc())
    .limit(MOST_COUNTED)
    .subquery()
)


def _count_new(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    is_new = _newest.c.first_seen >= sa.bindparam("since")
    return sa.func.coalesce(sa.func.sum(sa.case((sa.and_(is_new, *conditions), 1), else_=0)), 0)


_COUNT_NEW = Query(
    sa.select(
        sa.func.coalesce(sa.func.max(_newest.c.id), 0),
        _count_new(),
        _count_new(_newest.c.missed == sa.true()),
        _count_new(_newest.c.offline == sa.true()),
        _count_new(_newest.c.rating <= sa.literal_column("2")),
    )
)
_newer = sa.select(chats.c.id).where(_is_chat, chats.c.id > sa.bindparam("after"))
_COUNT_NEWER = Query(
    sa.select(sa.func.count()).select_from(_newer.limit(sa.bindparam("most")).subquery())
)
_COUNT_TROUBLED = Query(
    sa.select(sa.func.count())
    .select_from(deliveries)
    .where(sa.text(TROUBLED), deliveries.c.settled_at >= sa.bindparam("since"))
)


def count_new(session: Session, since: datetime) -> tuple[int, int, int, int, int]:
    """The number of the newest chat, and four counts of chats that came at `since` or later.

    The counts: all, missed, offline, and rated 2 or lower. Only the newest 2,000 chats are counted.
    """
    newest, *counts = map(int, session.ask(_COUNT_NEW, since=to_ms(since)).fetchone())
    every, missed, offline, low_rated = counts
    return newest, every, missed, offline, low_rated


def count_newer(session: Session, after: int, most: int) -> int:
    """How many chats have a number above `after`; at most `most`."""
    return int(session.ask(_COUNT_NEWER, after=after, most=most).fetchone()[0])


def chat_called(session: Session, *, number: int) -> PastChat | None:
    """The chat with this number, with its hooks and deliveries; None where there is none."""
    row = session.ask(sa.select(*ROW).where(_is_chat, chats.c.id == number)).fetchone()
    return next(with_history(session, [read_row(row)]), None) if row else None


def number_of_chat(session: Session, name: tuple[str, str]) -> int | None:
    """The database's number for the chat named by account and id; None where there is no such chat."""
    row = session.ask(sa.select(chats.c.id).where(_is_chat, *is_chat(*name))).fetchone()
    return int(row[0]) if row else None


def count_troubled(session: Session, since: datetime) -> int:
    """How many deliveries ended badly at `since` or later."""
    return int(session.ask(_COUNT_TROUBLED, since=to_ms(since)).fetchone()[0])
