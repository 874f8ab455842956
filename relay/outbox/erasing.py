"""Chats that are erased because somebody asks for it, in the session of `beside`; `upkeep` erases those that are old."""

from dataclasses import dataclass

import sqlalchemy as sa

from relay.outbox.records import is_chat
from relay.outbox.schema import chats, deliveries, hooks, set_aside
from relay.outbox.session import Session
from relay.outbox.values import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What was there of a chat."""

    hooks: int
    deliveries: int
    owed: int
    """Those of them that nobody gets any more."""


def erase_chat(session: Session, account: str, chat: str) -> Erased | None:
    """With its hooks, deliveries and attempts. None where it is not there.

    Raises BeingSent, and then nothing is changed: a message under way would be sent without a trace.
    """
    row = session.ask(sa.select(chats.c.id).where(*is_chat(account, chat))).fetchone()
    if row is None:
        return None
    this = row[0]
    # Locked where relays share a server, so that none of them claims one meanwhile; a file has one writer.
    states = sa.select(deliveries.c.state).where(deliveries.c.chat_id == this).with_for_update()
    found = [State(state) for (state,) in session.ask(states).fetchall()]
    if State.SENDING in found:
        raise BeingSent
    came = sa.select(sa.func.count()).where(hooks.c.chat_id == this)
    erased = Erased(
        hooks=session.ask(came).fetchone()[0],
        deliveries=len(found),
        owed=found.count(State.OWED),
    )
    session.ask(sa.delete(chats).where(chats.c.id == this))
    return erased


def erase_set_aside(session: Session, hook_id: int) -> bool:
    """A hook that could not be read; returns whether it was there."""
    gone = session.ask(sa.delete(set_aside).where(set_aside.c.id == hook_id))
    return bool(gone.rowcount == 1)


class BeingSent(Exception):
    """One of the chat's deliveries is on its way just now."""
