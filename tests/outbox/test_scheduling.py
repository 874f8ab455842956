"""Deliveries that wait for their time: how a hook's plan is kept, and how what is due is released."""

from datetime import timedelta

from msgspec.structs import replace

from relay.outbox import NewHook, Outbox
from relay.timing.plan import Plan
from tests.builders import NOON, later
from tests.outbox.conftest import Ask
from tests.outbox.hooks import a_new_hook

HOUR = timedelta(hours=1)
OPENING = Plan(state="scheduled", due=NOON + HOUR, why="hours")
IN_A_DIGEST = Plan(state="scheduled", due=NOON + HOUR, why="send", in_digest=True, joins=True)


def planned(hook: NewHook, plan: Plan) -> NewHook:
    return replace(hook, deliveries=tuple(replace(one, plan=plan) for one in hook.deliveries))


async def test_what_is_scheduled_waits_and_says_why(outbox: Outbox, ask: Ask) -> None:
    accepted = await outbox.accept(planned(a_new_hook(), OPENING))
    assert (accepted.new, accepted.destinations, accepted.scheduled) == (True, (), 1)
    assert ask("SELECT state, why, in_digest, due_at - created_at FROM deliveries") == [
        ("scheduled", "hours", False, 3_600_000)
    ]
    claim = await outbox.claim("desk", now=later(hours=2), lease=HOUR, limit=1)
    assert (claim.deliveries, claim.next_due) == ((), None), "only its release makes it queued"


async def test_what_is_left_out_is_kept_as_settled(outbox: Outbox, ask: Ask) -> None:
    accepted = await outbox.accept(planned(a_new_hook(), Plan(state="left out", why="muted:3")))
    assert (accepted.destinations, accepted.scheduled) == ((), 0)
    assert ask("SELECT state, why, settled_at - created_at FROM deliveries") == [
        ("left out", "muted:3", 0)
    ]


async def test_a_chat_joins_the_digest_that_waits_already(outbox: Outbox, ask: Ask) -> None:
    """Of its destination and recipient, while it is still to come; not one that is due later than its own would be."""
    for chat, minutes, rule in ((1, 0, "a"), (2, 10, "a"), (3, 60, "a"), (4, 61, "b")):
        at = later(minutes=minutes)
        plan = replace(IN_A_DIGEST, due=at + HOUR)
        await outbox.accept(planned(a_new_hook(chat, at=at, rule=rule), plan))
    other = planned(a_new_hook(5, destinations=("room",), at=later(minutes=10)), IN_A_DIGEST)
    await outbox.accept(other)
    due = ask("SELECT (due_at - (SELECT min(created_at) FROM deliveries)) / 60000 FROM deliveries")
    assert sorted(minutes for (minutes,) in due) == [60, 60, 60, 120, 120]


async def test_a_later_hook_of_a_chat_is_what_its_scheduled_delivery_shows(
    outbox: Outbox, ask: Ask
) -> None:
    await outbox.accept(planned(a_new_hook(), OPENING))
    rated = planned(a_new_hook(rating=1, at=later(minutes=5)), OPENING)
    assert (await outbox.accept(rated)).scheduled == 0
    await outbox.accept(planned(a_new_hook(2), OPENING))
    assert ask(
        "SELECT count(*), max(deliveries.hook_id) = max(hooks.id) FROM deliveries"
        " JOIN hooks ON hooks.chat_id = deliveries.chat_id WHERE deliveries.chat_id = 1"
    ) == [(2, True)]
