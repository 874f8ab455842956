"""Whether a relay's process has surely ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.outbox.process_identity import Process

OWN = Process.own("127.0.0.1:8000")


def never() -> bool:
    raise AssertionError("the connection decides nothing here")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    code = (
        f"from {Process.__module__} import Process; print(Process.own().name, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_a_process_on_this_machine_has_ended_when_it_is_gone(child: subprocess.Popen[str]) -> None:
    assert child.stdout
    other = Process.named(child.stdout.readline().strip("\n"))
    assert other.pid == child.pid
    assert not other.has_ended(OWN, never)
    child.send_signal(signal.SIGSTOP)  # one that only stands still
    assert not other.has_ended(OWN, never)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # its parent has not heard of it yet
    assert other.has_ended(OWN, never)
    child.wait()
    assert other.has_ended(OWN, never)


def test_another_process_with_the_id_of_one_that_ended_is_not_taken_for_it() -> None:
    assert not replace(OWN, token="other").has_ended(OWN, never)
    assert replace(OWN, token="other", started="1").has_ended(OWN, never)


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize(
    ("change", "is_replaced"),
    [
        ({}, True),
        ({"listens": ""}, False),
        ({"listens": "127.0.0.1:8001"}, False),
        ({"host": "other"}, False),
        ({"boot": "other"}, False),
        ({"boot": ""}, False),
    ],
)
def test_a_container_has_ended_when_its_place_is_taken_and_it_is_not_connected(
    change: dict[str, str], is_replaced: bool, connected: bool
) -> None:
    other = replace(OWN, **{"namespace": "pid:[1]", "pid": 1, **change})
    assert other.has_ended(OWN, lambda: connected) == (is_replaced and not connected)


def test_nobody_takes_the_process_of_an_older_relay_for_ended() -> None:
    assert not Process.named("0123456789abcdef").has_ended(OWN, never)


WORDS = st.text(st.characters(exclude_characters=" ", codec="utf-8"))


@given(st.builds(Process, WORDS, WORDS, WORDS, st.integers(0, 2**22), WORDS, WORDS, WORDS))
def test_a_name_says_all_of_it(process: Process) -> None:
    assert Process.named(process.name) == process
