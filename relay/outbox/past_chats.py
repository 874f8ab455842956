"""Reads chats with all that came of them, and all hooks one after another, beside a running relay without holding it up."""

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from relay.outbox.database_session import Session, Sessions
from relay.outbox.delivery_types import ITSELF, SEVERAL, from_ms, key_of, maybe_time, to_ms
from relay.outbox.history import Record, SetAside, StoredHook, Wanted, find, is_named, stored_hooks
from relay.outbox.schema import (
    HAS_EMAIL_KEY,
    HAS_NO_KEYS,
    HAS_VISITOR_KEY,
    TROUBLED,
    chats,
    deliveries,
    hook_bodies,
    hooks,
    set_aside,
)
from relay.outbox.statements import is_unsettled

PAGE = 100
"""How many chats are read with their hooks and deliveries at once."""
ALL = 2**62

_Of = TypeVar("_Of", StoredHook, Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRow:
    """A chat in a list, as its newest hook describes it."""

    id: int
    """The database's number of the chat; numbers rise in the order in which chats came."""
    account: str
    chat: str
    visitor: str
    """The visitor's name; may be empty."""
    began: datetime | None
    first_hook: datetime
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
    """A chat with its hooks and deliveries."""

    about: ChatRow
    hooks: Sequence[StoredHook]
    """The hooks, oldest first; at least one."""
    deliveries: Sequence[Record]
    """The deliveries, in the order in which they were queued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedChats:
    """A filter for chats; an empty field does not restrict."""

    since: datetime | None = None
    """Only chats whose newest hook came then or later."""
    until: datetime | None = None
    """Only chats whose newest hook came before then."""
    missed: bool = False
    failed: bool = False
    """Only chats with a delivery that ended badly."""
    undelivered: bool = False
    """Only chats that never had a delivery."""
    waiting: bool = False
    """Only chats with a delivery that waits or is being sent."""
    offline: bool = False
    rated_at_most: float | None = None
    rule: str = ""
    """Only chats with a delivery by this rule."""
    destination: str = ""
    """Only chats with a delivery to this destination."""
    account: str = ""
    names: Sequence[tuple[str, str]] | None = None
    """Only chats with these names, each an account and an id."""
    among: Callable[[ChatRow], bool] = lambda _: True

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        """The SQL conditions that the wanted chats meet."""
        yield chats.c.account != ITSELF
        yield from self._of_deliveries()
        if self.since:
            yield chats.c.last_seen >= to_ms(self.since)
        if self.until:
            yield chats.c.last_seen < to_ms(self.until)
        if self.account:
            yield chats.c.account == self.account
        if self.missed:
            yield chats.c.missed == sa.true()
        if self.offline:
            yield chats.c.offline == sa.true()
        if self.rated_at_most is not None:
            yield chats.c.rating <= self.rated_at_most
        if self.names is not None:
            yield is_named(self.names)

    def _of_deliveries(self) -> Iterator[sa.ColumnElement[bool]]:
        theirs = sa.select(deliveries.c.id).where(deliveries.c.chat_id == chats.c.id)
        if self.failed:
            # With EXISTS every chat would be looked up.
            troubled = sa.select(deliveries.c.chat_id).where(sa.text(TROUBLED))
            yield chats.c.id.in_(troubled)
        if self.undelivered:
            yield ~sa.exists(theirs)
        if self.waiting:
            yield chats.c.id.in_(sa.select(deliveries.c.chat_id).where(is_unsettled))
        if self.rule:
            yield sa.exists(theirs.where(deliveries.c.rule == self.rule))
        if self.destination:
            yield sa.exists(theirs.where(deliveries.c.destination == self.destination))


ROW = (
    *(chats.c.id, chats.c.account, chats.c.chat, chats.c.visitor, chats.c.began),
    *(chats.c.first_seen, chats.c.last_seen, chats.c.missed, chats.c.offline, chats.c.rating),
)


def past_chats(session: Session, wanted: WantedChats) -> Iterator[PastChat]:
    """The wanted chats, newest first, read in pages as they are consumed."""
    question = sa.select(*ROW).where(*wanted.conditions()).order_by(chats.c.id.desc())
    rows = map(read_row, session.ask(question).fetchall())
    page: list[ChatRow] = []
    for row in rows:
        if wanted.among(row):
            page.append(row)
        if len(page) == PAGE:
            yield from with_history(session, page)
            page.clear()
    if page:
        yield from with_history(session, page)


def read_row(row: Sequence[Any]) -> ChatRow:
    """The chat in a row of the columns ROW."""
    number, account, chat, visitor, began, first_seen, last_seen, missed, offline, rating = row
    return ChatRow(
        id=number,
        account=account,
        chat=chat,
        visitor=visitor,
        began=maybe_time(began),
        first_hook=from_ms(first_seen),
        last_hook=from_ms(last_seen),
        missed=bool(missed),
        offline=bool(offline),
        rating=rating,
    )


def with_history(session: Session, page: Collection[ChatRow]) -> Iterator[PastChat]:
    """Yield the chats of a page with their hooks and deliveries; a chat that is being erased at this moment is left out."""
    if not page:
        return
    ids = [each.id for each in page]
    hooks = by_chat(stored_hooks(session, chat_ids=ids))
    queued = by_chat(reversed(find(session, Wanted(chat_ids=ids), limit=ALL)))
    for each in page:
        # Without a hook, the chat is being erased at this moment.
        if each.name in hooks:
            yield PastChat(each, hooks[each.name], queued.get(each.name, ()))


def by_chat(rows: Iterable[_Of]) -> dict[tuple[str, str], list[_Of]]:
    """Hooks or deliveries grouped by the account and id of their chats, in unchanged order."""
    grouped: dict[tuple[str, str], list[_Of]] = {}
    for each in rows:
        grouped.setdefault((each.account, each.chat), []).append(each)
    return grouped


HOOKS_AT_ONCE = 1000
"""Hooks per transaction. A longer transaction would let the write-ahead log grow without end."""
PAGE_OF_ODD_ONES = 50
"""Unreadable hooks per page; each may be as long as a hook may be."""

Which = sa.ColumnElement[bool] | sa.TextClause
ANY = sa.true()
NOT_KNOWN_BY_VISITOR = sa.text(HAS_NO_KEYS)
"""Matches hooks stored by an older relay, whose visitors are not indexed yet."""
OF_SEVERAL_ADDRESSES = sa.text(f"{HAS_EMAIL_KEY} AND email_key = {SEVERAL}")

_since = sa.and_(
    hooks.c.received_at >= sa.bindparam("since"),
    # Alerts are stored as hooks, too.
    chats.c.account != ITSELF,
)
_COUNT = (
    sa.select(sa.func.count())
    .select_from(hooks.join(chats, chats.c.id == hooks.c.chat_id))
    .where(_since)
)
_PAGE = (
    sa.select(hooks.c.id, chats.c.account, chats.c.chat, hooks.c.received_at, hook_bodies.c.body)
    .select_from(
        hooks.join(chats, chats.c.id == hooks.c.chat_id).join(
            hook_bodies, hook_bodies.c.hook_id == hooks.c.id
        )
    )
    .where(_since)
    .limit(HOOKS_AT_ONCE)
)
_OLDEST_FIRST = _PAGE.where(hooks.c.id > sa.bindparam("after")).order_by(hooks.c.id)
_NEWEST_FIRST = _PAGE.where(hooks.c.id < sa.bindparam("after")).order_by(hooks.c.id.desc())
_ASIDE = (
    sa.select(set_aside.c.id, set_aside.c.received_at, set_aside.c.reason, set_aside.c.body)
    .where(set_aside.c.id > sa.bindparam("after"))
    .order_by(set_aside.c.id)
    .limit(sa.bindparam("at_once"))
)
_CHATS = (
    sa.select(sa.func.min(hooks.c.id), chats.c.account, chats.c.chat)
    .join(chats, chats.c.id == hooks.c.chat_id)
    .group_by(chats.c.id, chats.c.account, chats.c.chat)
)
_OF_EMAIL = _CHATS.where(hooks.c.email_key == sa.bindparam("key"), sa.text(HAS_EMAIL_KEY))
_OF_VISITOR = _CHATS.where(hooks.c.visitor_key == sa.bindparam("key"), sa.text(HAS_VISITOR_KEY))


@dataclass(frozen=True, slots=True)
class PastHook:
    """A stored hook with its bytes."""

    id: int
    account: str
    chat: str
    received_at: datetime
    """When the hook came in, in UTC, with its zone."""
    body: bytes


def count_hooks(sessions: Sessions, since: datetime | None = None, which: Which = ANY) -> int:
    """How many hooks came in at `since` or later. Raises StorageRefused and StorageUnavailable."""
    with sessions.reading() as session:
        return int(session.ask(_COUNT.where(which), since=_ms(since)).fetchone()[0])


def read_hooks(
    sessions: Sessions,
    since: datetime | None = None,
    which: Which = ANY,
    *,
    newest_first: bool = False,
) -> Iterator[PastHook]:
    """The wanted hooks, oldest or newest first, read in pages. Raises StorageRefused and StorageUnavailable."""
    after, pages = (ALL, _NEWEST_FIRST) if newest_first else (0, _OLDEST_FIRST)
    while True:
        with sessions.reading() as session:
            page = session.ask(pages.where(which), after=after, since=_ms(since)).fetchall()
        for number, account, chat, received_at, body in page:
            after = number
            yield PastHook(number, account, chat, from_ms(received_at), zlib.decompress(body))
        if len(page) < HOOKS_AT_ONCE:
            return


def find_chats(
    sessions: Sessions, *, emails: Iterable[str], visitors: Iterable[str]
) -> dict[tuple[str, str], int]:
    """Return the chats of visitors with one of the canonical email addresses or ids: account and id, and the first hook's number.

    Found by index, which lacks the hooks that match NOT_KNOWN_BY_VISITOR, and the addresses of OF_SEVERAL_ADDRESSES.
    Raises StorageRefused and StorageUnavailable.
    """
    first_hooks: dict[tuple[str, str], int] = {}
    with sessions.reading() as session:
        for question, names in ((_OF_EMAIL, emails), (_OF_VISITOR, visitors)):
            for name in names:
                for first, account, chat in session.ask(question, key=key_of(name)).fetchall():
                    first_hooks[account, chat] = min(first, first_hooks.get((account, chat), first))
    return first_hooks


def read_set_aside(sessions: Sessions) -> Iterator[SetAside]:
    """The hooks that could not be read, oldest first. Raises StorageRefused and StorageUnavailable."""
    after = 0
    while True:
        with sessions.reading() as session:
            page = session.ask(_ASIDE, after=after, at_once=PAGE_OF_ODD_ONES).fetchall()
        for number, received_at, reason, body in page:
            after = number
            yield SetAside(
                id=number,
                received_at=from_ms(received_at),
                reason=reason,
                body=zlib.decompress(body),
            )
        if len(page) < PAGE_OF_ODD_ONES:
            return


def _ms(instant: datetime | None) -> int:
    return to_ms(instant) if instant else 0
