"""The statements about the relay's own troubles: which there are, who was told, and what ended badly lately."""

import sqlalchemy as sa

from relay.outbox.delivery_statements import Constructs, Insert, bound, inserted, is_queued, text
from relay.outbox.rows import ITSELF
from relay.outbox.schema import TROUBLED, chats, deliveries, hook_bodies, marks, troubles

TOLD_UNTIL = "failures told until: "
"""With a destination's name: the mark up to which somebody has heard of what failed there."""

_this = sa.and_(troubles.c.kind == bound("of_kind"), troubles.c.subject == bound("of_subject"))
_is_troubled = sa.text(TROUBLED)
_is_itself = chats.c.account == sa.literal_column(f"'{ITSELF}'")
_with_chat = deliveries.join(chats, chats.c.id == deliveries.c.chat_id)
_untold = (
    sa.select(
        deliveries.c.destination,
        deliveries.c.state,
        sa.func.count(),
        sa.func.min(deliveries.c.settled_at),
        sa.func.max(deliveries.c.id),
    )
    .select_from(
        _with_chat.outerjoin(marks, marks.c.name == text("told_until") + deliveries.c.destination)
    )
    .where(
        _is_troubled,
        deliveries.c.settled_at > bound("after"),
        deliveries.c.settled_at <= bound("until"),
        deliveries.c.settled_at > sa.func.coalesce(marks.c.at, 0),
        # A failed alert raises no other alert.
        ~_is_itself,
    )
    .group_by(deliveries.c.destination, deliveries.c.state)
)


def of_troubles(insert: Insert) -> Constructs:
    """What is wrong, and moments to remember."""
    trouble = inserted(insert, troubles, "kind", "subject", "since", "waiting", "why", "told")
    mark = inserted(insert, marks, "name", "at")
    return {
        "troubles": sa.select(
            *(troubles.c.kind, troubles.c.subject, troubles.c.since, troubles.c.gone_at),
            *(troubles.c.waiting, troubles.c.why, troubles.c.told),
        ),
        "open_trouble": trouble.on_conflict_do_nothing(),
        "note_trouble": sa.update(troubles)
        .where(_this)
        .values(
            gone_at=sa.bindparam("gone", type_=sa.BigInteger),
            waiting=bound("now_waiting"),
            why=bound("now_why"),
            told=bound("now_told"),
        ),
        "close_trouble": sa.delete(troubles).where(_this, troubles.c.since == bound("began")),
        "marks": sa.select(marks.c.name, marks.c.at),
        "set_mark": mark.on_conflict_do_update(
            index_elements=["name"], set_={"at": mark.excluded.at}
        ),
        "failed_lately": _untold,
        "alert_deliveries": sa.select(
            *(deliveries.c.destination, deliveries.c.recipient, deliveries.c.state),
            *(deliveries.c.detail, deliveries.c.created_at),
        )
        .select_from(_with_chat)
        .where(_is_itself, chats.c.chat == bound("of_alert"), deliveries.c.rule == bound("of_rule"))
        .order_by(deliveries.c.id),
        "failed_alerts": sa.select(chats.c.chat, hook_bodies.c.body)
        .select_from(_with_chat.join(hook_bodies, hook_bodies.c.hook_id == deliveries.c.hook_id))
        .where(
            _is_troubled,
            deliveries.c.settled_at > bound("after"),
            _is_itself,
            deliveries.c.rule == bound("of_rule"),
        ),
        "words_of_failed": sa.select(deliveries.c.detail).where(
            deliveries.c.id == bound("delivery_id")
        ),
        "words_of_owed": sa.select(deliveries.c.detail)
        .where(
            is_queued, deliveries.c.destination == bound("destination"), deliveries.c.detail != ""
        )
        .limit(1),
    }
