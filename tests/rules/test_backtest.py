"""`relay backtest`: edited rules against the chats that came in."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result

from relay.outbox import NewHook, Outbox
from relay.outbox.database_session import CommandSessions
from relay.services import backtesting
from relay.smartsupp import read_chat
from tests.builders import a_hook
from tests.rules.books import a_book
from tests.rules.commands import relay
from tests.timing.zones import at

_RULES = """\
destinations:
  desk: {email: {to: desk@example.com}}
  room: {email: {to: room@example.com}}
rules:
  - {name: Missed, when: {missed: true}, send_to: desk}
  - {name: Bad, when: {rating: {at_most: 2}}, send_to: desk}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(_RULES, "utf-8")
    return tmp_path


async def _keep(path: Path, hooks: list[bytes], at: datetime) -> None:
    outbox = await Outbox.open(path, now=at)
    try:
        for body in hooks:
            chat = read_chat(body)
            await outbox.accept(NewHook(body=body, chat=chat, received_at=at, rules_hash="x"))
    finally:
        await outbox.close()


def came_in(folder: Path, *hooks: bytes, days_ago: float = 0) -> None:
    """These hooks are in the relay's history."""
    at = datetime.now(UTC) - timedelta(days=days_ago)
    asyncio.run(_keep(folder / "relay.db", list(hooks), at))


def backtest(folder: Path, new: str, *arguments: str) -> Result:
    (folder / "new.yaml").write_text(new, "utf-8")
    return relay(
        "backtest",
        folder / "new.yaml",
        *arguments,
        RELAY_RULES=str(folder / "rules.yaml"),
        RELAY_DATABASE=f"sqlite:///{folder}/relay.db",
    )


def test_each_rule_is_told_with_the_chats_that_it_gains_and_loses(folder: Path) -> None:
    came_in(
        folder,
        a_hook(1, missed=True),
        a_hook(2, rating=1),
        a_hook(3, rating=3),
        a_hook(4, rating=3, missed=True),
        a_hook(5),
    )
    result = backtest(
        folder,
        _RULES.replace("at_most: 2", "is: 3").replace(
            "{missed: true}, send_to: desk", "{missed: true}, send_to: room"
        ),
    )
    assert result.stdout.splitlines() == [
        "5 chats; 3 of them go to somebody now, 3 by the new rules",
        "Missed: 2 chats -> 2 (2 sent to others)",
        "  ~ 208/4, 208/1",
        "Bad: 1 chat -> 2 (2 added, 1 dropped)",
        "  + 208/4, 208/3",
        "  - 208/2",
    ]
    assert result.exit_code == 1


def test_rules_that_say_the_same_make_no_difference(folder: Path) -> None:
    came_in(folder, a_hook(1, missed=True))
    result = backtest(folder, f"# tidied up\n{_RULES}")
    assert result.exit_code == 0
    assert "Missed: 1 chat, as before" in result.stdout


def test_rules_that_are_new_or_gone_are_told_too(folder: Path) -> None:
    came_in(folder, a_hook(1, missed=True))
    result = backtest(folder, _RULES.replace("name: Missed", "name: Lost"))
    assert "Lost: 0 chats -> 1 (1 added)\n  + 208/1\n" in result.stdout
    assert "Missed: 1 chat -> 0 (1 dropped)\n  - 208/1\n" in result.stdout


def test_a_chat_of_which_two_hooks_came_counts_once(folder: Path) -> None:
    came_in(folder, a_hook(1, missed=True), a_hook(1, missed=True, rating=1))
    result = backtest(folder, _RULES.replace("at_most: 2", "at_most: 1"))
    assert result.stdout.startswith("1 chat; 1 of them go to somebody now, 1 by")
    assert result.exit_code == 0


@pytest.mark.parametrize(("since", "chats"), [("3d", 1), ("30d", 2), ("2020-01-01", 2)])
def test_only_what_came_in_since_then_is_looked_at(folder: Path, since: str, chats: int) -> None:
    came_in(folder, a_hook(1, missed=True), days_ago=10)
    came_in(folder, a_hook(2, missed=True), days_ago=1)
    told = json.loads(backtest(folder, _RULES, "--since", since, "--json").stdout)
    assert told["chats"] == chats


def test_many_chats_are_named_in_part_or_all(folder: Path) -> None:
    came_in(folder, *(a_hook(n, rating=3) for n in range(1, 13)))
    edited = _RULES.replace("at_most: 2", "at_most: 3")
    assert (
        "  + 208/12, 208/11, 208/10, 208/9, 208/8 and 7 more\n" in backtest(folder, edited).stdout
    )
    assert "208/2, 208/1\n" in backtest(folder, edited, "--all").stdout
    told = json.loads(backtest(folder, edited, "--json").stdout)
    assert len(told["rules"][1]["added"]) == 12


async def test_a_relay_that_runs_is_not_disturbed(folder: Path) -> None:
    now = datetime.now(UTC)
    outbox = await Outbox.open(folder / "relay.db", now=now)
    try:
        for number in (1, 2):
            body = a_hook(number, missed=True)
            hook = NewHook(body=body, chat=read_chat(body), received_at=now, rules_hash="x")
            assert (await outbox.accept(hook)).new
            result = await asyncio.to_thread(_in_a_process, folder)
            assert f"{number} chat" in result
    finally:
        await outbox.close()


def _in_a_process(folder: Path) -> str:
    # A command is a process of its own: in ours it would take the outbox's locks away.
    (folder / "new.yaml").write_text(_RULES, "utf-8")
    return subprocess.run(
        [sys.executable, "-m", "relay", "backtest", "new.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_without_a_history_it_can_t_run(folder: Path) -> None:
    result = backtest(folder, _RULES)
    assert result.exit_code == 2
    assert "relay.db" in result.stderr
    assert not (folder / "relay.db").exists()


def test_with_bad_rules_it_can_t_run(folder: Path) -> None:
    came_in(folder, a_hook(1))
    result = backtest(folder, "rules: 1")
    assert result.exit_code == 2
    assert "new.yaml:1:8: `rules:` takes a list" in result.stderr


def test_a_time_that_is_none_is_refused(folder: Path) -> None:
    result = backtest(folder, _RULES, "--since", "yesterday")
    assert result.exit_code == 2
    assert "write 30d, 12h or 2026-10-01" in result.stderr


async def test_a_page_can_compare_rules_with_the_chats_that_came_in_and_see_how_far_it_is(
    tmp_path: Path,
) -> None:
    await _keep(tmp_path / "relay.db", [a_hook(1, missed=True), a_hook(2)], datetime.now(UTC))
    told: list[tuple[int, int]] = []
    before, after = a_book(_RULES), a_book(_RULES.replace("missed: true", "missed: false"))
    found = await backtesting.backtest(
        CommandSessions(tmp_path / "relay.db"),
        before,
        after,
        progress=lambda *far: told.append(far),
    )
    assert [(each.rule, each.added, each.dropped) for each in found.changes] == [
        ("Missed", (("208", "2"),), (("208", "1"),)),
        ("Bad", (), ()),
    ]
    assert (told[0], told[-1]) == ((0, 2), (2, 2))


async def test_a_page_can_end_a_comparison_that_takes_too_long(tmp_path: Path) -> None:
    await _keep(tmp_path / "relay.db", [a_hook(1, missed=True)], datetime.now(UTC))
    book = a_book(_RULES)

    def stop(_done: int, _total: int) -> None:
        running.cancel()

    running = asyncio.create_task(
        backtesting.backtest(CommandSessions(tmp_path / "relay.db"), book, book, progress=stop)
    )
    with pytest.raises(asyncio.CancelledError):
        await running


_TIMED = """\
timezone: Europe/Prague
schedules:
  office: {days: mon-fri, hours: 08:00-17:00}
destinations:
  desk: {email: {to: desk@example.com}, hours: office}
  room: {email: {to: room@example.com}, send: every 30m}
mutes:
  - {because: Move, by: Anna, from: 2026-11-25 00:00, until: 2026-11-26 00:00, what: {rule: Missed}, then: nothing}
rules:
  - {name: Missed, when: {missed: true}, send_to: desk}
  - {name: Bad, when: {rating: {at_most: 2}}, send_to: room}
"""


def test_it_says_when_the_new_rules_would_have_sent(folder: Path) -> None:
    for moment, hook in (
        ("2026-11-25 12:00", a_hook(1, missed=True)),
        ("2026-11-27 12:00", a_hook(2, missed=True)),
        ("2026-11-27 17:59:59.946", a_hook(3, missed=True)),
        # A later hook of the same chat tells nobody anew.
        ("2026-11-28 10:00", a_hook(3, missed=True, rating=1)),
        ("2026-11-28 10:10", a_hook(4, rating=2)),
        ("2026-11-28 10:31", a_hook(5, rating=2)),
    ):
        asyncio.run(_keep(folder / "relay.db", [hook], at(moment)))
    result = backtest(folder, _TIMED)
    assert result.output.splitlines()[1] == (
        "6 notifications by the new rules: 1 at once, 1 when hours begin, 3 in 2 digests, 1 left out; "
        "the longest wait is 2 d 14 h; 1 was muted"
    )  # fmt: skip
    times = json.loads(backtest(folder, _TIMED, "--json").stdout)["times"]
    assert times == {
        "at_once": 1,
        "at_an_opening": 1,
        "digests": 2,
        "in_digests": 3,
        "left_out": 1,
        "muted": 1,
        "longest_wait_seconds": 62 * 3600 + 0.054,
    }


def test_it_says_what_a_limit_would_have_collected(folder: Path) -> None:
    for minute in range(7):
        moment = at(f"2026-11-27 10:0{minute}")
        asyncio.run(_keep(folder / "relay.db", [a_hook(minute, missed=True)], moment))
    rules = _TIMED.replace("}, hours: office}", "}, limit: 5 per hour}")
    times = json.loads(backtest(folder, rules, "--json").stdout)["times"]
    assert (times["at_once"], times["digests"], times["in_digests"]) == (5, 1, 2)
    assert times["longest_wait_seconds"] == 55 * 60


def test_of_rules_that_send_at_once_it_says_nothing_of_times(folder: Path) -> None:
    came_in(folder, a_hook(1, missed=True))
    assert json.loads(backtest(folder, _RULES, "--json").stdout)["times"] is None
    assert "by the new rules:" not in backtest(folder, _RULES).output
