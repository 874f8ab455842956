"""What the outbox promises, seen through its face over a real file."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from relay.outbox import (
    Delivery,
    Gate,
    NewDelivery,
    NewHook,
    Outbox,
    Settlement,
    State,
    StorageRefused,
    StorageUnavailable,
)
from relay.outbox.migrations import KNOWN
from relay.outbox.migrations.run import head
from relay.outbox.operations import KEPT_ASIDE, MOST_LOST
from relay.outbox.schema import SCHEMA_VERSION, metadata
from relay.outcome import Ending
from relay.smartsupp import read_chat
from tests.builders import NOON, a_hook, later

LEASE = timedelta(minutes=20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture
async def outbox(path: Path) -> AsyncIterator[Outbox]:
    opened = await Outbox.open(path, now=NOON)
    yield opened
    await opened.close()


def a_new_hook(
    chat: int = 1,
    *,
    destinations: tuple[str, ...] = ("desk",),
    rule: str = "Missed chats",
    rating: int | None = None,
) -> NewHook:
    body = a_hook(chat, rating=rating)
    return NewHook(
        body=body,
        chat=read_chat(body),
        received_at=NOON,
        rules_hash="abc",
        deliveries=tuple(
            NewDelivery(
                rule=rule,
                template="missed",
                destination=name,
                recipient=f"{name}@example.com",
                message_id=f"{chat}.{name}@example.org",
            )
            for name in destinations
        ),
    )


def ended(ending: Ending, state: State, **more: object) -> Settlement:
    return Settlement(ending=ending, detail="said so", state=state, ended_at=NOON, **more)  # type: ignore[arg-type]


DELIVERED = ended(Ending.DELIVERED, State.DELIVERED)
TRY_LATER = ended(Ending.LATER, State.OWED, due_at=later(seconds=30), counts=True)


async def claim_one(outbox: Outbox, *, at: float = 0) -> Delivery:
    claim = await outbox.claim("desk", now=later(seconds=at), lease=LEASE, limit=1)
    (delivery,) = claim.deliveries
    return delivery


def rows(path: Path, question: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as reader:
        found = reader.execute(question).fetchall()
    reader.close()
    return found


async def test_a_hook_posted_twice_owes_nothing_new(outbox: Outbox, path: Path) -> None:
    first = await outbox.accept(a_new_hook(destinations=("desk", "room")))
    again = await outbox.accept(a_new_hook(destinations=("desk", "room")))
    assert (first.new, first.destinations) == (True, ("desk", "room"))
    assert (again.new, again.destinations) == (False, ())
    assert rows(path, "SELECT count(*) FROM deliveries") == [(2,)]


async def test_the_same_hook_a_hundred_times_at_once_is_one_chat(
    outbox: Outbox, path: Path
) -> None:
    accepted = await asyncio.gather(*(outbox.accept(a_new_hook()) for _ in range(100)))
    assert sum(one.new for one in accepted) == 1
    assert rows(path, "SELECT count(*) FROM hooks") == [(1,)]
    assert rows(path, "SELECT count(*) FROM deliveries") == [(1,)]


async def test_a_later_hook_with_a_rating_owes_only_what_its_new_rules_ask(
    outbox: Outbox, path: Path
) -> None:
    await outbox.accept(a_new_hook())
    same_rule = await outbox.accept(a_new_hook(rating=1))
    other_rule = await outbox.accept(a_new_hook(rating=2, rule="Bad ratings"))
    assert (same_rule.new, same_rule.destinations) == (True, ())
    assert (other_rule.new, other_rule.destinations) == (True, ("desk",))
    assert rows(path, "SELECT count(*), max(rating) FROM chats") == [(1, 2.0)]


async def test_the_hooks_bytes_come_back_as_they_were(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook())
    assert (await claim_one(outbox)).body == a_hook()


async def test_an_attempt_is_on_disk_before_it_is_made(outbox: Outbox, path: Path) -> None:
    await outbox.accept(a_new_hook())
    await claim_one(outbox)
    assert rows(path, "SELECT number, ended_at FROM attempts") == [(1, None)]
    assert rows(path, "SELECT state, attempts FROM deliveries") == [("sending", 1)]


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


async def test_each_attempt_and_the_far_ends_words_are_history(outbox: Outbox, path: Path) -> None:
    await outbox.accept(a_new_hook())
    await outbox.settle(await claim_one(outbox), TRY_LATER)
    await outbox.settle(await claim_one(outbox, at=30), DELIVERED)
    assert rows(path, "SELECT number, ending, detail FROM attempts") == [
        (1, "later", "said so"),
        (2, "delivered", "said so"),
    ]
    assert rows(path, "SELECT state, settled_at IS NOT NULL FROM deliveries") == [("delivered", 1)]


async def test_an_expired_lease_gives_the_delivery_back(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook())
    await claim_one(outbox)
    assert await outbox.expire_leases(later(minutes=19)) == 0
    assert await outbox.expire_leases(later(minutes=20)) == 1
    assert (await claim_one(outbox, at=1200)).attempt == 2


async def test_a_late_failure_cannot_undo_a_newer_attempt(outbox: Outbox, path: Path) -> None:
    await outbox.accept(a_new_hook())
    stale = await claim_one(outbox)
    await outbox.expire_leases(later(hours=1))
    fresh = await claim_one(outbox, at=3600)
    await outbox.settle(stale, ended(Ending.REFUSED, State.FAILED))
    assert rows(path, "SELECT state FROM deliveries") == [("sending",)]
    await outbox.settle(fresh, DELIVERED)
    assert rows(path, "SELECT state FROM deliveries") == [("delivered",)]


async def test_late_news_that_it_arrived_still_counts(outbox: Outbox, path: Path) -> None:
    await outbox.accept(a_new_hook())
    stale = await claim_one(outbox)
    await outbox.expire_leases(later(hours=1))
    await outbox.settle(stale, DELIVERED)
    assert rows(path, "SELECT state FROM deliveries") == [("delivered",)]


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
    outbox: Outbox, path: Path
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
    assert rows(path, "SELECT state FROM deliveries ORDER BY id") == [
        ("quarantined",),
        ("delivered",),
    ]


async def test_what_is_blamed_for_a_crash_waits_while_others_go(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook(1))
    for hours in (0, 1):
        await lose(outbox, hours)
    early = await outbox.claim("desk", now=later(hours=1, minutes=50), lease=LEASE, limit=1)
    assert (early.deliveries, early.next_due) == ((), later(hours=1, minutes=50, seconds=1))


async def test_an_outcome_in_between_forgives_lost_leases(outbox: Outbox, path: Path) -> None:
    await outbox.accept(a_new_hook())
    for hours in range(1, 4 * MOST_LOST):
        if hours % 3:
            assert len(await lose(outbox, hours)) == 1
        else:
            await outbox.settle(await claim_one(outbox, at=hours * 3600), TRY_LATER)
    assert rows(path, "SELECT state FROM deliveries") == [("owed",)]


async def test_a_new_process_takes_up_what_a_dead_one_had_claimed(path: Path) -> None:
    first = await Outbox.open(path, now=NOON)
    await first.accept(a_new_hook())
    await claim_one(first)
    await first.close()
    second = await Outbox.open(path, now=later(seconds=5))
    assert (await claim_one(second, at=5)).attempt == 2
    await second.close()
    assert rows(path, "SELECT number, ending FROM attempts") == [(1, "lost"), (2, None)]


async def test_what_waits_is_due_at_once_when_the_destination_is_back(outbox: Outbox) -> None:
    await outbox.accept(a_new_hook())
    await outbox.settle(await claim_one(outbox), TRY_LATER)
    await outbox.hasten("desk", later(seconds=1))
    assert (await claim_one(outbox, at=1)).attempt == 2


async def test_a_failure_owes_the_fallback_in_the_same_commit(outbox: Outbox, path: Path) -> None:
    await outbox.accept(a_new_hook())
    failed = ended(
        Ending.REFUSED,
        State.FAILED,
        also_owed=a_new_hook(destinations=("room",)).deliveries,
    )
    assert await outbox.settle(await claim_one(outbox), failed) == ["room"]
    assert rows(path, "SELECT destination, state FROM deliveries ORDER BY id") == [
        ("desk", "failed"),
        ("room", "owed"),
    ]


async def test_a_gate_is_remembered_over_a_restart_and_since_when(path: Path) -> None:
    outbox = await Outbox.open(path, now=NOON)
    await outbox.close_gate("room", Gate(later(minutes=5), NOON, "410"))
    await outbox.close_gate("room", Gate(later(minutes=9), later(minutes=5), "410 again"))
    await outbox.close()
    outbox = await Outbox.open(path, now=NOON)
    assert await outbox.gates() == {"room": Gate(later(minutes=9), NOON, "410 again")}
    await outbox.open_gate("room")
    assert await outbox.gates() == {}
    await outbox.close()


async def test_unreadable_hooks_are_kept_each_once_and_not_without_end(
    outbox: Outbox, path: Path
) -> None:
    for number in range(KEPT_ASIDE + 5):
        await outbox.keep_aside(b"no json %d" % number, "not JSON", NOON)
    await outbox.keep_aside(b"no json 9", "not JSON", NOON)
    assert rows(path, "SELECT count(*), min(id) FROM set_aside") == [(KEPT_ASIDE, 6)]


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
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert [getattr(result, "new", None) for result in results] == [True, None, True]


async def test_the_summary_counts_what_waits_and_what_went_wrong(outbox: Outbox) -> None:
    for chat in (1, 2, 3):
        await outbox.accept(a_new_hook(chat))
    await outbox.settle(await claim_one(outbox), ended(Ending.REFUSED, State.FAILED))
    await claim_one(outbox)
    summary = await outbox.summary()
    assert summary.owed == {"desk": 1}
    assert summary.sending == 1
    assert summary.troubled == {State.FAILED: 1}
    assert (summary.oldest_owed, summary.last_hook) == (NOON, NOON)


async def test_a_closed_outbox_takes_nothing_more(path: Path) -> None:
    outbox = await Outbox.open(path, now=NOON)
    await outbox.close()
    with pytest.raises(StorageUnavailable):
        await outbox.accept(a_new_hook())


async def test_work_that_waits_at_the_end_is_still_done(path: Path) -> None:
    outbox = await Outbox.open(path, now=NOON)
    waiting = [asyncio.ensure_future(outbox.accept(a_new_hook(chat))) for chat in range(50)]
    await asyncio.sleep(0)
    await outbox.close()
    assert sum(one.new for one in await asyncio.gather(*waiting)) == 50


# -- the file -------------------------------------------------------------------------------------------


async def test_a_second_relay_on_the_same_file_is_refused(outbox: Outbox, path: Path) -> None:
    opening = f"import asyncio, datetime, pathlib; from relay.outbox import Outbox; asyncio.run(Outbox.open(pathlib.Path({str(path)!r}), now=datetime.datetime.now(datetime.UTC)))"
    second = subprocess.run(
        [sys.executable, "-c", opening], capture_output=True, text=True, timeout=60
    )
    assert second.returncode != 0
    assert "is in use by another relay (process " in second.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty. Put the right file back from a backup"),
        (b"hello" * 100, "is not an SQLite database"),
        (b"SQLite format 3\x00" + b"\x00" * 4080, "is an SQLite database, but not a relay's"),
    ],
)
async def test_a_foreign_file_is_refused_and_left_alone(
    path: Path, content: bytes, words: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(StorageRefused, match=words):
        await Outbox.open(path, now=NOON)
    assert path.read_bytes() == content


async def test_a_damaged_file_is_refused_with_a_way_out(path: Path) -> None:
    outbox = await Outbox.open(path, now=NOON)
    for chat in range(200):
        await outbox.accept(a_new_hook(chat))
    await outbox.close()
    content = bytearray(path.read_bytes())
    for at in range(8192, len(content), 4096):
        content[at : at + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(StorageRefused, match=r"is damaged .*restore a backup"):
        await Outbox.open(path, now=NOON)


async def test_a_newer_schema_is_refused(path: Path) -> None:
    outbox = await Outbox.open(path, now=NOON)
    await outbox.close()
    with sqlite3.connect(path) as writer:
        writer.execute("UPDATE alembic_version SET version_num = '9999'")
    writer.close()
    with pytest.raises(StorageRefused, match=r"written by a newer relay .schema 9999"):
        await Outbox.open(path, now=NOON)


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageRefused, match=r"can't write in the folder .*/nowhere as user"):
        await Outbox.open(tmp_path / "nowhere" / "relay.db", now=NOON)


async def test_a_file_moved_away_under_a_running_relay_is_noticed(
    outbox: Outbox, path: Path
) -> None:
    assert outbox.is_in_place()
    path.rename(path.with_name("elsewhere.db"))
    assert not outbox.is_in_place()


async def test_the_file_is_for_its_owner_only_and_durable(outbox: Outbox, path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]
    assert rows(path, "PRAGMA auto_vacuum") == [(2,)]


async def test_the_migrations_make_the_schema_of_the_code(outbox: Outbox, path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_the_schema_version_is_the_newest_migration() -> None:
    assert head() == SCHEMA_VERSION == KNOWN[-1]
