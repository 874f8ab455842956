"""What the outbox promises, seen through its face over real databases."""

import asyncio
import contextlib
import math
import os
import random
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from msgspec import structs
from msgspec.structs import replace

from relay.clock import pause
from relay.outbox import (
    Delivery,
    Gate,
    NewHook,
    Outbox,
    Places,
    State,
    StorageUnavailable,
    migrations,
)
from relay.outbox.leases import MOST_LOST
from relay.outbox.migrations import KNOWN
from relay.outbox.requeue import KEPT_ASIDE
from relay.outbox.schema import SCHEMA_VERSION, metadata
from relay.outbox.sqlite.sqlite_store import open_sqlite
from relay.outbox.writer import BETWEEN_GROUPS, MANY, Writer
from relay.settings.database import Database
from relay.smartsupp import read_chat
from relay.transports import Ending
from tests.builders import NOON, a_hook, later
from tests.outbox.conftest import Ask, Place
from tests.outbox.hooks import DELIVERED, LEASE, TRY_LATER, a_new_hook, claim_one, ended


async def test_a_hook_posted_twice_queues_nothing_new(outbox: Outbox, ask: Ask) -> None:
    first = await outbox.accept(a_new_hook(destinations=("desk", "room")))
    again = await outbox.accept(a_new_hook(destinations=("desk", "room")))
    assert (first.new, first.destinations) == (True, ("desk", "room"))
    assert (again.new, again.destinations) == (False, ())
    assert ask("SELECT count(*) FROM deliveries") == [(2,)]


ONE_AT_THE_DESK = Places({"desk": 1}, LEASE, {})


async def test_what_is_claimed_as_it_is_queued_is_what_a_claim_would_give(
    outbox: Outbox, ask: Ask
) -> None:
    """The next attempt reads from the database what the first took from the hook: a mail has the same date in both."""
    hook = a_new_hook(at=later(seconds=0.9996))
    hook = replace(hook, chat=structs.replace(hook.chat, account="20\0\ud800", id="1\0"))
    accepted = await outbox.accept(hook, ONE_AT_THE_DESK)
    (first,) = accepted.claimed
    assert (accepted.destinations, list(accepted.waiting)) == (("desk",), [])
    assert ask("SELECT state, attempts FROM deliveries") == [("sending", 1)]
    assert ask("SELECT number, ending FROM attempts") == [(1, None)]
    await outbox.settle(first, TRY_LATER)
    second = await claim_one(outbox, at=60)
    assert second == replace(first, attempt=2, failures=1)


async def test_what_has_no_place_waits_to_be_claimed(outbox: Outbox, ask: Ask) -> None:
    hook = a_new_hook(destinations=("desk", "room"))
    other = replace(hook.deliveries[0], recipient="other@example.com")
    hook = replace(hook, deliveries=(*hook.deliveries, other))
    accepted = await outbox.accept(hook, ONE_AT_THE_DESK)
    assert [one.recipient for one in accepted.claimed] == ["desk@example.com"]
    assert accepted.destinations == ("desk", "room", "desk")
    assert sorted(accepted.waiting) == ["desk", "room"]
    assert ask("SELECT recipient, state FROM deliveries ORDER BY id") == [
        ("desk@example.com", "sending"),
        ("room@example.com", "queued"),
        ("other@example.com", "queued"),
    ]


async def test_what_is_queued_for_a_known_chat_is_claimed_with_what_it_replies_to(
    outbox: Outbox,
) -> None:
    (first,) = (await outbox.accept(a_new_hook(), ONE_AT_THE_DESK)).claimed
    await outbox.settle(first, replace(DELIVERED, receipt="ts-1"))
    again = a_new_hook(rating=1, rule="Bad ratings", at=later(seconds=5))
    accepted = await outbox.accept(again, ONE_AT_THE_DESK)
    assert (accepted.claimed, list(accepted.waiting)) == ((), ["desk"])
    assert (await claim_one(outbox, at=5)).thread_receipt == "ts-1"


async def test_a_hook_that_is_known_claims_nothing(outbox: Outbox, ask: Ask) -> None:
    await outbox.accept(a_new_hook())
    again = await outbox.accept(a_new_hook(), ONE_AT_THE_DESK)
    assert (again.new, again.claimed) == (False, ())
    assert ask("SELECT state FROM deliveries") == [("queued",)]


async def test_the_same_hook_a_hundred_times_at_once_is_one_chat(outbox: Outbox, ask: Ask) -> None:
    accepted = await asyncio.gather(*(outbox.accept(a_new_hook()) for _ in range(100)))
    assert sum(one.new for one in accepted) == 1
    assert ask("SELECT count(*) FROM hooks") == [(1,)]
    assert ask("SELECT count(*) FROM deliveries") == [(1,)]


async def test_who_waits_no_longer_leaves_the_others_their_answers(
    outbox: Outbox, ask: Ask
) -> None:
    waiting = [asyncio.ensure_future(outbox.accept(a_new_hook(chat))) for chat in range(1, 40)]
    await asyncio.sleep(0)  # all of them are handed to the writer
    for gone in waiting[::2]:
        gone.cancel()
    assert all(one.new for one in await asyncio.gather(*waiting[1::2]))
    await outbox.summary()  # whatever was handed over before it is on disk
    assert ask("SELECT count(*) FROM chats") == [(39,)]


async def test_a_later_hook_with_a_rating_queues_only_what_its_new_rules_ask(
    outbox: Outbox, ask: Ask
) -> None:
    await outbox.accept(a_new_hook())
    same_rule = await outbox.accept(a_new_hook(rating=1))
    other_rule = await outbox.accept(a_new_hook(rating=2, rule="Bad ratings"))
    assert (same_rule.new, same_rule.destinations) == (True, ())
    assert (other_rule.new, other_rule.destinations) == (True, ("desk",))
    assert ask("SELECT count(*), max(rating) FROM chats") == [(1, 2.0)]


async def test_the_hooks_bytes_come_back_as_they_were(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook())
    assert (await claim_one(outbox)).body == a_hook()


async def test_characters_that_a_database_may_refuse_are_no_hindrance(
    outbox: Outbox, ask: Ask
) -> None:
    words = "nul \x00, lone \ud800, last \U0010ffff, bell \x07, \\' \" %s :x \\x00"
    body = a_hook(
        1, visitor={"name": words, "note": words}, rating_comment=words, accountId="1\x002"
    )
    hook = a_new_hook(of=body)
    assert (await outbox.accept(hook)).new
    await outbox.keep_aside(body, "\ud800 no chat", NOON)
    delivery = await claim_one(outbox)
    assert delivery.body == body
    await outbox.settle(
        delivery,
        replace(DELIVERED, detail="250 \x00 \udcff", receipt="\x00"),
    )
    assert ask("SELECT detail FROM attempts") == [("250 \ufffd ?",)]
    assert ask("SELECT visitor FROM chats") == [(hook.chat.visitor.name,)]


async def test_an_attempt_is_on_disk_before_it_is_made(outbox: Outbox, ask: Ask) -> None:
    await outbox.accept(a_new_hook())
    await claim_one(outbox)
    assert ask("SELECT number, ended_at FROM attempts") == [(1, None)]
    assert ask("SELECT state, attempts FROM deliveries") == [("sending", 1)]


async def test_what_is_claimed_is_not_claimed_again(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook())
    await claim_one(outbox)
    again = await outbox.claim("desk", now=later(seconds=1), lease=LEASE, limit=9)
    assert (again.deliveries, again.next_due) == ((), None)


async def test_the_oldest_is_claimed_first_and_the_next_is_announced(outbox: Outbox) -> None:
    for chat in (3, 1, 2):
        await outbox.accept(a_new_hook(chat))
    claim = await outbox.claim("desk", now=NOON, lease=LEASE, limit=2)
    assert [delivery.chat for delivery in claim.deliveries] == ["3", "1"]
    assert claim.next_due == NOON


async def test_one_destination_never_claims_anothers(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook(destinations=("room",)))
    claim = await outbox.claim("desk", now=NOON, lease=LEASE, limit=9)
    assert claim.deliveries == ()


async def test_a_failed_attempt_comes_back_when_it_is_due(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook())
    await outbox.settle(await claim_one(outbox), TRY_LATER)
    early = await outbox.claim("desk", now=later(seconds=29), lease=LEASE, limit=1)
    assert (early.deliveries, early.next_due) == ((), later(seconds=30))
    again = await claim_one(outbox, at=30)
    assert (again.attempt, again.failures) == (2, 1)


async def test_each_attempt_and_the_far_ends_words_are_history(outbox: Outbox, ask: Ask) -> None:
    await outbox.accept(a_new_hook())
    await outbox.settle(await claim_one(outbox), TRY_LATER)
    await outbox.settle(await claim_one(outbox, at=30), DELIVERED)
    assert ask("SELECT number, ending, detail FROM attempts ORDER BY number") == [
        (1, "later", "said so"),
        (2, "delivered", "said so"),
    ]
    assert ask("SELECT state, settled_at IS NOT NULL FROM deliveries") == [("delivered", 1)]


async def test_an_expired_lease_gives_the_delivery_back(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook())
    await claim_one(outbox)
    assert await outbox.expire_leases(later(minutes=19)) == 0
    assert await outbox.expire_leases(later(minutes=20)) == 1
    assert (await claim_one(outbox, at=1200)).attempt == 2


async def test_a_late_failure_cannot_undo_a_newer_attempt(outbox: Outbox, ask: Ask) -> None:
    await outbox.accept(a_new_hook())
    stale = await claim_one(outbox)
    await outbox.expire_leases(later(hours=1))
    fresh = await claim_one(outbox, at=3600)
    await outbox.settle(stale, ended(Ending.REFUSED, State.FAILED))
    assert ask("SELECT state FROM deliveries") == [("sending",)]
    await outbox.settle(fresh, DELIVERED)
    assert ask("SELECT state FROM deliveries") == [("delivered",)]


async def test_late_news_that_it_arrived_still_counts(outbox: Outbox, ask: Ask) -> None:
    await outbox.accept(a_new_hook())
    stale = await claim_one(outbox)
    await outbox.expire_leases(later(hours=1))
    await outbox.settle(stale, DELIVERED)
    assert ask("SELECT state FROM deliveries") == [("delivered",)]


async def test_late_news_of_a_message_does_not_stop_the_one_that_was_asked_for_since(
    outbox: Outbox, ask: Ask
) -> None:
    await outbox.accept(a_new_hook())
    stale = await claim_one(outbox)
    await outbox.expire_leases(later(hours=1))
    await outbox.settle(await claim_one(outbox, at=3600), DELIVERED)
    await outbox.run(lambda cursor: cursor.execute(RESENT))
    await outbox.settle(stale, DELIVERED)
    assert ask("SELECT state FROM deliveries") == [("queued",)]


RESENT = "UPDATE deliveries SET state = 'queued', generation = 2, message_id = 'again@example.org'"
"""As `relay resend` does."""


async def lose(outbox: Outbox, hours: int) -> list[Delivery]:
    """A process that dies with all that it may claim under way, in that hour."""
    claim = await outbox.claim("desk", now=later(hours=hours), lease=LEASE, limit=9)
    await outbox.expire_leases(later(hours=hours, minutes=50))
    return list(claim.deliveries)


async def test_after_a_crash_those_under_way_are_tried_one_at_a_time(outbox: Outbox) -> None:
    for chat in (1, 2, 3):
        await outbox.accept(a_new_hook(chat))
    assert len(await lose(outbox, 1)) == 3
    await outbox.accept(a_new_hook(4))
    claim = await outbox.claim("desk", now=later(hours=2), lease=LEASE, limit=9)
    assert [(one.chat, one.suspect) for one in claim.deliveries] == [("1", True), ("4", False)]


async def test_a_delivery_that_kills_again_and_again_is_quarantined_alone(
    outbox: Outbox, ask: Ask
) -> None:
    for chat in (1, 2):
        await outbox.accept(a_new_hook(chat))
    await lose(outbox, 0)
    for hours in range(1, MOST_LOST + 2):
        (delivery,) = (
            await outbox.claim("desk", now=later(hours=hours), lease=LEASE, limit=9)
        ).deliveries
        if delivery.chat == "1":
            await outbox.expire_leases(later(hours=hours, minutes=50))
        else:
            await outbox.settle(delivery, DELIVERED)
    assert ask("SELECT state FROM deliveries ORDER BY id") == [
        ("quarantined",),
        ("delivered",),
    ]


async def test_what_is_blamed_for_a_crash_waits_while_others_go(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook(1))
    for hours in (0, 1):
        await lose(outbox, hours)
    early = await outbox.claim("desk", now=later(hours=1, minutes=50), lease=LEASE, limit=1)
    assert (early.deliveries, early.next_due) == ((), later(hours=1, minutes=50, seconds=1))


async def test_an_outcome_in_between_forgives_lost_leases(outbox: Outbox, ask: Ask) -> None:
    await outbox.accept(a_new_hook())
    for hours in range(1, 4 * MOST_LOST):
        if hours % 3:
            assert len(await lose(outbox, hours)) == 1
        else:
            await outbox.settle(await claim_one(outbox, at=hours * 3600), TRY_LATER)
    assert ask("SELECT state FROM deliveries") == [("queued",)]


async def test_what_waits_is_due_at_once_when_the_destination_is_back(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook())
    await outbox.settle(await claim_one(outbox), TRY_LATER)
    await outbox.hasten("desk", later(seconds=1))
    assert (await claim_one(outbox, at=1)).attempt == 2


async def test_a_failure_queues_the_fallback_in_the_same_commit(outbox: Outbox, ask: Ask) -> None:
    await outbox.accept(a_new_hook())
    failed = ended(
        Ending.REFUSED,
        State.FAILED,
        also_queued=a_new_hook(destinations=("room",)).deliveries,
    )
    assert await outbox.settle(await claim_one(outbox), failed) == ["room"]
    assert ask("SELECT destination, state FROM deliveries ORDER BY id") == [
        ("desk", "failed"),
        ("room", "queued"),
    ]


async def test_a_gate_is_remembered_over_a_restart_and_since_when(place: Place) -> None:
    outbox = await Outbox.open(place.database, now=NOON)
    await outbox.close_gate("room", Gate(later(minutes=5), NOON, "410"))
    await outbox.close_gate("room", Gate(later(minutes=9), later(minutes=5), "410 again"))
    await outbox.close()
    outbox = await Outbox.open(place.database, now=NOON)
    assert await outbox.gates() == {"room": Gate(later(minutes=9), NOON, "410 again")}
    await outbox.open_gate("room")
    assert await outbox.gates() == {}
    await outbox.close()


async def test_unreadable_hooks_are_kept_each_once_and_not_without_end(
    outbox: Outbox, ask: Ask
) -> None:
    for number in range(KEPT_ASIDE + 5):
        await outbox.keep_aside(b"no json %d" % number, "not JSON", NOON)
    await outbox.keep_aside(b"no json 9", "not JSON", NOON)
    assert ask("SELECT count(*), min(id) FROM set_aside") == [(KEPT_ASIDE, 6)]


async def test_one_bad_piece_of_work_does_not_fail_its_neighbours(outbox: Outbox) -> None:
    bad = NewHook(
        body=a_hook(2),
        chat=read_chat(a_hook(2)),
        received_at=NOON,
        rules_hash=None,  # type: ignore[arg-type]  # what a constraint refuses
    )
    results = await asyncio.gather(
        outbox.accept(a_new_hook(1)),
        outbox.accept(bad),
        outbox.accept(a_new_hook(3)),
        return_exceptions=True,
    )
    assert isinstance(results[1], (sqlite3.IntegrityError, psycopg.IntegrityError))
    assert [getattr(result, "new", None) for result in results] == [True, None, True]


async def test_the_summary_counts_what_waits_and_what_went_wrong(outbox: Outbox) -> None:
    for chat in (1, 2, 3):
        await outbox.accept(a_new_hook(chat))
    await outbox.settle(await claim_one(outbox), ended(Ending.REFUSED, State.FAILED))
    await claim_one(outbox)
    summary = await outbox.summary()
    assert summary.queued == {"desk": 1}
    assert summary.sending == 1
    assert summary.troubled == {State.FAILED: 1}
    assert (summary.oldest_queued, summary.last_hook) == (NOON, NOON)


async def test_a_closed_outbox_takes_nothing_more(place: Place) -> None:
    outbox = await Outbox.open(place.database, now=NOON)
    await outbox.close()
    with pytest.raises(StorageUnavailable):
        await outbox.accept(a_new_hook())


async def test_work_that_waits_at_the_end_is_still_done(place: Place) -> None:
    outbox = await Outbox.open(place.database, now=NOON)
    waiting = [asyncio.ensure_future(outbox.accept(a_new_hook(chat))) for chat in range(50)]
    await asyncio.sleep(0)
    await outbox.close()
    assert sum(one.new for one in await asyncio.gather(*waiting)) == 50


async def test_the_migrations_make_the_schema_of_the_code(outbox: Outbox, place: Place) -> None:
    engine = sa.create_engine(url_of(place.database))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_a_new_file_has_the_tables_that_the_migrations_make(tmp_path: Path) -> None:
    made: list[object] = []
    for make in (migrations.create, migrations.upgrade):
        with contextlib.closing(
            sqlite3.connect(tmp_path / make.__name__, isolation_level=None)
        ) as connection:
            make(connection)
            made.append((migrations.version(connection), tables_of(connection)))
    assert made[0] == made[1]


def tables_of(connection: sqlite3.Connection) -> dict[str, object]:
    """All that SQLite tells of each table, but for the order of its columns, and of its indexes."""

    def told(about: str) -> list[Any]:
        return connection.execute(f"PRAGMA {about}").fetchall()

    def index(name: str) -> object:
        sql = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        return sql, [column for _, _, column in told(f"index_info({name})")]

    return {
        name: (
            sorted(column[1:] for column in told(f"table_xinfo({name})")),
            sorted(key[1:] for key in told(f"foreign_key_list({name})")),
            sorted(repr((index(of[1]), of[2:])) for of in told(f"index_list({name})")),
            kind,
        )
        for _, name, *kind in told("table_list")
        if kind[0] == "table" and not name.startswith("sqlite_")
    }


def url_of(database: Database) -> str:
    if isinstance(database, Path):
        return f"sqlite:///{database}"
    return database.url.reveal().replace("postgresql://", "postgresql+psycopg://")


def test_the_schema_version_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_current_head() == SCHEMA_VERSION == KNOWN[-1]


async def test_no_value_of_the_clock_ends_the_writer(tmp_path: Path) -> None:
    """It went by years, back and forth, between two commits: the sleep between them failed, and the relay ended."""
    chance = random.Random(7)  # noqa: S311 - the same jumps at every run
    rests: list[float] = []
    store = open_sqlite(tmp_path / "relay.db")
    writer = Writer(
        store, monotonic=lambda: chance.choice([0.0, 1e9, -1e9, 1e9 + 0.001]), sleep=rests.append
    )
    for _ in range(50):
        assert await asyncio.gather(*(writer.run(lambda _: 1) for _ in range(8))) == [1] * 8
    await writer.close()
    assert rests
    assert all(0 < rest <= BETWEEN_GROUPS for rest in rests)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such policy")
async def test_while_much_waits_the_writer_does_not_interrupt_the_event_loop(
    outbox: Outbox,
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def hold_up(_: object) -> None:
        begun.set()
        goes_on.wait()

    def policy(_: object) -> int:
        return os.sched_getscheduler(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(outbox.run(hold_up))
        await asyncio.to_thread(begun.wait)
        waiting = [tasks.create_task(outbox.run(policy)) for _ in range(MANY)]
        await asyncio.sleep(0)  # until all wait
        goes_on.set()
    assert {each.result() for each in waiting} == {os.SCHED_BATCH}
    assert await outbox.run(policy) == os.SCHED_OTHER


async def test_outcomes_that_come_shortly_after_one_another_share_a_commit(tmp_path: Path) -> None:
    rests, goes_on = threading.Event(), threading.Event()
    begun = threading.Event()
    in_commits: list[object] = []

    def rest(_: float) -> None:
        rests.set()
        goes_on.wait()

    def first(_: object) -> None:
        begun.set()
        goes_on.wait()

    writer = Writer(open_sqlite(tmp_path / "relay.db"), monotonic=lambda: 0.0, sleep=rest)
    under_way = writer.run(first)
    await asyncio.to_thread(begun.wait)
    hooks = [writer.run(lambda _: None) for _ in range(2)]
    goes_on.set()
    await asyncio.gather(under_way, *hooks)
    goes_on.clear()
    # Each commit has a cursor of its own.
    outcomes = [writer.run(in_commits.append, outcome=True)]
    await asyncio.to_thread(rests.wait)
    outcomes.append(writer.run(in_commits.append, outcome=True))
    goes_on.set()
    await asyncio.gather(*outcomes)
    assert len(in_commits) == 2
    assert in_commits[0] is in_commits[1]
    await writer.close()


async def test_an_outcome_waits_for_the_commit_under_way_and_for_no_group_of_hooks(
    tmp_path: Path,
) -> None:
    writer = Writer(open_sqlite(tmp_path / "relay.db"))
    begun, goes_on = threading.Event(), threading.Event()
    order: list[str] = []

    def first(_: object) -> None:
        begun.set()
        goes_on.wait()

    under_way = writer.run(first)
    await asyncio.to_thread(begun.wait)
    hooks = [writer.run(lambda _: order.append("hook")) for _ in range(200)]
    outcomes = [writer.run(lambda _: order.append("outcome"), outcome=True) for _ in range(3)]
    goes_on.set()
    answered, _ = await asyncio.wait(hooks, return_when=asyncio.FIRST_COMPLETED)
    assert len(answered) >= 100, "a slow disk must not starve hooks: half of them share the commit"
    await asyncio.gather(under_way, *hooks, *outcomes)
    assert order[:3] == ["outcome"] * 3
    assert order.count("hook") == 200
    await writer.close()
    with pytest.raises(StorageUnavailable):
        writer.run(lambda _: None, outcome=True)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf, 1e300])
def test_a_rest_that_the_system_refuses_is_none(seconds: float) -> None:
    pause(seconds)
