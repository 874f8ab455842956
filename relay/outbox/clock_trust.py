"""Whether the clock may say which chats are old: by one that was set ahead, all of them would be."""

from datetime import datetime, timedelta
from functools import partial

from relay.outbox import Outbox
from relay.outbox.columns import from_ms
from relay.outbox.store import Cursor
from relay.outbox.troubles import Troubles

LONGEST_GAP = timedelta(days=7)
"""Between two looks at the clock. After a longer one it was set ahead, or the relay was off."""
DOUBT = timedelta(days=1)
"""For so long the clock must then go on from there before it is trusted."""
TRUSTED, DOUBTED = "clock trusted", "clock doubted"
"""Names of marks."""


async def doubt_about(now: datetime, outbox: Outbox) -> str:
    """Why the clock can't be trusted, as a sentence; empty if it can. Remembers the answer for the next time."""
    return await outbox.run(partial(_doubt, outbox=outbox, now=now))


def _doubt(cursor: Cursor, *, outbox: Outbox, now: datetime) -> str:
    store = Troubles(outbox.operations.sql)
    marks = store.marks(cursor)
    lately = marks.get(TRUSTED) or _last_hook(cursor, outbox) or now
    since = marks.get(DOUBTED, now)
    if not now - LONGEST_GAP <= since <= now:
        since = now
    trusted = now - lately <= LONGEST_GAP or now - since >= DOUBT
    store.set_mark(cursor, DOUBTED, now if trusted else since)
    if trusted:
        store.set_mark(cursor, TRUSTED, now)
        return ""
    return (
        f"the clock went {(now - lately).days} days ahead since the relay last looked at it; "
        f"if it is right, old chats are erased from {since + DOUBT:%Y-%m-%d %H:%M} UTC on"
    )


def _last_hook(cursor: Cursor, outbox: Outbox) -> datetime | None:
    row = outbox.operations.sql.last_hook.run(cursor).fetchone()
    return from_ms(row[0]) if row else None
