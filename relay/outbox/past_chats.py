"""Chats as people ask for them: who wrote, which rules held, where it went and how that ended."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from relay.outbox.columns import from_ms, maybe_time, to_ms
from relay.outbox.history import Record, StoredHook, Wanted, find, stored_hooks
from relay.outbox.rows import ITSELF
from relay.outbox.schema import TROUBLED, chats, deliveries
from relay.outbox.session import Session

PAGE = 100
"""Chats whose hooks and deliveries are read at once."""
ALL = 2**62

_Of = TypeVar("_Of", StoredHook, Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRow:
    """What stands in a list about a chat, as its newest hook told it."""

    account: str
    chat: str
    visitor: str
    """The name; may be empty."""
    began: datetime | None
    last_hook: datetime
    missed: bool
    offline: bool
    rating: float | None

    @property
    def name(self) -> tuple[str, str]:
        """The account and the chat's id."""
        return self.account, self.chat


@dataclass(frozen=True, slots=True)
class PastChat:
    """A chat with all that came of it."""

    about: ChatRow
    hooks: Sequence[StoredHook]
    """In the order in which they came; at least one."""
    deliveries: Sequence[Record]
    """In the order in which they were owed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedChats:
    """Which chats to show; what is left empty is not asked."""

    since: datetime | None = None
    """Their newest hook came then or later."""
    missed: bool = False
    failed: bool = False
    """A delivery ended badly."""
    undelivered: bool = False
    """No delivery is owed to anybody, or ever was."""
    among: Callable[[ChatRow], bool] = lambda _: True

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        yield chats.c.account != ITSELF
        theirs = sa.select(deliveries.c.id).where(deliveries.c.chat_id == chats.c.id)
        if self.since:
            yield chats.c.last_seen >= to_ms(self.since)
        if self.missed:
            yield chats.c.missed == sa.true()
        if self.failed:
            # The other way round, each chat would be asked about.
            troubled = sa.select(deliveries.c.chat_id).where(sa.text(TROUBLED))
            yield chats.c.id.in_(troubled)
        if self.undelivered:
            yield ~sa.exists(theirs)


def past_chats(session: Session, wanted: WantedChats) -> Iterator[PastChat]:
    """Chats, the newest first, read as they are asked for."""
    columns = (
        *(chats.c.account, chats.c.chat, chats.c.visitor, chats.c.began),
        *(chats.c.last_seen, chats.c.missed, chats.c.offline, chats.c.rating),
    )
    question = sa.select(*columns).where(*wanted.conditions()).order_by(chats.c.id.desc())
    rows = map(_row, session.ask(question).fetchall())
    page: list[ChatRow] = []
    for row in rows:
        if wanted.among(row):
            page.append(row)
        if len(page) == PAGE:
            yield from _with_history(session, page)
            page.clear()
    if page:
        yield from _with_history(session, page)


def _row(row: Sequence[Any]) -> ChatRow:
    account, chat, visitor, began, last_seen, missed, offline, rating = row
    return ChatRow(
        account=account,
        chat=chat,
        visitor=visitor,
        began=maybe_time(began),
        last_hook=from_ms(last_seen),
        missed=bool(missed),
        offline=bool(offline),
        rating=rating,
    )


def _with_history(session: Session, page: Collection[ChatRow]) -> Iterator[PastChat]:
    names = [each.name for each in page]
    hooks = _by_chat(stored_hooks(session, names=names))
    owed = _by_chat(reversed(find(session, Wanted(chats=names), limit=ALL)))
    for each in page:
        # Without a hook it is being erased just now.
        if each.name in hooks:
            yield PastChat(each, hooks[each.name], owed.get(each.name, ()))


def _by_chat(found: Iterable[_Of]) -> dict[tuple[str, str], list[_Of]]:
    grouped: dict[tuple[str, str], list[_Of]] = {}
    for each in found:
        grouped.setdefault((each.account, each.chat), []).append(each)
    return grouped
