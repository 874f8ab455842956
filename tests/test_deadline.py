"""Deadlines end what is late, and nothing else; the loop's clock goes as far as it must, and nobody waits."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import Deadline

WORK = object()
"""What work that ends in time returns."""


class SteppedLoop(asyncio.SelectorEventLoop):
    """Where nothing is ready, its clock goes on to the next timer at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def step(timeout: float | None) -> Any:
            self.now += timeout or 0.0
            return select(0)

        self._selector.select = step  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.now


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        return runner.run(coroutine)


def now() -> float:
    return asyncio.get_running_loop().time()


async def works(deadline: Deadline, seconds: float) -> tuple[str, float]:
    """How work that takes so long ends, and when."""
    try:
        with deadline.start():
            await asyncio.sleep(seconds)
    except TimeoutError:
        return "late", now()
    return "done", now()


def test_work_whose_deadline_is_lifted_goes_on() -> None:
    async def main() -> None:
        deadline = Deadline(10)
        with deadline.start() as running:
            await asyncio.sleep(9)
            running.lift()
            assert await works(deadline, 11) == ("late", 19)
            await asyncio.sleep(1000)
            running.lift()
        assert now() == 1019

    run(main())


def test_work_that_ends_in_time_is_left_alone() -> None:
    async def main() -> None:
        deadline = Deadline(10)
        assert await works(deadline, 9) == ("done", 9)
        assert await works(deadline, 9) == ("done", 18)
        await asyncio.sleep(100)

    run(main())


def test_one_that_is_late_ends_at_its_deadline() -> None:
    async def main() -> None:
        deadline = Deadline(10)
        for at in (10, 20):
            assert await works(deadline, 11) == ("late", at)
            assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    run(main())


@pytest.mark.parametrize(("seconds", "late"), [(0.2, 0.02), (10, 1), (1080, 1)])
def test_of_many_none_goes_on_for_long_and_few_looks_are_made(seconds: float, late: float) -> None:
    async def main() -> None:
        deadline = Deadline(seconds)
        begun, tasks = [], []
        for _ in range(500):
            begun.append(now())
            tasks.append(asyncio.create_task(works(deadline, 2 * seconds)))
            await asyncio.sleep(seconds / 250)
        ended = [at for how, at in await asyncio.gather(*tasks) if how == "late"]
        overdue = [end - begin - seconds for begin, end in zip(begun, ended, strict=True)]
        assert min(overdue) > -1e-6
        assert max(overdue) < late * 1.01
        assert len(set(ended)) <= 2 * seconds / late + 2

    run(main())


def test_work_that_began_later_has_all_of_its_time() -> None:
    async def main() -> None:
        deadline = Deadline(10)
        await works(deadline, 1)
        assert await works(deadline, 9.5) == ("done", 10.5)

    run(main())


def test_what_the_work_raises_is_raised() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError), Deadline(10).start():
            raise ZeroDivisionError

    run(main())


def test_no_task_no_deadline() -> None:
    async def main() -> None:
        failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

        def callback() -> None:
            try:
                Deadline(1).start()
            except RuntimeError as error:
                failed.set_result(error)

        asyncio.get_running_loop().call_soon(callback)
        assert "only a task" in str(await failed)

    run(main())


def test_all_can_be_ended_at_once_and_later_work_is_not() -> None:
    async def main() -> None:
        deadline = Deadline(10)
        tasks = [asyncio.create_task(works(deadline, 5)) for _ in range(3)]
        await asyncio.sleep(1)
        deadline.end_all()
        deadline.end_all()
        assert await asyncio.gather(*tasks) == [("late", 1)] * 3
        assert await works(deadline, 9) == ("done", 10)

    run(main())


def test_one_task_may_start_the_same_deadline_within_itself() -> None:
    async def main() -> None:
        deadline = Deadline(10)
        with suppress(TimeoutError), deadline.start():
            await asyncio.sleep(4)
            assert await works(deadline, 3) == ("done", 7)
            await works(deadline, 11)  # the outer one comes first
        assert now() == 10
        assert await works(deadline, 5) == ("done", 15)

    run(main())


def test_work_may_tidy_up_before_it_ends() -> None:
    async def tidies_up() -> None:
        try:
            await asyncio.sleep(11)
        finally:
            await asyncio.sleep(3)

    async def main() -> None:
        with suppress(TimeoutError), Deadline(10).start():
            await tidies_up()
        assert now() == 13

    run(main())


def test_the_clean_up_of_a_cancelled_task_can_have_a_deadline() -> None:
    async def main() -> None:
        async def work() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                assert await works(Deadline(10), 50) == ("late", 15)

        task = asyncio.create_task(work())
        asyncio.get_running_loop().call_at(5, task.cancel)
        await asyncio.wait([task])
        assert (task.cancelled(), now()) == (True, 15)

    run(main())


Limit = Callable[[float], Any]


async def as_it_ends(
    limit: Limit, nested: list[int], work: int, cancelled_at: list[int], swallow: bool
) -> list[object]:
    """What comes out of work under nested limits, level by level, when, and how often it is still to be cancelled."""
    out: list[object] = []

    async def level(left: list[int]) -> None:
        if not left:
            await asyncio.sleep(work)
            return
        try:
            async with limit(left[0]):
                await level(left[1:])
        except BaseException as error:
            out.append((len(left), type(error), now(), asyncio.current_task().cancelling()))  # type: ignore[union-attr]
            if not (swallow and isinstance(error, TimeoutError)):
                raise

    async def all_levels() -> None:
        await level(nested)
        await asyncio.sleep(3)  # nothing of it may come later

    task = asyncio.create_task(all_levels())
    for at in cancelled_at:
        asyncio.get_running_loop().call_at(at, task.cancel)
    await asyncio.wait([task])
    return [*out, task.cancelled(), task.cancelled() or task.exception().__class__, now()]


@asynccontextmanager
async def limit(seconds: float) -> Any:
    with Deadline(seconds).start():
        yield


@given(
    nested=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    work=st.integers(1, 5),
    cancelled_at=st.lists(st.integers(1, 5), max_size=2),
    swallow=st.booleans(),
)
def test_it_ends_as_asyncios_own_timeout_would_end_it(
    nested: list[int], work: int, cancelled_at: list[int], swallow: bool
) -> None:
    ours, asyncios = (
        run(as_it_ends(each, nested, work, cancelled_at, swallow))
        for each in (limit, asyncio.timeout)
    )
    assert ours == asyncios
