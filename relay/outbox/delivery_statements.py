"""The statements that carry a delivery from owed to settled, as SQLAlchemy Core."""

import zlib
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from relay.outbox.rows import ITSELF, Delivery, from_ms
from relay.outbox.schema import attempts, chats, deliveries, hook_bodies

Insert = Callable[[sa.Table], Any]
"""A dialect's own INSERT, which knows ON CONFLICT: they share no type."""
Constructs = dict[str, sa.sql.expression.ClauseElement]
"""Statements by the names that `Statements` has for them.

Parameters of an UPDATE are not called like its columns (`words` for `detail`, `number` for `attempts`): SQLAlchemy
reserves a column's own name for the value that is set.
"""

# Written out, not bound: a partial index is only used where the statement spells its condition.
_queued: sa.ColumnElement[str] = sa.literal_column("'queued'")
_sending: sa.ColumnElement[str] = sa.literal_column("'sending'")
is_queued = deliveries.c.state == _queued
is_sending = deliveries.c.state == _sending


def bound(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name)


def _ms(name: str) -> sa.BindParameter[int]:
    return sa.bindparam(name, type_=sa.BigInteger)


def text(name: str) -> sa.BindParameter[str]:
    return sa.bindparam(name, type_=sa.Text)


def inserted(insert: Insert, table: sa.Table, *columns: str) -> Any:  # noqa: ANN401
    return insert(table).values({column: bound(column) for column in columns})


def least_of(*questions: sa.Select[Any]) -> sa.Select[Any]:
    """The smallest of the numbers that the questions find, none of them null."""
    found = sa.union_all(*(sa.select(one.scalar_subquery().label("found")) for one in questions))
    return sa.select(sa.func.min(found.subquery().c.found))


_earlier = deliveries.alias("earlier")
_first_receipt = (
    sa.select(_earlier.c.receipt)
    .where(
        _earlier.c.chat_id == deliveries.c.chat_id,
        _earlier.c.destination == deliveries.c.destination,
        _earlier.c.recipient == deliveries.c.recipient,
        _earlier.c.id < deliveries.c.id,
        _earlier.c.receipt != "",
    )
    .order_by(_earlier.c.id)
    .limit(1)
    .scalar_subquery()
)
_claimed_columns = (
    deliveries.c.id,
    chats.c.account,
    chats.c.chat,
    deliveries.c.hook_id,
    deliveries.c.rule,
    deliveries.c.template,
    deliveries.c.destination,
    deliveries.c.recipient,
    deliveries.c.message_id,
    deliveries.c.created_at,
    (deliveries.c.attempts + 1).label("attempt"),
    deliveries.c.failures,
    deliveries.c.unsure,
    deliveries.c.short,
    deliveries.c.suspect,
    deliveries.c.receipt,
    sa.func.coalesce(_first_receipt, "").label("thread_receipt"),
    hook_bodies.c.body,
    deliveries.c.instead_of,
)


def claimed_delivery(row: tuple[Any, ...]) -> Delivery:
    """Of the columns above."""
    (id_, account, chat, hook_id, rule, template, destination, recipient, message_id) = row[:9]
    created_at, attempt, failures, unsure, short, suspect, receipt, thread, body, instead_of = row[
        9:
    ]
    return Delivery(
        id=id_,
        account=account,
        chat=chat,
        hook_id=hook_id,
        rule=rule,
        template=template,
        destination=destination,
        recipient=recipient,
        message_id=message_id,
        created_at=from_ms(created_at),
        attempt=attempt,
        failures=failures,
        unsure=unsure,
        short=bool(short),
        suspect=bool(suspect),
        receipt=receipt,
        thread_receipt=thread,
        body=zlib.decompress(body),
        instead_of=instead_of,
    )


_owed_there = (
    sa.select(*_claimed_columns)
    .select_from(
        deliveries.join(chats, chats.c.id == deliveries.c.chat_id).join(
            hook_bodies, hook_bodies.c.hook_id == deliveries.c.hook_id
        )
    )
    .where(is_queued, deliveries.c.destination == bound("destination"))
    .limit(bound("limit"))
    # What another process is claiming at this moment is passed by. SQLite has one writer, and no such words.
    .with_for_update(of=deliveries, skip_locked=True)
)
_find_due = _owed_there.where(
    deliveries.c.suspect == bound("is_suspect"),
    deliveries.c.due_at > bound("due_after"),
    deliveries.c.due_at <= bound("now"),
).order_by(deliveries.c.due_at, deliveries.c.id)
_is_alert = chats.c.account == sa.literal_column(f"'{ITSELF}'")
_OF_ALERTS = {
    "find_due_alerts": _find_due.where(_is_alert),
    "next_alert_due": sa.select(sa.func.min(deliveries.c.due_at))
    .join(chats, chats.c.id == deliveries.c.chat_id)
    .where(is_queued, deliveries.c.destination == bound("destination"), _is_alert),
}
_find_waiting = _owed_there.where(
    deliveries.c.created_at <= bound("owed_by"), deliveries.c.id > bound("after")
).order_by(deliveries.c.id)

_NEW_ATTEMPT = ("delivery_id", "number", "started_at", "detail")
_this = deliveries.c.id == bound("delivery_id")
_still_ours = sa.and_(_this, is_sending, deliveries.c.attempts == bound("number"))

# Whoever is under way when a process dies is a suspect, and is not to blame yet: from then on suspects
# are tried one at a time, and one that is lost again as the only suspect is blamed, and waits.
_blamed = deliveries.c.lost + sa.case((deliveries.c.suspect, 1), else_=0)
_is_poison = _blamed >= bound("most_lost")
_lease_lost = {
    "suspect": True,
    "lost": _blamed,
    "lease_until": sa.null(),
    "state": sa.case((_is_poison, "quarantined"), else_="queued"),
    "settled_at": sa.case((_is_poison, _ms("now")), else_=sa.null()),
    "due_at": sa.case(
        (_blamed == 0, deliveries.c.due_at),
        (_blamed == 1, _ms("now") + _ms("first_wait")),
        else_=_ms("now") + _ms("next_wait"),
    ),
    "detail": bound("detail"),
}


_settle = (
    sa.update(deliveries)
    .where(_still_ours)
    .values(
        state=bound("to_state"),
        due_at=sa.func.coalesce(_ms("due"), deliveries.c.due_at),
        settled_at=bound("settled"),
        lease_until=sa.null(),
        failures=deliveries.c.failures + bound("counts"),
        unsure=deliveries.c.unsure + bound("is_unsure"),
        suspect=False,
        lost=0,
        short=bound("shortened"),
        detail=bound("words"),
        receipt=sa.case(
            (text("new_receipt") != "", text("new_receipt")), else_=deliveries.c.receipt
        ),
    )
)

# Due since it was first owed: so the oldest goes first, and what comes from now on can be told apart from it.
_hasten = (
    sa.update(deliveries)
    .where(is_queued, deliveries.c.destination == bound("of_destination"))
    .values(
        due_at=sa.case(
            (deliveries.c.created_at < _ms("now"), deliveries.c.created_at), else_=_ms("now")
        )
    )
)

# -- leases, and what a process looks at now and then ---------------------------------------------------
_held_by = (
    sa.select(attempts.c.detail)
    .where(attempts.c.delivery_id == deliveries.c.id, attempts.c.number == deliveries.c.attempts)
    .correlate(deliveries)
    .scalar_subquery()
)
"""While an attempt is under way its detail says whose it is: see `Operations.holder`."""
_LEASES = {
    "find_expired": sa.select(deliveries.c.id, deliveries.c.attempts, deliveries.c.destination)
    .where(is_sending, deliveries.c.lease_until <= bound("expired_by"))
    .with_for_update(skip_locked=True),
    "find_held": sa.select(deliveries.c.id, deliveries.c.attempts, deliveries.c.destination)
    .where(is_sending, sa.func.coalesce(_held_by, "") == text("held_by"))
    .with_for_update(skip_locked=True),
    "give_back": sa.update(deliveries)
    .where(_still_ours)
    .values(state="queued", lease_until=sa.null(), detail=bound("words")),
    "lose_lease": sa.update(deliveries).where(_this).values(_lease_lost),
    "end_lost_attempt": sa.update(attempts)
    .where(
        attempts.c.delivery_id == bound("delivery_id"),
        attempts.c.number == bound("at_number"),
        attempts.c.ended_at.is_(None),
    )
    .values(ended_at=bound("now"), ending=bound("how"), detail=bound("words")),
    "renew_lease": sa.update(deliveries)
    .where(_still_ours)
    .values(lease_until=bound("lease_until_at")),
}


def _first_due(is_suspect: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """By the index, however many wait: one that asks for both kinds at once reads all of them."""
    return (
        sa.select(deliveries.c.due_at)
        .where(
            is_queued,
            deliveries.c.destination == bound("destination"),
            deliveries.c.suspect == is_suspect,
        )
        .order_by(deliveries.c.due_at)
        .limit(1)
    )


def _first_owed(*after: sa.ColumnElement[bool]) -> sa.ScalarSelect[str]:
    return (
        sa.select(deliveries.c.destination)
        .where(is_queued, *after)
        .order_by(deliveries.c.destination)
        .limit(1)
        .scalar_subquery()
    )


# From one destination to the next by the index, however many deliveries wait at each.
_owing = sa.select(_first_owed().label("name")).cte("owing", recursive=True)
_owing = _owing.union_all(
    sa.select(_first_owed(deliveries.c.destination > _owing.c.name)).where(
        _owing.c.name.is_not(None)
    )
)
_owed_now = sa.select(_owing.c.name).where(
    sa.or_(
        *(
            sa.exists().where(
                is_queued,
                deliveries.c.destination == _owing.c.name,
                deliveries.c.suspect == is_suspect,
                deliveries.c.due_at <= bound("now"),
            )
            for is_suspect in (sa.false(), sa.true())
        )
    )
)


def of_deliveries(insert: Insert) -> Constructs:
    """What becomes of a delivery."""
    return {
        "find_due": _find_due,
        **_OF_ALERTS,
        "next_due": least_of(*map(_first_due, (sa.false(), sa.true()))),
        "lease": sa.update(deliveries)
        .where(_this)
        .values(
            state="sending",
            attempts=deliveries.c.attempts + 1,
            lease_until=bound("lease_until_at"),
        ),
        "insert_attempt": inserted(insert, attempts, *_NEW_ATTEMPT),
        "settle": _settle,
        "settle_late": sa.update(deliveries)
        .where(
            _this,
            # Not of what a person sent again meanwhile: that is another message.
            deliveries.c.message_id == bound("told_of"),
            deliveries.c.state != "delivered",
            deliveries.c.state != "accepted",
        )
        .values(
            state=bound("to_state"),
            settled_at=bound("settled"),
            lease_until=sa.null(),
            detail=bound("words"),
        ),
        "end_attempt": sa.update(attempts)
        .where(
            attempts.c.delivery_id == bound("delivery_id"), attempts.c.number == bound("at_number")
        )
        .values(ended_at=bound("ended"), ending=bound("how"), detail=bound("words")),
        "find_waiting": _find_waiting,
        "reassign": sa.update(deliveries)
        .where(_this, is_queued)
        .values(state="moved", settled_at=bound("settled"), detail=bound("words")),
        "find_chat": sa.select(deliveries.c.chat_id, deliveries.c.hook_id).where(_this),
        **_LEASES,
        "hasten": _hasten.where(deliveries.c.due_at > deliveries.c.created_at),
        "hasten_blips": _hasten.where(
            deliveries.c.due_at > bound("now"),
            deliveries.c.due_at <= bound("blip_until"),
            deliveries.c.failures == 1,
            deliveries.c.unsure == 0,
        ),
        "recall": _hasten.where(deliveries.c.due_at > bound("beyond")),
        "owed_now": _owed_now,
    }
