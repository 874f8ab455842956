"""Stores each text that the rules file had, and the drafts of the users who edit it."""

import zlib
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from relay.outbox.delivery_types import from_ms, storable, to_ms
from relay.outbox.schema import drafts, hooks, rules_versions, users
from relay.outbox.statements import Insert, Query, Statements, bound, inserted
from relay.outbox.writer import Cursor

KEPT = 100
"""The newest versions that are always kept; older ones are kept while a stored chat was checked by them."""
NEWEST = 2**62


class Version(Struct, frozen=True, kw_only=True):
    """A text of the rules file, and how it came there."""

    id: int = 0
    """The version's number, rising with time; 0 for one that is not stored yet."""
    hash: str
    """SHA-256 of its bytes, in hex."""
    seen_at: datetime
    by: str = ""
    """The name of a user; empty where the file was not saved by the console."""
    message: str = ""
    base_hash: str = ""
    """The hash of the previous text; empty where that is not known."""
    problems: tuple[str, ...] = ()
    """Why the text can't be used; empty where it can."""


class Draft(Struct, frozen=True, kw_only=True):
    """A user's unpublished draft of the rules file."""

    user: str
    """The user's name."""
    base_hash: str
    """The hash of the text from which the draft began."""
    text: str
    begun_at: datetime
    changed_at: datetime


_COLUMNS = [
    rules_versions.c[name]
    for name in ("id", "hash", "seen_at", "by", "message", "base_hash", "problems")
]
_NEWEST_FIRST = rules_versions.c.id.desc()
_LIST = Query(
    sa.select(*_COLUMNS)
    .where(rules_versions.c.id < bound("before"))
    .order_by(_NEWEST_FIRST)
    .limit(bound("most"))
)
_FIND = Query(
    sa.select(*_COLUMNS, rules_versions.c.text)
    .where(rules_versions.c.hash == bound("of_hash"))
    .order_by(_NEWEST_FIRST)
    .limit(1)
)
_REMOVE = Query(sa.delete(rules_versions).where(rules_versions.c.id == bound("number")))
_REFUSE = Query(
    sa.update(rules_versions)
    .where(rules_versions.c.id == bound("number"))
    .values(problems=bound("why"))
)
_kept = sa.select(rules_versions.c.id).order_by(_NEWEST_FIRST).limit(1).offset(bound("kept"))
_UNUSED = Query(
    sa.select(rules_versions.c.id).where(
        rules_versions.c.id <= _kept.scalar_subquery(),
        rules_versions.c.hash.not_in(sa.select(hooks.c.rules_hash)),
    )
)
_DRAFTS = Query(
    sa.select(users.c.name, *(drafts.c[name] for name in ("base_hash", "text", "begun_at")))
    .add_columns(drafts.c.changed_at)
    .join(users, users.c.id == drafts.c.user_id)
    .order_by(drafts.c.begun_at, users.c.name)
)
_DISCARD = Query(sa.delete(drafts).where(drafts.c.user_id == bound("of_user")))


@Query
def _add(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    columns = ("hash", "text", "seen_at", "by", "message", "base_hash", "problems")
    return inserted(insert, rules_versions, *columns).returning(rules_versions.c.id)


@Query
def _keep_draft(insert: Insert) -> Any:  # noqa: ANN401 - dialects share no type
    row = inserted(insert, drafts, "user_id", "base_hash", "text", "begun_at", "changed_at")
    changed = {name: row.excluded[name] for name in ("base_hash", "text", "changed_at")}
    return row.on_conflict_do_update(index_elements=["user_id"], set_=changed)


def list_versions(
    sql: Statements, cursor: Cursor, *, before: int = NEWEST, most: int = KEPT
) -> list[Version]:
    """At most `most` versions with a number below `before`, newest first."""
    return [_version(row) for row in sql[_LIST].run(cursor, before=before, most=most).fetchall()]


def find_version(sql: Statements, cursor: Cursor, hash_: str) -> tuple[Version, bytes] | None:
    """The newest version with this hash, and its bytes; None where there is none."""
    row = sql[_FIND].run(cursor, of_hash=hash_).fetchone()
    return (_version(row[:-1]), zlib.decompress(row[-1])) if row else None


def add_version(sql: Statements, cursor: Cursor, version: Version, packed: bytes) -> Version:
    """Store a text of the file, unless it is the newest version already; returns the stored version.

    `packed`: the text's bytes, compressed by zlib.
    """
    newest = next(iter(list_versions(sql, cursor, most=1)), None)
    why = msgspec.json.encode(version.problems).decode() if version.problems else ""
    if newest and newest.hash == version.hash:
        if why and not newest.problems:
            sql[_REFUSE].run(cursor, number=newest.id, why=storable(why))
        return newest
    row = sql[_add].run(
        cursor,
        hash=version.hash,
        text=packed,
        seen_at=to_ms(version.seen_at),
        by=storable(version.by),
        message=storable(version.message),
        base_hash=version.base_hash or (newest.hash if newest else ""),
        problems=storable(why),
    )
    return msgspec.structs.replace(version, id=row.fetchone()[0])


def remove_version(sql: Statements, cursor: Cursor, number: int) -> None:
    """Delete a version that was stored before the file was written, because writing failed."""
    sql[_REMOVE].run(cursor, number=number)


def unused_versions(sql: Statements, cursor: Cursor) -> list[int]:
    """The numbers of old versions by which no stored chat was checked. Reads all hooks."""
    return [number for (number,) in sql[_UNUSED].run(cursor, kept=KEPT).fetchall()]


def all_drafts(sql: Statements, cursor: Cursor) -> list[Draft]:
    """The drafts of all users, oldest first."""
    return [
        Draft(
            user=user,
            base_hash=base,
            text=zlib.decompress(text).decode(),
            begun_at=from_ms(begun),
            changed_at=from_ms(changed),
        )
        for user, base, text, begun, changed in sql[_DRAFTS].run(cursor).fetchall()
    ]


def keep_draft(
    sql: Statements, cursor: Cursor, user: int, *, base_hash: str, text: str, now: datetime
) -> None:
    """Store a user's draft; replaces their previous one."""
    sql[_keep_draft].run(
        cursor,
        user_id=user,
        base_hash=base_hash,
        text=zlib.compress(text.encode("utf-8", "replace")),
        begun_at=to_ms(now),
        changed_at=to_ms(now),
    )


def discard_draft(sql: Statements, cursor: Cursor, user: int) -> None:
    """Delete a user's draft."""
    sql[_DISCARD].run(cursor, of_user=user)


def _version(row: Any) -> Version:  # noqa: ANN401 - drivers share no type
    number, hash_, seen_at, by, message, base_hash, problems = row
    return Version(
        id=number,
        hash=hash_,
        seen_at=from_ms(seen_at),
        by=by,
        message=message,
        base_hash=base_hash,
        problems=msgspec.json.decode(problems, type=tuple[str, ...]) if problems else (),
    )
