"""Long work: begun, watched and stopped by who began it, in a process of its own that never outlives the relay."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from relay.clock import utc_now
from relay.console.jobs import Job, Jobs, State, TooManyJobs
from relay.console.request_context import Caller
from relay.console.sign_in import SignIn
from relay.outbox import Outbox
from relay.outbox.user_accounts import Role, User, UserSession
from relay.services.child_process import ChildFailed, SpareChild, in_child
from relay.services.live_backtest import Numbers, Trial, try_on_past
from relay.services.users import Users
from relay.settings.table import read_settings
from tests.builders import a_hook
from tests.console.child_work import compute_for_ever, fall_over, take_memory, twice
from tests.console.visiting import PASSWORD
from tests.rules.commands import relay
from tests.running import RULES, running_relay, settings


def a_caller(session: int = 1) -> Caller:
    user = User(id=session, name="ana", role=Role.EDITOR, password="")
    return Caller(session=UserSession(id=session, user=user, used_at=utc_now()), secret="x")


async def is_open(_: Caller) -> bool:
    return True


@pytest_asyncio.fixture
async def jobs() -> AsyncIterator[Jobs]:
    made = Jobs(is_open, utc_now)
    yield made
    await made.close()


async def for_ever(_: Job) -> None:
    await asyncio.Event().wait()


async def nothing(_: Job) -> str:
    return "found"


async def test_a_child_says_how_far_it_is_and_what_it_found() -> None:
    seen: list[tuple[int, int]] = []
    found = await in_child(
        twice, 21, answers=int, report=print, progress=lambda *each: seen.append(each)
    )
    assert (found, seen) == (42, [(1, 2)])


def processes() -> set[str]:
    """Those that this process has started."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {each for task in tasks for each in task.read_text(encoding="ascii").split()}


async def test_a_spare_child_takes_one_piece_of_work_and_ends_where_there_is_none() -> None:
    before = processes()
    spare = SpareChild("tests.console.child_work")
    spare.prepare()
    spare.prepare()
    for number in (21, 4):  # by the one that waited, and by a new one
        found = await in_child(twice, number, answers=int, report=print, spare=spare)
        assert found == 2 * number
    spare.prepare()
    await spare.close()
    late = SpareChild("tests.console.child_work", idle=0)
    late.prepare()
    await late.close()
    assert processes() <= before


@pytest.mark.parametrize("steps", [None, 0, 1])
async def test_a_spare_child_ends_where_taking_it_is_cancelled(steps: int | None) -> None:
    """While it starts, and so many steps of the loop after it has started: one later it is taken."""
    before, tasks, loop = processes(), asyncio.all_tasks(), asyncio.get_running_loop()
    spare = SpareChild("tests.console.child_work")
    spare.prepare()
    (starting,) = asyncio.all_tasks() - tasks
    taking = asyncio.create_task(spare.take())
    if steps is None:
        loop.call_soon(taking.cancel)
    elif steps == 0:
        starting.add_done_callback(lambda _: taking.cancel())
    else:
        starting.add_done_callback(lambda _: loop.call_soon(taking.cancel))
    with pytest.raises(asyncio.CancelledError):
        await taking
    await spare.close()
    assert processes() <= before


@pytest.mark.parametrize(
    ("work", "why"), [(take_memory, "too much memory"), (fall_over, r"failed \(ValueError\)")]
)
async def test_a_child_that_fails_says_why_without_the_words_of_visitors(
    work: object, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ChildFailed, match=why) as failed:
        await in_child(work, answers=int, report=print)  # type: ignore[arg-type]
    assert "a visitor's" not in f"{failed.value}{capfd.readouterr().err}"


async def test_a_stopped_job_has_no_child_any_more(jobs: Jobs) -> None:
    process: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work(_: Job) -> int:
        return await in_child(compute_for_ever, answers=int, report=process.set_result)

    job = jobs.start(a_caller(), "past", work, back="/")
    number = await process
    await jobs.stop(job)
    assert job.state is State.STOPPED
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_child_ends_with_a_relay_that_is_killed() -> None:
    program = (
        "import asyncio; from relay.services.child_process import in_child; from tests.console import child_work;"
        "asyncio.run(in_child(child_work.compute_for_ever, answers=int, report=lambda at: print(at, flush=True)))"
    )
    begun = [sys.executable, "-c", program]
    with subprocess.Popen(begun, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        assert int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        # The child holds it, too: its end is the end of both.
        assert parent.stderr.read() == b""


async def test_a_job_is_seen_by_who_began_it_and_by_nobody_else(jobs: Jobs) -> None:
    job = jobs.start(a_caller(1), "past", nothing, back="/")
    assert jobs.find(a_caller(1), job.id) is job
    assert jobs.find(a_caller(2), job.id) is None
    assert jobs.find(a_caller(1), "no such") is None


async def test_what_the_work_returns_is_the_value_of_the_job(jobs: Jobs) -> None:
    job = jobs.start(a_caller(), "past", nothing, back="/")
    assert job.task
    await asyncio.wait([job.task])
    assert (job.state, job.value, job.is_over) == (State.DONE, "found", True)


async def test_of_a_kind_that_runs_alone_the_next_waits_for_that_of_somebody_else(
    jobs: Jobs,
) -> None:
    first = jobs.start(a_caller(1), "past", for_ever, back="/", alone=True)
    second = jobs.start(a_caller(2), "past", nothing, back="/", alone=True)
    other = jobs.start(a_caller(2), "words", nothing, back="/", alone=True)
    assert other.task
    assert second.task
    await asyncio.wait([other.task])
    assert (first.state, second.state) == (State.RUNNING, State.WAITING)
    await jobs.stop(first)
    await asyncio.wait([second.task])
    assert second.state is State.DONE


async def test_of_a_kind_that_runs_alone_the_next_of_a_user_stops_the_one_before(
    jobs: Jobs,
) -> None:
    first = jobs.start(a_caller(), "past", for_ever, back="/", alone=True)
    second = jobs.start(a_caller(), "past", nothing, back="/", alone=True)
    assert second.task
    await asyncio.wait([second.task])
    assert (first.state, second.state) == (State.STOPPED, State.DONE)


async def test_somebody_has_only_a_few_jobs_at_a_time(jobs: Jobs) -> None:
    for _ in range(4):
        jobs.start(a_caller(1), "resend", for_ever, back="/")
    with pytest.raises(TooManyJobs):
        jobs.start(a_caller(1), "resend", for_ever, back="/")
    with pytest.raises(TooManyJobs):
        jobs.refuse_too_many(a_caller(1))
    jobs.refuse_too_many(a_caller(2))
    assert jobs.start(a_caller(2), "resend", nothing, back="/")


async def test_a_job_ends_with_the_session_that_began_it() -> None:
    async def is_closed(_: Caller) -> bool:
        return False

    jobs = Jobs(is_closed, utc_now)
    job = jobs.start(a_caller(), "past", for_ever, back="/")
    assert job.task
    await asyncio.wait([job.task])
    assert job.state is State.STOPPED
    await jobs.close()


@pytest.mark.parametrize("how", ["ended", "less", "removed"])
async def test_a_job_ends_with_the_token_that_began_it(tmp_path: Path, how: str) -> None:
    outbox = await Outbox.open(tmp_path / "relay.db", now=utc_now())
    sign_in, nobody = SignIn(outbox, None, utc_now), Caller(session=None, secret="")
    await sign_in.change(nobody, lambda users: users.add("boss", Role.ADMIN))
    secret = await sign_in.change(
        nobody,
        lambda users: users.make_token(users.add("ana", Role.EDITOR), "robot", Role.EDITOR, None),
    )
    token = await sign_in.find_token(secret)
    assert token
    jobs = Jobs(sign_in.is_open, utc_now)
    caller = Caller(session=None, secret=secret, token=token)
    assert await sign_in.is_open(caller)
    job = jobs.start(caller, "past", for_ever, back="/")
    ends: dict[str, Callable[[Users], None]] = {
        "ended": lambda users: users.end_token(token.id, token.name),
        "less": lambda users: users.set_role(users.find("ana"), Role.VIEWER),
        "removed": lambda users: users.remove(users.find("ana")),
    }
    await sign_in.change(nobody, ends[how])
    assert job.task
    await asyncio.wait([job.task])
    assert job.state is State.STOPPED
    await jobs.close()
    sign_in.close()
    await outbox.close()


async def test_jobs_end_with_the_relay(jobs: Jobs) -> None:
    job = jobs.start(a_caller(), "past", for_ever, back="/")
    await jobs.close()
    assert job.state is State.STOPPED


# -- rules tried on the past ------------------------------------------------------------------------------------

DRAFT = RULES.replace("when: {missed: true}", "when: {rating: {at_most: 2}}")
WITH_HOURS = DRAFT.replace(
    "room: {",
    "room: {hours: nights, ",
).replace("destinations:", "schedules:\n  nights: {hours: 22:00-23:00}\ndestinations:")


@pytest.mark.usefixtures("each_store")
async def test_the_numbers_are_those_of_the_command(tmp_path: Path) -> None:
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as running:
        for number in range(1, 30):
            more = {"rating": number % 5 + 1} if number % 3 else {"missed": True}
            await running.post(a_hook(number, **more))
        await running.post(a_hook(1, missed=True, rating=1))  # once more, rated meanwhile
        variables = settings(tmp_path)
        for draft in (DRAFT, WITH_HOURS):
            (tmp_path / "new.yaml").write_text(draft, "utf-8")
            trial = Trial(
                database=read_settings(variables).database,
                before=RULES.encode(),
                after=draft.encode(),
                path=tmp_path / "rules.yaml",
                templates=None,
                since=utc_now() - timedelta(days=1),
            )
            found = await in_child(try_on_past, trial, answers=Numbers, report=lambda _: None)
            result = await asyncio.to_thread(
                partial(relay, "backtest", tmp_path / "new.yaml", "--json", **variables)  # type: ignore[arg-type]
            )
            assert_same(found, json.loads(result.stdout))


def assert_same(found: Numbers, expected: Any) -> None:
    assert (found.chats, found.told_before, found.told_after) == (
        expected["chats"],
        expected["told_before"],
        expected["told_after"],
    )
    assert (found.times is None) == (expected["times"] is None)
    if found.times:
        times = expected["times"]
        assert (found.times.at_once, found.times.later) == (
            times["at_once"],
            times["at_an_opening"],
        )
        assert found.times.longest_wait.total_seconds() == times["longest_wait_seconds"]
    for rule, wanted in zip(found.rules, expected["rules"], strict=True):
        assert (rule.rule, rule.before, rule.after) == (
            wanted["rule"],
            wanted["before"],
            wanted["after"],
        )
        for some, count, names in (
            (rule.some_added, rule.added, wanted["added"]),
            (rule.some_dropped, rule.dropped, wanted["dropped"]),
            (rule.some_redirected, rule.redirected, wanted["redirected"]),
        ):
            assert count == len(names)
            assert ["/".join(name) for name in some] == names[::-1][:20]
