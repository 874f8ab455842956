"""Closes digests and reads their chats when they are sent.

A digest is a delivery of its own that is about no single chat: it belongs to a chat of the account ITSELF, whose hook
names the digest and holds nothing that a visitor wrote.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from relay.chat import Chat
from relay.crash_points import CrashPoint, reach
from relay.outbox.delivery_types import DIGEST, ITSELF, NewDelivery, NewHook, from_ms, to_ms
from relay.outbox.scheduling import RELEASE, Done
from relay.outbox.schema import chats, deliveries, digests, hook_bodies, hooks, limits, mutes
from relay.outbox.settling import Operations
from relay.outbox.statements import Query, bound, in_digest, inserted, is_scheduled, text
from relay.outbox.writer import Cursor
from relay.timing.digest_contents import Digest, Member, Mute, arranged
from relay.timing.plan import AT_ONCE, MUTED, TOGETHER, Timing

LATE = timedelta(minutes=15)
"""A digest that is closed at least this long after it was due says so in its text."""
ERASED = "erased: "
"""Prefix of rows in `limits` that count the erased chats of a digest; the digest's due time follows, in milliseconds."""
ERASED_MUTE = '{"when": "erased"}'
"""Content of the column `mutes.what` for a mute whose words were erased."""

DIGEST_RULE = "digest"
"""The rule name that is stored for deliveries that are digests."""

WAITS = (is_scheduled, in_digest)
_this_pair = (
    deliveries.c.destination == bound("of_destination"),
    deliveries.c.recipient == bound("of_recipient"),
)
# Concatenated with '' so that the index by due time is used: the one by both columns would read all that waits.
_destination, _recipient = (
    sa.literal_column(f"deliveries.{name} || ''", sa.Text) for name in ("destination", "recipient")
)
_DUE_PAIRS = Query(
    sa.select(_destination, _recipient)
    .select_from(deliveries)
    .where(*WAITS, deliveries.c.due_at <= bound("now"))
    .distinct()
)
_LOCK = Query(
    sa.select(
        sa.func.pg_try_advisory_xact_lock(
            sa.func.hashtext(text("of_destination")), sa.func.hashtext(text("of_recipient"))
        )
    )
)
_DUE = Query(
    sa.select(deliveries.c.id, deliveries.c.chat_id, deliveries.c.why, deliveries.c.due_at)
    .where(*WAITS, *_this_pair, deliveries.c.due_at <= bound("latest"))
    .order_by(deliveries.c.due_at, deliveries.c.id)
    .with_for_update()
)
PUT_OFF = Query(
    sa.update(deliveries)
    .where(*WAITS, *_this_pair, deliveries.c.due_at <= bound("latest"))
    .values(due_at=bound("opening"))
)
_INSERT = Query(
    lambda insert: inserted(
        insert, digests, "destination", "recipient", "since", "closed_at", "counts"
    ).returning(digests.c.id)
)
_PUT_IN = Query(
    sa.update(deliveries)
    .where(deliveries.c.id == bound("member"))
    .values(state="in digest", digest_id=bound("digest"), settled_at=bound("now"))
)
ITS_CHAT = (chats.c.account == ITSELF, chats.c.chat == text("named"))
_NAME_DELIVERY = Query(
    sa.update(digests)
    .where(digests.c.id == bound("digest"))
    .values(
        delivery_id=sa.select(deliveries.c.id)
        .join(chats, chats.c.id == deliveries.c.chat_id)
        .where(*ITS_CHAT)
        .scalar_subquery()
    )
)
_erased = (
    limits.c.destination == bound("of_destination"),
    limits.c.recipient == bound("of_recipient"),
    limits.c.of.startswith(ERASED),
    limits.c.window_from >= bound("earliest"),
    limits.c.window_from <= bound("latest"),
)
_COUNT_ERASED = Query(sa.select(sa.func.coalesce(sa.func.sum(limits.c.used), 0)).where(*_erased))
PUT_OFF_ERASED = Query(sa.update(limits).where(*_erased).values(window_from=bound("opening")))
_FORGET_ERASED = Query(sa.delete(limits).where(*_erased))
_READ = Query(
    sa.select(digests.c.destination, digests.c.since, digests.c.closed_at, digests.c.counts).where(
        digests.c.id == bound("digest")
    )
)
_newer = hooks.alias("newer")
_newest = (
    sa.select(sa.func.max(_newer.c.id))
    .where(_newer.c.chat_id == chats.c.id)
    .correlate(chats)
    .scalar_subquery()
)
_MEMBERS = Query(
    sa.select(
        chats.c.account,
        chats.c.chat,
        deliveries.c.rule,
        deliveries.c.why,
        deliveries.c.created_at,
        chats.c.missed,
        chats.c.offline,
        hooks.c.id,
        hooks.c.received_at,
    )
    .join(chats, chats.c.id == deliveries.c.chat_id)
    .join(hooks, hooks.c.id == _newest)
    .where(deliveries.c.digest_id == bound("digest"))
    .order_by(deliveries.c.id)
)
_BODY = Query(sa.select(hook_bodies.c.body).where(hook_bodies.c.hook_id == bound("hook")))
_MUTE = Query(
    sa.select(mutes.c.what, mutes.c.by, mutes.c.because, mutes.c.until_at, mutes.c.ended_at).where(
        mutes.c.id == bound("mute")
    )
)

NewDigest = Callable[[Chat, str, str], NewDelivery]
"""Makes the delivery of a digest from its chat, a destination and a recipient."""


class _Reference(Struct, frozen=True):
    """The body of a digest's hook, which names the digest by its number."""

    digest: int


def name_of(digest: int) -> str:
    """The id of the chat that stands for a digest in the table `chats`."""
    return f"{DIGEST}{digest}"


@dataclass(frozen=True, slots=True)
class Digests:
    """Closes and reads digests, inside transactions of the caller's."""

    operations: Operations
    new_delivery: NewDigest
    is_shared: bool = False
    """Whether other relays use the database too."""

    def close(self, cursor: Cursor, now: datetime, *, only: tuple[str, str] | None = None) -> Done:
        """Queue one digest that is due, for one destination and recipient. A single chat is sent by itself instead.

        Leaves a digest that another relay is closing, and deliveries to destinations that the rules do not have.
        `only`: close the digest of this destination and recipient now, whatever its hours say.
        """
        if only:
            is_free = self._locks(cursor, only)
            return Done(self._close(cursor, only, now, AT_ONCE) if is_free else ())
        known = self.operations.waits.timings
        rows = self.operations.sql[_DUE_PAIRS].run(cursor, now=to_ms(now)).fetchall()
        pairs = sorted(pair for pair in map(tuple, rows) if pair[0] in known)
        for number, pair in enumerate(pairs, 1):
            if not self._locks(cursor, pair):
                continue
            if queued := self._close(cursor, pair, now, known[pair[0]]):
                return Done(queued, more=number < len(pairs))
        return Done()

    def _locks(self, cursor: Cursor, pair: tuple[str, str]) -> bool:
        """Whether this relay got the lock of the destination and recipient, which is held until the transaction ends."""
        if not self.is_shared:
            return True
        return bool(self.operations.sql[_LOCK].run(cursor, **_named(pair)).fetchone()[0])

    def _close(
        self, cursor: Cursor, pair: tuple[str, str], now: datetime, timing: Timing
    ) -> tuple[str, ...]:
        """Close one digest. Returns its destination once for each delivery that is queued."""
        sql, at, latest = self.operations.sql, to_ms(now), to_ms(now + TOGETHER)
        members = sql[_DUE].run(cursor, **_named(pair), latest=latest).fetchall()
        if not members or (since := members[0][3]) > at:
            return ()  # another relay has closed it meanwhile
        slot = {**_named(pair), "earliest": to_ms(from_ms(since) - TOGETHER), "latest": latest}
        if (opening := timing.postponed_until(from_ms(since), now)) is not None:
            for query in (PUT_OFF, PUT_OFF_ERASED):
                sql[query].run(cursor, **slot, opening=to_ms(opening))
            return ()
        (erased,) = sql[_COUNT_ERASED].run(cursor, **slot).fetchone()
        sql[_FORGET_ERASED].run(cursor, **slot)
        if len(members) == 1:
            only = members[0][0]
            sql[RELEASE].run(cursor, delivery_id=only, was_due=since, now=at, is_quiet=False)
        else:
            self._assemble(cursor, pair, members, since=since, erased=int(erased), now=now)
        reach(CrashPoint.CLOSING_DIGEST)
        return (pair[0],)

    def _assemble(
        self,
        cursor: Cursor,
        pair: tuple[str, str],
        members: Sequence[tuple[int, int, str, int]],
        *,
        since: int,
        erased: int,
        now: datetime,
    ) -> None:
        sql, at = self.operations.sql, to_ms(now)
        kept = sql[_INSERT].run(
            cursor,
            destination=pair[0],
            recipient=pair[1],
            since=since,
            closed_at=at,
            counts=_counted(members, erased),
        )
        (digest,) = kept.fetchone()
        reach(CrashPoint.DIGEST_NUMBERED)
        chat = Chat(account=ITSELF, id=name_of(digest))
        body = msgspec.json.encode(_Reference(digest))
        delivery = self.new_delivery(chat, *pair)
        self.operations.accept(
            cursor,
            NewHook(body=body, chat=chat, received_at=now, rules_hash="", deliveries=(delivery,)),
        )
        reach(CrashPoint.DIGEST_QUEUED)
        sql[_NAME_DELIVERY].run(cursor, digest=digest, named=chat.id)
        sql[_PUT_IN].run_many(
            cursor, [{"member": member[0], "digest": digest, "now": at} for member in members]
        )

    # -- when it is sent -----------------------------------------------------------------------------------

    def read(self, cursor: Cursor, body: bytes, order: Sequence[str]) -> Digest | None:
        """The digest that a hook's `body` names, with its chats as they are now; None where all of them were erased.

        `order`: the names of the rules in the order of the rules file.
        """
        sql, number = self.operations.sql, msgspec.json.decode(body, type=_Reference).digest
        row = sql[_READ].run(cursor, digest=number).fetchone()
        members = [_member(each) for each in sql[_MEMBERS].run(cursor, digest=number).fetchall()]
        if row is None or not members:
            return None
        destination, since, closed_at, counts = row
        late = from_ms(closed_at) - from_ms(since) >= LATE
        made = arranged(
            members,
            order=order,
            destination=destination,
            closed_at=from_ms(closed_at),
            due_since=from_ms(since) if late else None,
            mutes=dict(self._mutes(cursor, {each.why for each in members})),
        )
        erased = max(sum(read_counts(counts).values()) - made.count, 0)
        return self._with_bodies(cursor, replace(made, erased=erased))

    def _with_bodies(self, cursor: Cursor, digest: Digest) -> Digest:
        """The digest with the hooks of as many chats as the rendering process may be given; the other chats are only counted."""
        room, groups = MOST_BYTES, []
        for group in digest.groups:
            members = []
            for member in group.members:
                row = self.operations.sql[_BODY].run(cursor, hook=member.hook_id).fetchone()
                room -= len(row[0]) if row else 0
                if row and room >= 0:
                    members.append(replace(member, body=bytes(row[0])))
            groups.append(replace(group, members=tuple(members)))
        return replace(digest, groups=tuple(groups))

    def _mutes(self, cursor: Cursor, reasons: Iterable[str]) -> Iterable[tuple[str, Mute]]:
        for why in reasons:
            if mute := self.mute(cursor, why):
                yield why, mute

    def mute(self, cursor: Cursor, why: str) -> Mute | None:
        """The mute because of which a delivery waited (`why`: `muted:3`); None for another reason, or where the mute was erased."""
        number = why.removeprefix(MUTED)
        if number == why or not number.isdecimal():
            return None
        row = self.operations.sql[_MUTE].run(cursor, mute=int(number)).fetchone()
        if row is None or row[0] == ERASED_MUTE:
            return None
        _, by, because, until, ended = row
        return Mute(by=by, because=because, until=from_ms(ended or until))


MOST_BYTES = 16 * 1024 * 1024
"""Limit for the compressed hooks of one digest together."""
_counts = msgspec.json.Decoder(dict[str, int])


def read_counts(text: str) -> dict[str, int]:
    """The stored counts of a digest's chats: by the reason to wait, and as `erased` those erased before it was closed."""
    return _counts.decode(text)


def _counted(members: Sequence[tuple[int, int, str, int]], erased: int) -> str:
    whys = {chat: why for _, chat, why, _ in reversed(members)}
    counts = Counter(whys.values())
    if erased:
        counts["erased"] = erased
    return msgspec.json.encode(counts).decode()


def _named(pair: tuple[str, str]) -> dict[str, str]:
    return {"of_destination": pair[0], "of_recipient": pair[1]}


def _member(row: tuple[Any, ...]) -> Member:
    account, chat, rule, why, created_at, missed, offline, hook_id, received_at = row
    return Member(
        account=account,
        chat=chat,
        rules=(rule,),
        why=why,
        arrived=from_ms(created_at),
        missed=bool(missed),
        offline=bool(offline),
        hook_id=hook_id,
        updated=from_ms(received_at),
    )
