"""What a command lets be owed once more, in the session of `beside`."""

import hashlib
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace

from relay.outbox.columns import packed, to_ms
from relay.outbox.history import Record, SetAside, is_chat
from relay.outbox.rows import Gate, NewDelivery, NewHook, State
from relay.outbox.schema import chats, deliveries, hook_bodies, hooks, set_aside
from relay.outbox.session import Session


def owe_again(session: Session, record: Record, message_id: str, now: datetime) -> bool:
    """A settled delivery is owed anew, as the next generation; one that waits is due at once.

    Its schedule begins from the start, its attempts stay. Returns False where it is no longer as `record`
    says: being sent, or changed by somebody else meanwhile.
    """
    as_it_was = (
        deliveries.c.id == record.id,
        deliveries.c.state == record.state.value,
        deliveries.c.generation == record.generation,
    )
    change = sa.update(deliveries).where(*as_it_was)
    if record.state is State.QUEUED:
        changed = session.ask(change.values(due_at=to_ms(now)))
    elif record.state is State.SENDING:
        return False
    else:
        changed = session.ask(change.values(_anew(record, message_id, now)))
    return bool(changed.rowcount == 1)


def _anew(record: Record, message_id: str, now: datetime) -> dict[str, Any]:
    return {
        "state": State.QUEUED.value,
        "generation": record.generation + 1,
        "message_id": message_id,
        # The mail's date, and what the schedule counts from.
        "created_at": to_ms(now),
        "due_at": to_ms(now),
        "settled_at": sa.null(),
        "failures": 0,
        "unsure": 0,
        "suspect": sa.false(),
        "lost": 0,
        "short": sa.false(),
        # Or its transport would say that all is done already.
        "receipt": "",
    }


def look_now(session: Session, destination: str, gate: Gate, now: datetime) -> None:
    """A broken destination is asked at once whether it works again, by one of its deliveries."""
    session.operations.close_gate(session.cursor, destination, replace(gate, closed_until=now))
    session.operations.hasten(session.cursor, destination, now, blips=False)


def owe_missing(session: Session, hook_id: int, hook: NewHook) -> list[NewDelivery]:
    """Owe what is not owed yet for the hook's chat, as it is judged now; returns that."""
    this = hooks.c.id == hook_id
    chat_id = session.ask(sa.select(hooks.c.chat_id).where(this)).fetchone()[0]
    at = to_ms(hook.received_at)
    owed = [
        delivery
        for delivery in hook.deliveries
        if session.operations.owe(session.cursor, chat_id, hook_id, [delivery], at)
    ]
    session.ask(sa.update(hooks).where(this).values(rules_hash=hook.rules_hash, trouble=""))
    record = packed(hook.verdicts)
    session.ask(
        sa.update(hook_bodies).where(hook_bodies.c.hook_id == hook_id).values(verdicts=record)
    )
    return owed


def take_in(session: Session, aside: SetAside, hook: NewHook) -> list[NewDelivery]:
    """Keep a hook that was set aside with the others, now that it can be read; returns what is newly queued."""
    session.operations.accept(session.cursor, replace(hook, deliveries=()))
    session.ask(sa.delete(set_aside).where(set_aside.c.id == aside.id))
    ids = (
        sa.select(hooks.c.id)
        .join(chats, chats.c.id == hooks.c.chat_id)
        .where(
            *is_chat(hook.chat.account, hook.chat.id),
            hooks.c.digest == hashlib.sha256(hook.body).digest(),
        )
    )
    hook_id = session.ask(ids).fetchone()[0]
    return owe_missing(session, hook_id, hook)
