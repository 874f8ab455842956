"""How long sessions last, how often somebody may try, and what is there without a password."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from relay.console.request_checks import MOST_AT_ONCE, MOST_WAITING
from relay.console.throttle import SOONER, TRIES, Throttle, Turns, network_of
from tests.console.visiting import PASSWORD, Got, Visitor, signed_in
from tests.running import DEADLINE, MovableClock, RunningRelay, running_relay, settings


async def test_without_a_password_there_is_no_console(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        for path in ("/", "/login", "/health", "/static/console.css", "/nothing"):
            got = await Visitor(relay).get(path)
            assert (got.status, got.text) == (404, '{"error":"not found"}')


def test_what_a_relay_does_not_use_is_not_loaded(tmp_path: Path) -> None:
    """In a process of its own, as this one has loaded it: the console, the other database, and what changes old ones."""
    pages = ("relay.console.", "argon2")
    databases = ("psycopg", "sqlalchemy.dialects.postgresql", "alembic")
    serve = (
        "import atexit, sys; from relay.cli import main; "
        "atexit.register(lambda: print(*sys.modules)); main(['serve'])"
    )
    own = settings(tmp_path, RELAY_DATABASE=f"sqlite:///{tmp_path}/relay.db")
    with subprocess.Popen(
        [sys.executable, "-c", serve], env={**os.environ, **own}, stdout=subprocess.PIPE, text=True
    ) as relay:
        assert relay.stdout
        assert "takes hooks" in relay.stdout.readline()
        relay.terminate()
        loaded = relay.stdout.read().split()
    assert "relay.web.app" in loaded
    assert [name for name in loaded if name.startswith(pages + databases)] == []


async def test_too_many_tries_have_to_wait_even_with_the_right_password(tmp_path: Path) -> None:
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        visitor, tries = Visitor(relay), list[int]()
        while 429 not in tries:  # each half minute one more is let through
            tries.append((await visitor.sign_in(password="wrong")).status)
        assert {*tries[:-1]} == {422}
        assert len(tries) > TRIES
        got = await visitor.sign_in()
        assert got.status == 429
        assert 0 < int(got.headers["retry-after"]) <= 30
        # Another name of the same address is not slowed by it, only by the address's own tries.
        assert (await visitor.sign_in(name="somebody", password="wrong")).status == 422
        assert relay.rows("SELECT count(*) FROM sessions") == [(0,)]


def test_a_throttle_lets_through_one_at_a_time_after_its_burst() -> None:
    throttle = Throttle(burst=3, seconds=30)
    assert [throttle.take("a", 0.0) for _ in range(4)] == [0, 0, 0, 30]
    assert throttle.take("b", 0.0) == 0
    assert throttle.take("a", 29.0) == 1
    assert throttle.take("a", 30.0) == 0
    assert throttle.take("a", 31.0) == 29
    throttle.give_back("a", 31.0)
    assert throttle.take("a", 31.0) == 0


async def test_a_session_ends_when_nobody_does_anything_and_after_two_weeks_anyhow(
    tmp_path: Path,
) -> None:
    clock = MovableClock()
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD, clock=clock) as relay:
        visitor = Visitor(relay)
        await visitor.sign_in()
        for _ in range(3):
            clock.forward(hours=11)
            assert (await visitor.get("/health")).status == 200
        clock.forward(hours=11)
        # A page that asks by itself what is new is nobody who does something.
        assert (await visitor.get("/health", **{"hx-request": "true"})).status == 200
        clock.forward(hours=2)
        assert (await visitor.get("/health")).status == 303
        await visitor.sign_in()
        relay.change("UPDATE sessions SET created_at = created_at - ?", 14 * 86_400_000 - 60_000)
        assert (await visitor.get("/health")).status == 200
        clock.forward(minutes=2)
        assert (await visitor.get("/health")).status == 303


async def test_another_password_ends_the_sessions_of_the_one_before(tmp_path: Path) -> None:
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        visitor = Visitor(relay)
        await visitor.sign_in()
        cookie = visitor.cookie
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        assert (await Visitor(relay, cookie).get("/health")).status == 200
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD="another password") as relay:
        assert (await Visitor(relay, cookie).get("/health")).status == 303
        assert (await Visitor(relay).sign_in()).status == 422
        assert (await Visitor(relay).sign_in(password="another password")).status == 303


async def test_who_tries_anothers_name_does_not_keep_them_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")

    async def tried(relay: RunningRelay, address: str, password: str) -> int:
        visitor = Visitor(relay, headers={"x-forwarded-for": address})
        return (await visitor.sign_in(password=password)).status

    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        evil: list[int] = []
        while 429 not in evil:
            evil.append(await tried(relay, f"2001:db8::{len(evil)}", "wrong"))
        assert {*evil[:-1]} == {422}
        assert len(evil) > TRIES
        for address in ("2001:db8:0:1::1", "192.0.2.1"):
            assert await tried(relay, address, PASSWORD) == 303


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "a name", False),
    ],
)
def test_addresses_of_one_subscriber_are_counted_as_one(
    one: str, other: str, is_same: bool
) -> None:
    assert (network_of(one) == network_of(other)) is is_same


async def test_what_was_written_is_shown_where_the_session_has_ended(tmp_path: Path) -> None:
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        visitor = await signed_in(relay)
        token = await visitor.token()
        assert (await visitor.post("/logout", token=token)).status == 303
        form = {"token": token, "act": "publish", "text": "an <hour> of work"}
        got = await visitor.post("/rules/edit", None, **form)
        assert (got.status, "an &lt;hour&gt; of work" in got.text) == (401, True)


async def test_who_waits_has_a_turn_after_those_before() -> None:
    usual = sys.getswitchinterval()
    turns, holds, ends, seen = Turns(1, 1, DEADLINE), asyncio.Event(), asyncio.Event(), list[str]()

    async def first() -> None:
        async with turns.turn():
            holds.set()
            await ends.wait()
            seen.append("first")
            assert sys.getswitchinterval() == pytest.approx(SOONER)

    async def second() -> None:
        async with turns.turn():
            seen.append("second")

    both = [asyncio.create_task(each()) for each in (first, second)]
    await holds.wait()
    with pytest.raises(TimeoutError):
        async with turns.turn():
            seen.append("third")
    ends.set()
    await asyncio.gather(*both)
    assert sys.getswitchinterval() == pytest.approx(usual)
    assert seen == ["first", "second"]
    late = Turns(1, 1, 0)
    async with late.turn():
        with pytest.raises(TimeoutError):
            async with late.turn():
                seen.append("late")
    async with late.turn():
        seen.append("again")
    assert seen[2:] == ["again"]


async def test_who_waits_begins_at_last_beside_one_that_takes_long() -> None:
    turns = Turns(2, 0, DEADLINE)
    async with turns.turn(), turns.turn():
        with pytest.raises(TimeoutError):
            async with turns.turn():
                raise AssertionError
    async with turns.turn():  # and both have made room
        pass


async def test_of_too_many_requests_at_once_some_are_told_to_wait(tmp_path: Path) -> None:
    """Who tries to sign in waits here for the database, which another program holds."""
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        with contextlib.closing(sqlite3.connect(tmp_path / "relay.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            tries = {
                asyncio.create_task(Visitor(relay).sign_in(name=f"nobody-{n}", password="x"))
                for n in range(MOST_AT_ONCE + MOST_WAITING + 3)
            }
            answered: set[asyncio.Task[Got]] = set()
            while len(answered) < 3:
                some, _ = await asyncio.wait(tries - answered, return_when=asyncio.FIRST_COMPLETED)
                answered |= some
            other.rollback()
        assert {one.result().status for one in answered} == {503}
        # The others got their turn, but not more of them than one address may try.
        others = {got.status for got in await asyncio.gather(*tries - answered)}
        assert 422 in others
        assert others <= {422, 429, 503}
