"""Stores mutes, of the rules file and of people, and holds back deliveries. Ended mutes stay, as the history names them."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct

from relay.crash_points import CrashPoint, reach
from relay.outbox.delivery_types import ITSELF, from_ms, maybe_time, storable, to_ms
from relay.outbox.schema import chats, deliveries, hook_bodies, mutes
from relay.outbox.statements import (
    Insert,
    Query,
    Statements,
    any_state,
    bound,
    inserted,
    is_queued,
    is_scheduled,
    ms,
)
from relay.outbox.writer import Cursor
from relay.timing.plan import AT_ONCE, MUTED, Mute, Plan, Timing

Origin = Literal["file", "command", "console", "api"]
_COLUMNS = (
    *("origin", "key", "what", "from_at", "until_at", "because", "by", "via", "then"),
    *("urgent_too", "alerts_too", "created_at", "ended_by", "matched"),
)
_this = mutes.c.id == bound("mute_id")
_lasts = sa.and_(mutes.c.ended_at.is_(None), mutes.c.until_at > bound("now"))
_all = sa.select(
    *(mutes.c.id, mutes.c.origin, mutes.c.what, mutes.c.from_at, mutes.c.until_at),
    *(mutes.c.because, mutes.c.by, mutes.c.then, mutes.c.urgent_too, mutes.c.alerts_too),
    *(mutes.c.created_at, mutes.c.ended_at, mutes.c.ended_by, mutes.c.matched),
).order_by(mutes.c.id)
_LASTING = Query(_all.where(_lasts))
_EVERY, _BY_ID = Query(_all), Query(_all.where(_this))
_INSERT = Query(lambda insert: _inserted(insert).returning(mutes.c.id))
_FROM_FILE = Query(
    # The entry may have been removed from the file and put back.
    lambda insert: _inserted(insert).on_conflict_do_update(
        index_elements=["origin", "key"], set_={"ended_at": sa.null(), "ended_by": ""}
    )
)
_FILE_KEYS = Query(
    sa.select(mutes.c.id, mutes.c.key).where(mutes.c.origin == "file", mutes.c.ended_at.is_(None))
)
_END = Query(
    sa.update(mutes)
    .where(_this, mutes.c.ended_at.is_(None))
    .values(ended_at=bound("ended"), ended_by=bound("who"))
)
_COUNT = Query(
    sa.update(mutes).where(_this, mutes.c.ended_at.is_(None)).values(matched=mutes.c.matched + 1)
)
_is_held = sa.and_(is_scheduled, deliveries.c.why == bound("held_by"))
_HELD_FOR = Query(sa.select(deliveries.c.destination).where(_is_held).distinct())
_is_own = deliveries.c.template == sa.literal_column("''")
"""Whether a delivery is an alert or a digest, which is about no single chat: it waits for mutes only, not for hours."""
_DUE = Query(
    sa.update(deliveries)
    .where(_is_held, deliveries.c.destination == bound("of_destination"))
    .values(due_at=sa.case((_is_own, ms("own_due")), else_=ms("now_due")), why=bound("because"))
)
_REMIND = Query(
    sa.update(mutes)
    .where(_this, sa.func.coalesce(mutes.c.reminded_at, 0) < bound("since"))
    .values(reminded_at=bound("reminded"))
)


def _inserted(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    return inserted(insert, mutes, *_COLUMNS)


class KeptMute(Struct, frozen=True, kw_only=True):
    """A stored mute, with its origin and what it has held back."""

    mute: Mute
    origin: str
    created_at: datetime
    ended_at: datetime | None
    """When somebody ended it early; None where nobody did."""
    ended_by: str
    matched: int
    """How many deliveries the mute has held back or dropped."""

    def lasts(self, now: datetime) -> bool:
        """Whether the mute is in force, or will be."""
        return self.ended_at is None and now < self.mute.until


def _kept(row: Sequence[Any]) -> KeptMute:
    (id_, origin, scope, begins, until, because, by, then, urgent, alerts) = row[:10]
    created, ended, ended_by, matched = row[10:]
    return KeptMute(
        mute=Mute(
            id=id_,
            **json.loads(scope),
            begins=from_ms(begins),
            until=from_ms(until),
            because=because,
            by=by,
            then=then,
            urgent_too=bool(urgent),
            alerts_too=bool(alerts),
        ),
        origin=origin,
        created_at=from_ms(created),
        ended_at=maybe_time(ended),
        ended_by=ended_by,
        matched=matched,
    )


def lasting_mutes(sql: Statements, cursor: Cursor, now: datetime) -> list[KeptMute]:
    """The mutes that are in force or will be, by number."""
    return [_kept(row) for row in sql[_LASTING].run(cursor, now=to_ms(now)).fetchall()]


def all_mutes(sql: Statements, cursor: Cursor) -> list[KeptMute]:
    """All mutes that ever were, by number."""
    return [_kept(row) for row in sql[_EVERY].run(cursor).fetchall()]


def find_mute(sql: Statements, cursor: Cursor, number: int) -> KeptMute | None:
    """The mute with this number; None where there never was one."""
    row = sql[_BY_ID].run(cursor, mute_id=number).fetchone()
    return _kept(row) if row else None


def _values(mute: Mute, origin: Origin, key: str, via: str, now: datetime) -> dict[str, Any]:
    scope = {"rule": mute.rule, "destination": mute.destination, "when": mute.when}
    return {
        "origin": origin,
        "key": key,
        "what": json.dumps(
            {name: value for name, value in scope.items() if value}, ensure_ascii=False
        ),
        "from_at": to_ms(mute.begins),
        "until_at": to_ms(mute.until),
        "because": storable(mute.because),
        "by": storable(mute.by),
        "via": via,
        "then": mute.then,
        "urgent_too": mute.urgent_too,
        "alerts_too": mute.alerts_too,
        "created_at": to_ms(now),
        "ended_by": "",
        "matched": 0,
    }


def add_mute(
    sql: Statements,
    cursor: Cursor,
    mute: Mute,
    *,
    origin: Origin,
    key: str,
    via: str,
    now: datetime,
) -> int:
    """Store a mute and return its number. `key` is unique among mutes of one origin."""
    row = sql[_INSERT].run(cursor, **_values(mute, origin, key, via, now)).fetchone()
    return int(row[0])


def follow_file(
    sql: Statements,
    cursor: Cursor,
    from_file: Iterable[Mute],
    timings: Mapping[str, Timing],
    now: datetime,
) -> list[str]:
    """Store the mutes of the rules file, and end those that are no longer in it.

    Returns the destinations of deliveries that are due now because their mute has ended. `timings`: by destination.
    """
    wanted = {_key(mute): mute for mute in from_file}
    known = {key: number for number, key in sql[_FILE_KEYS].run(cursor).fetchall()}
    for key, mute in wanted.items():
        if key not in known:
            sql[_FROM_FILE].run(cursor, **_values(mute, "file", key, "rules file", now))
            reach(CrashPoint.MUTE_KEPT)
    lasting = {each.mute.id: each.mute for each in lasting_mutes(sql, cursor, now)}
    ending = [number for key, number in known.items() if key not in wanted]
    due: list[str] = []
    for number in ending:
        same = [each for each in lasting.values() if _is_edited(lasting.get(number), each)]
        if heirs := [each for each in same if each.id not in ending]:
            _pass_on(sql, cursor, number, max(heirs, key=lambda each: each.until), timings)
        due += end_mute(sql, cursor, number, by="rules file", timings=timings, now=now) or ()
    return due


def _is_edited(old: Mute | None, new: Mute) -> bool:
    """Whether `new` mutes the same rule, destination and condition as `old`, and so takes its place."""
    return old is not None and all(
        getattr(old, name) == getattr(new, name) for name in ("rule", "destination", "when")
    )


def _pass_on(
    sql: Statements, cursor: Cursor, number: int, to: Mute, timings: Mapping[str, Timing]
) -> None:
    """Let the deliveries that a mute has held back wait for the end of another mute."""
    why, heir = f"{MUTED}{number}", f"{MUTED}{to.id}"
    for (name,) in sql[_HELD_FOR].run(cursor, held_by=why).fetchall():
        due = _due(timings, name, to.until)
        sql[_DUE].run(cursor, held_by=why, of_destination=name, because=heir, **due)


def _due(timings: Mapping[str, Timing], destination: str, until: datetime) -> dict[str, int]:
    """When deliveries held back until `until` are due: those about chats (`now_due`), and alerts and digests (`own_due`)."""
    due = timings.get(destination, AT_ONCE).after_hold(until)
    return {"now_due": to_ms(due), "own_due": to_ms(until)}


def _key(mute: Mute) -> str:
    parts = (
        *(mute.rule, mute.destination, mute.when, mute.begins.isoformat(), mute.until.isoformat()),
        *(mute.because, mute.by, mute.then, str(mute.urgent_too), str(mute.alerts_too)),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def end_mute(
    sql: Statements,
    cursor: Cursor,
    number: int,
    *,
    by: str,
    timings: Mapping[str, Timing],
    now: datetime,
) -> list[str] | None:
    """End a mute. What it has held back is due now, or at its destination's next digest or hours.

    Returns the destinations of what it has held back; None where the mute had ended already.
    """
    if sql[_END].run(cursor, mute_id=number, ended=to_ms(now), who=storable(by)).rowcount != 1:
        return None
    why = f"{MUTED}{number}"
    names = [name for (name,) in sql[_HELD_FOR].run(cursor, held_by=why).fetchall()]
    for name in names:
        due = _due(timings, name, now)
        sql[_DUE].run(cursor, held_by=why, of_destination=name, because=why, **due)
    reach(CrashPoint.MUTE_ENDING)
    return names


_HOLD_NO_LONGER = Query(
    sa.update(deliveries)
    .where(deliveries.c.id == bound("delivery_id"))
    .values(state="scheduled", due_at=bound("now_due"), settled_at=sa.null(), in_digest=~_is_own)
)


def note_muted(
    sql: Statements, cursor: Cursor, delivery_id: int, why: str, *, timing: Timing, now: datetime
) -> None:
    """Count a new delivery that a mute holds back. If the mute has ended without this relay's knowledge, make it due."""
    number = int(why.removeprefix(MUTED))
    if not count_muted(sql, cursor, number) and find_mute(sql, cursor, number):
        due = to_ms(timing.after_hold(now))  # an alert is released then, whatever the hours say
        sql[_HOLD_NO_LONGER].run(cursor, delivery_id=delivery_id, now_due=due)


def count_muted(sql: Statements, cursor: Cursor, number: int) -> bool:
    """Count one more delivery that a mute has held back; False where the mute has ended, which this relay did not know yet."""
    return bool(sql[_COUNT].run(cursor, mute_id=number).rowcount == 1)


def remind(sql: Statements, cursor: Cursor, number: int, *, since: datetime, now: datetime) -> bool:
    """Store that somebody is reminded of a mute now; False where somebody was reminded since `since`.

    Of several relays only one gets True.
    """
    done = sql[_REMIND].run(cursor, mute_id=number, since=to_ms(since), reminded=to_ms(now))
    return bool(done.rowcount == 1)


_WAITING = Query(
    sa.select(deliveries.c.id, deliveries.c.rule, deliveries.c.destination, hook_bodies.c.body)
    .join(hook_bodies, hook_bodies.c.hook_id == deliveries.c.hook_id)
    .where(
        any_state((is_scheduled, is_queued)),
        deliveries.c.attempts == sa.literal_column("0"),
        deliveries.c.digest_id.is_(None),
        deliveries.c.chat_id.in_(sa.select(chats.c.id).where(chats.c.account != ITSELF)),
    )
    .order_by(deliveries.c.id)
)
_HOLD = Query(
    sa.update(deliveries)
    .where(
        deliveries.c.id == bound("delivery_id"),
        sa.or_(is_scheduled, is_queued),
        deliveries.c.attempts == sa.literal_column("0"),
    )
    .values(
        state=bound("to_state"),
        due_at=bound("now_due"),
        settled_at=bound("settled"),
        why=bound("held_by"),
        in_digest=bound("to_digest"),
    )
)


def hold_waiting(
    sql: Statements,
    cursor: Cursor,
    number: int,
    plan_of: Callable[[str, str, bytes], Plan | None],
    now: datetime,
) -> int:
    """Hold back deliveries that wait already and were not tried; returns how many.

    `plan_of` gets a delivery's rule, its destination and the hook of its chat, and returns its plan; None: not held
    back.
    """
    held = 0
    for id_, rule, destination, body in sql[_WAITING].run(cursor).fetchall():
        if (plan := plan_of(rule, destination, zlib.decompress(body))) is None:
            continue
        is_left_out = plan.state == "left out"
        done = sql[_HOLD].run(
            cursor,
            delivery_id=id_,
            to_state=plan.state,
            now_due=to_ms(plan.due or now),
            settled=to_ms(now) if is_left_out else None,
            held_by=f"{MUTED}{number}",
            to_digest=not is_left_out,
        )
        held += done.rowcount == 1 and count_muted(sql, cursor, number)
    return held
