"""The outbox at a glance, for `/readyz` and the metrics."""

from typing import Any

from relay.outbox.columns import from_ms, maybe_time
from relay.outbox.rows import State, Summary
from relay.outbox.statements import Statement, Statements
from relay.outbox.store import Cursor


def summarize(sql: Statements, cursor: Cursor) -> Summary:
    """Reads what is live and what ended badly, never the whole history."""
    waiting = sql.owed_by_destination.run(cursor).fetchall()
    oldest = {name: from_ms(created) for name, _, created in waiting}
    sending = maybe_time(_one(sql.oldest_sending, cursor))
    return Summary(
        owed={name: count for name, count, _ in waiting},
        sending=_one(sql.count_sending, cursor),
        troubled={
            State(state): count for state, count in sql.count_troubled.run(cursor).fetchall()
        },
        oldest_owed=min([*oldest.values(), *([sending] if sending else [])], default=None),
        set_aside=_one(sql.count_set_aside, cursor),
        last_hook=maybe_time(_one(sql.last_hook, cursor)),
        oldest=oldest,
    )


def _one(statement: Statement, cursor: Cursor) -> Any:  # noqa: ANN401 - a column of any type
    row = statement.run(cursor).fetchone()
    return row and row[0]
