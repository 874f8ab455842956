"""Stores a hook with its chat, its bytes and its deliveries, inside the caller's transaction."""

import hashlib
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace

from relay.crash_points import CrashPoint, reach
from relay.outbox.delivery_types import (
    Accepted,
    NewDelivery,
    NewHook,
    State,
    Waits,
    from_ms,
    is_alert,
    keys_of,
    maybe_ms,
    packed,
    storable,
    to_ms,
    visitor_key,
)
from relay.outbox.limit_counts import plan_once
from relay.outbox.mutes import note_muted
from relay.outbox.pace import AT_ONCE, Hourly
from relay.outbox.schema import attempts, chats, deliveries, hook_bodies, hooks
from relay.outbox.statements import (
    SERVER_TIME,
    Insert,
    Query,
    Statements,
    bound,
    in_digest,
    inserted,
    is_scheduled,
)
from relay.outbox.writer import Cursor
from relay.timing.plan import AT_ONCE as TOLD_AT_ONCE
from relay.timing.plan import MUTED

_OF_A_CHAT = ("visitor", "began", "missed", "offline", "rating")
_OF_A_HOOK = (
    "chat_id",
    "body_hash",
    "received_at",
    "rules_hash",
    "trouble",
    "email_key",
    "visitor_key",
)
_OF_A_DELIVERY = (
    *("chat_id", "hook_id", "rule", "template", "destination", "recipient", "message_id"),
    *("instead_of", "created_at", "due_at", "state", "attempts", "lease_until"),
)
_OF_A_PLAN = ("why", "in_digest", "visitor", "settled_at")
# Columns that are written again where a delivery was moved to another destination and is now moved back.
_REWRITTEN = ("hook_id", "template", "instead_of", "created_at", "due_at", "state", "failures")
_REWRITTEN_PLAN = ("why", "in_digest", "released_at", "digest_id", "settled_at")


@Query
def _upsert_chat(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    chat = inserted(insert, chats, "account", "chat", "first_seen", "last_seen", *_OF_A_CHAT)
    return chat.on_conflict_do_update(
        index_elements=["account", "chat"],
        set_={name: chat.excluded[name] for name in ("last_seen", *_OF_A_CHAT)},
    ).returning(chats.c.id, chats.c.first_seen)


def _insert_delivery(insert: Insert, *of_its_plan: str) -> Any:  # noqa: ANN401 - dialects share no type
    queued = inserted(insert, deliveries, *_OF_A_DELIVERY, *of_its_plan).values(
        failures=0, unsure=0, suspect=False, lost=0, short=False, detail="", receipt=""
    )
    return queued.on_conflict_do_update(
        index_elements=["chat_id", "rule", "destination", "recipient", "step"],
        set_={name: queued.excluded[name] for name in (*_REWRITTEN, *_REWRITTEN_PLAN)},
        where=deliveries.c.state == sa.literal_column("'moved'"),
    ).returning(deliveries.c.id)


_INSERT_DELIVERY = Query(_insert_delivery)
INSERT_PLANNED = Query(lambda insert: _insert_delivery(insert, *_OF_A_PLAN))
_DIGEST_DUE = Query(
    sa.select(sa.func.min(deliveries.c.due_at)).where(
        is_scheduled,
        in_digest,
        deliveries.c.destination == bound("destination"),
        deliveries.c.recipient == bound("recipient"),
        deliveries.c.due_at > bound("now"),
    )
)
_GIVE_NEWEST_HOOK = Query(
    sa.update(deliveries)
    .where(deliveries.c.chat_id == bound("of_chat"), is_scheduled)
    .values(hook_id=bound("newest"))
)
_INSERT_HOOK = Query(
    lambda insert: (
        inserted(insert, hooks, *_OF_A_HOOK).on_conflict_do_nothing().returning(hooks.c.id)
    )
)
_INSERT_BODY = Query(lambda insert: inserted(insert, hook_bodies, "hook_id", "body", "verdicts"))
_INSERT_ATTEMPT = Query(
    lambda insert: inserted(insert, attempts, "delivery_id", "number", "started_at", "detail")
)


@dataclass(frozen=True, slots=True)
class Accepting:
    """Stores hooks and queues their deliveries, in the writer's thread and inside a transaction of the caller's."""

    sql: Statements
    holder: str = ""
    """Identifies the relay that claims; stored as the detail of an unfinished attempt. Empty for a file."""
    most_per_hour: dict[str, int] = field(default_factory=dict)
    """The hourly limit of each destination that has one, by name. Kept up to date by the code that loads the rules."""
    waits: Waits = field(default_factory=Waits)

    @property
    def hourly(self) -> Hourly:
        """The hourly limits of destinations, with what they have sent."""
        return Hourly(self.sql, self.most_per_hour)

    def accept(
        self,
        cursor: Cursor,
        hook: NewHook,
        *,
        due: datetime | None = None,
        lease: timedelta = timedelta(),
        places: Callable[[Cursor], Mapping[str, int]] = lambda _: {},
    ) -> Accepted:
        """Store a hook and queue its deliveries, due at `due` or at once. Existing deliveries stay as they are.

        Of a new chat, as many deliveries as `places` allows for each destination are claimed at once, for the time
        `lease`.
        """
        now = to_ms(hook.received_at)
        if is_alert(hook.chat.account, hook.chat.id):
            due = from_ms(AT_ONCE)
        chat_id, first_seen = self._keep_chat(cursor, hook, now)
        hook_id = self._keep_hook(cursor, hook, chat_id, now)
        if hook_id is None:
            return Accepted(new=False, destinations=())
        # A known chat may have a thread to reply in, for which only a claim looks.
        free = dict(places(cursor)) if first_seen == now else {}
        if free and self.most_per_hour and not is_alert(hook.chat.account, hook.chat.id):
            free = self.hourly.within(cursor, free, hook.received_at)
        queued, claimed, scheduled = list[str](), [], 0
        for new in hook.deliveries:
            if not new.is_plain:
                visitor = visitor_key(hook.chat.visitor)
                ids = {"chat_id": chat_id, "hook_id": hook_id}
                state = self._plan(cursor, _for_hook(new, queued), now, visitor=visitor, **ids)
                queued += [new.destination] * (state == State.QUEUED)
                scheduled += state == State.SCHEDULED
                continue
            until = hook.received_at + lease if free.get(new.destination) else None
            id_ = self._queue(cursor, chat_id, hook_id, new, now, due=due, lease_until=until)
            if id_ is None:
                continue
            queued.append(new.destination)
            if until is not None:
                reach(CrashPoint.LEASED_AT_ONCE)
                self._begin(cursor, id_, 1, now)
                claimed.append(new.first_attempt(hook, delivery_id=id_, hook_id=hook_id))
                free[new.destination] -= 1
        if first_seen != now and self.waits.some:
            self.sql[_GIVE_NEWEST_HOOK].run(cursor, of_chat=chat_id, newest=hook_id)
        reach(CrashPoint.ACCEPTING)
        return Accepted(
            new=True, destinations=tuple(queued), scheduled=scheduled, claimed=tuple(claimed)
        )

    def _keep_chat(self, cursor: Cursor, hook: NewHook, now: int) -> tuple[int, int]:
        """Store or update a chat. Returns its number, and when its first hook came, in milliseconds."""
        chat = hook.chat
        kept = self.sql[_upsert_chat].run(
            cursor,
            account=storable(chat.account),
            chat=storable(chat.id),
            first_seen=now,
            last_seen=now,
            visitor=storable(chat.visitor.name),
            began=maybe_ms(chat.began),
            missed=chat.missed,
            offline=chat.offline,
            rating=chat.rating,
        )
        number, first_seen = kept.fetchone()
        return number, first_seen

    def _keep_hook(self, cursor: Cursor, hook: NewHook, chat_id: int, now: int) -> int | None:
        """Store a hook. Returns its number; None where a hook with the same bytes is stored already."""
        done = self.sql[_INSERT_HOOK].run(
            cursor,
            chat_id=chat_id,
            body_hash=hashlib.sha256(hook.body).digest(),
            received_at=now,
            rules_hash=hook.rules_hash,
            trouble=hook.trouble,
            **keys_of(hook.chat.visitor),
        )
        if (row := done.fetchone()) is None:
            return None
        hook_id: int = row[0]
        self.sql[_INSERT_BODY].run(
            cursor,
            hook_id=hook_id,
            body=zlib.compress(hook.body, 1),
            verdicts=packed(hook.verdicts),
        )
        reach(CrashPoint.KEPT)
        return hook_id

    def queue(
        self,
        cursor: Cursor,
        chat_id: int,
        hook_id: int,
        new: Iterable[NewDelivery],
        now: int,
        *,
        visitor: str = "",
    ) -> list[str]:
        """Queue deliveries of a hook. Returns the destinations of those that are new or had been moved. `visitor`: the key."""
        ids = {"chat_id": chat_id, "hook_id": hook_id}
        return [
            each.destination
            for each in new
            if self._plan(cursor, _for_hook(each), now, visitor=visitor or each.visitor, **ids)
            is not None
        ]

    def _queue(
        self,
        cursor: Cursor,
        chat_id: int,
        hook_id: int,
        new: NewDelivery,
        now: int,
        *,
        due: datetime | None = None,
        lease_until: datetime | None = None,
    ) -> int | None:
        """Queue a delivery, claimed if a lease is given. Returns its number; None where it exists and was not moved elsewhere."""
        is_claimed = lease_until is not None
        return self.insert(
            cursor,
            new,
            _INSERT_DELIVERY,
            chat_id=chat_id,
            hook_id=hook_id,
            created_at=now,
            due_at=now if due is None else to_ms(due),
            state=(State.SENDING if is_claimed else State.QUEUED).value,
            attempts=int(is_claimed),
            lease_until=maybe_ms(lease_until),
        )

    def insert(
        self, cursor: Cursor, new: NewDelivery, query: Query, **columns: int | str | None
    ) -> int | None:
        """Insert a delivery and return its number; None where it exists already and was not moved elsewhere."""
        done = self.sql[query].run(
            cursor,
            rule=new.rule,
            template=new.template,
            destination=new.destination,
            recipient=new.recipient,
            message_id=new.message_id,
            instead_of=new.instead_of,
            **columns,
        )
        row = done.fetchone()
        return row and row[0]  # type: ignore[no-any-return]

    def _plan(
        self, cursor: Cursor, new: NewDelivery, now: int, *, visitor: str = "", **ids: int
    ) -> State | None:
        """Store a delivery as its plan says, and return its state; None where it exists and was not moved elsewhere.

        `ids`: the numbers of its chat and hook.
        """
        timing, at = self.waits.timings.get(new.destination, TOLD_AT_ONCE), from_ms(now)
        plan = plan_once(
            self.sql, cursor, new, chat_id=ids["chat_id"], visitor=visitor, timing=timing, now=at
        )
        state, due = State(plan.state), now if plan.due is None else to_ms(plan.due)
        if plan.joins:
            where = {"destination": new.destination, "recipient": new.recipient}
            (waiting,) = self.sql[_DIGEST_DUE].run(cursor, now=now, **where).fetchone()
            due = min(due, due if waiting is None else waiting)
        if plan.limited and not plan.why and self.holder:
            # The release checks limits by the server's clock, and this relay's clock may be ahead of it.
            due = min(due, self.sql[SERVER_TIME].run(cursor).fetchone()[0])
        number = self.insert(
            cursor,
            new,
            INSERT_PLANNED,
            created_at=now,
            due_at=due,
            state=state.value,
            attempts=0,
            lease_until=None,
            why=plan.why,
            in_digest=plan.in_digest,
            visitor=visitor,
            settled_at=now if state is State.LEFT_OUT else None,
            **ids,
        )
        if number is not None and plan.why.startswith(MUTED):
            note_muted(self.sql, cursor, number, plan.why, timing=timing, now=at)
        self.waits.some |= state is State.SCHEDULED
        return None if number is None else state

    def _begin(self, cursor: Cursor, delivery_id: int, number: int, at: int) -> None:
        self.sql[_INSERT_ATTEMPT].run(
            cursor, delivery_id=delivery_id, number=number, started_at=at, detail=self.holder
        )


def _for_hook(new: NewDelivery, queued: Collection[str] = ()) -> NewDelivery:
    """The delivery, left out in favour of an urgent rule's only if this same hook notifies its destination, `queued`.

    A notification about an earlier hook of the chat does not contain what is new.
    """
    if new.plan.otherwise is None or new.destination in queued:
        return new
    return replace(new, plan=new.plan.otherwise)
