"""`once_per:` of a rule: one notification about a visitor in a time; the others wait for a digest, or are left out."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.outbox import NewHook, Outbox
from relay.outbox.delivery_types import to_ms
from relay.timing.plan import At, OncePer, Plan, Timing
from relay.timing.schedule import Schedule
from tests.builders import NOON, a_hook, later
from tests.outbox.conftest import Ask, Place
from tests.outbox.hooks import a_new_hook
from tests.running import rows

DAY = OncePer(timedelta(hours=24))
STATES = "SELECT state, why, in_digest, (due_at - created_at) / 60000 FROM deliveries ORDER BY id"


def of_visitor(chat: int, minutes: float = 0, once: OncePer = DAY, **more: Any) -> NewHook:
    """A chat of a visitor, whose rule has `once_per:`; `visitor` changes who wrote."""
    body = a_hook(chat, visitor=more.pop("visitor", {}), **more.pop("changes", {}))
    hook = a_new_hook(chat, at=later(minutes=minutes), of=body, **more)
    return replace(hook, deliveries=tuple(replace(each, once_per=once) for each in hook.deliveries))


async def test_the_first_goes_and_the_others_wait_for_the_end_of_its_time(
    outbox: Outbox, ask: Ask
) -> None:
    for chat, minutes in ((1, 0), (2, 10), (3, 1439), (4, 1440), (5, 1441)):
        await outbox.accept(of_visitor(chat, minutes))
    assert ask(STATES) == [
        ("queued", "", False, 0),
        ("scheduled", "once per visitor", True, 1430),
        ("scheduled", "once per visitor", True, 1),
        ("queued", "", False, 0),
        ("scheduled", "once per visitor", True, 1439),
    ]


async def test_with_then_nothing_the_others_are_left_out(outbox: Outbox, ask: Ask) -> None:
    once = replace(DAY, then="nothing")
    for chat in (1, 2):
        await outbox.accept(of_visitor(chat, chat, once))
    assert ask("SELECT state, why, settled_at IS NULL FROM deliveries ORDER BY id") == [
        ("queued", "", True),
        ("left out", "once per visitor", False),
    ]


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ({"email": "MARTA@Example.COM"}, True),
        ({"email": "petr@example.com"}, False),
        ({"email": "", "id": 27671}, False),  # known by the address before, by the id now
    ],
)
async def test_a_visitor_is_known_by_the_address_however_it_is_spelled(
    outbox: Outbox, ask: Ask, other: dict[str, Any], *, is_same: bool
) -> None:
    await outbox.accept(of_visitor(1))
    await outbox.accept(of_visitor(2, 1, visitor=other))
    assert ask("SELECT count(*) FROM deliveries WHERE state = 'queued'") == [(1 if is_same else 2,)]


async def test_one_without_address_is_known_by_the_id_and_one_without_either_is_always_told(
    outbox: Outbox, ask: Ask
) -> None:
    for chat, visitor in enumerate(
        [{"email": ""}, {"email": ""}, *[{"email": "", "id": None}] * 3], start=1
    ):
        await outbox.accept(of_visitor(chat, visitor=visitor))
    assert ask("SELECT state FROM deliveries ORDER BY id") == [
        ("queued",),
        ("scheduled",),
        *[("queued",)] * 3,
    ]


async def test_each_rule_and_each_recipient_counts_by_itself(outbox: Outbox, ask: Ask) -> None:
    await outbox.accept(of_visitor(1, destinations=("desk", "room")))
    await outbox.accept(of_visitor(2, rule="another"))
    assert ask("SELECT DISTINCT state FROM deliveries") == [("queued",)]


async def test_a_later_hook_of_a_chat_that_was_told_begins_no_time(
    outbox: Outbox, ask: Ask
) -> None:
    await outbox.accept(of_visitor(1))
    await outbox.accept(of_visitor(1, 1500, changes={"rating": 1}))
    await outbox.accept(of_visitor(2, 1501))
    told = "SELECT chat, state FROM deliveries JOIN chats ON chats.id = chat_id ORDER BY chat"
    assert ask(told) == [("1", "queued"), ("2", "queued")]


async def test_what_is_left_out_by_its_plan_begins_no_time(outbox: Outbox, ask: Ask) -> None:
    skipped = of_visitor(1)
    plan = Plan(state="left out", why="skip")
    await outbox.accept(
        replace(skipped, deliveries=tuple(replace(one, plan=plan) for one in skipped.deliveries))
    )
    await outbox.accept(of_visitor(2, 1))
    assert ask("SELECT state FROM deliveries ORDER BY id") == [("left out",), ("queued",)]


@pytest.mark.parametrize(
    "timing",
    [
        Timing(hours=Schedule(name="office", zone=ZoneInfo("UTC"), hours=((14 * 60, 15 * 60),))),
        Timing(send=(At(frozenset(range(7)), 14 * 60),)),
    ],
    ids=["hours", "send"],
)
async def test_the_digest_comes_when_its_destination_is_told(
    outbox: Outbox, ask: Ask, timing: Timing
) -> None:
    outbox.operations.waits.timings = {"desk": timing}
    await outbox.accept(of_visitor(1))
    await outbox.accept(of_visitor(2, 30))
    assert ask("SELECT max(due_at) FROM deliveries") == [(to_ms(NOON + timedelta(hours=26)),)]


async def test_of_two_relays_at_the_same_moment_one_tells(place: Place) -> None:
    first = await Outbox.open(place.database, now=NOON)
    others = [first]
    if first.is_shared:
        others.append(await Outbox.open(place.database, now=NOON))
    try:
        await asyncio.gather(
            *(others[chat % len(others)].accept(of_visitor(chat)) for chat in range(1, 21))
        )
        assert place.ask("SELECT count(*) FROM deliveries WHERE state = 'queued'") == [(1,)]
        assert place.ask("SELECT count(*) FROM deliveries WHERE state = 'scheduled'") == [(19,)]
    finally:
        for each in others:
            await each.close()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 90)), min_size=1, max_size=12))
def test_no_two_are_told_within_the_time_and_none_is_lost(
    tmp_path_factory: pytest.TempPathFactory, chats: list[tuple[str, int]]
) -> None:
    """`chats`: who wrote, and how many minutes after the one before."""
    folder = tmp_path_factory.mktemp("once")
    asyncio.run(_accepted(folder, chats))
    found = rows(
        folder / "relay.db", "SELECT visitor, state, created_at, due_at FROM deliveries ORDER BY id"
    )
    assert len(found) == len(chats)
    ends: dict[str, int] = {}
    for visitor, state, created, due in found:
        is_first = created >= ends.get(visitor, 0)
        assert state == ("queued" if is_first else "scheduled")
        if is_first:
            ends[visitor] = created + 3_600_000
        else:
            assert due == ends[visitor]


async def _accepted(folder: Path, chats: list[tuple[str, int]]) -> None:
    outbox, at = await Outbox.open(folder / "relay.db", now=NOON), 0
    for number, (name, minutes) in enumerate(chats, 1):
        at += minutes
        who = {"email": f"{name}@example.com"}
        await outbox.accept(of_visitor(number, at, OncePer(timedelta(hours=1)), visitor=who))
    await outbox.close()
