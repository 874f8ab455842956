"""One server, many recipients: a slow one does not hold up the others."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.transports import Ending, Outcome
from relay.transports.email.fair_shares import FairShares
from relay.transports.email.pool import PoolLimits
from tests.servers import DEADLINE, Tarpit
from tests.transports.examples import IDENTITY, MISSED
from tests.transports.test_email import MailBench, mail_bench


def tarpit(bench: MailBench) -> Tarpit:
    assert isinstance(bench.server, Tarpit)
    return bench.server


async def send(bench: MailBench, recipient: str) -> Outcome:
    return await asyncio.wait_for(bench.transport.send(MISSED, recipient, IDENTITY), DEADLINE)


A, B, C, QUICK = (f"{name}@example.com" for name in ("a", "b", "c", "quick"))
LASTING = PoolLimits(idle=10_000, age=10_000, doubtful=10_000)


@pytest.mark.parametrize(
    ("known", "slow", "held"),
    [
        ((), [A], 1),
        ((A, QUICK), [A], 2),
        ((QUICK,), [A, B, C], 3),
        ((A, B, QUICK), [A, B], 3),
    ],
    ids=["slow from the start", "slow all at once", "three", "two all at once"],
)
async def test_a_quick_recipient_gets_its_mails_while_slow_ones_hold_connections(
    known: tuple[str, ...], slow: list[str], held: int
) -> None:
    now = [1000.0]
    async with mail_bench(kind=Tarpit, limits=LASTING, clock=lambda: now[0]) as bench:
        server = tarpit(bench)
        for recipient in known:
            assert (await send(bench, recipient)).ending is Ending.DELIVERED
        server.slow = set(slow)
        mails = [asyncio.create_task(send(bench, each)) for each in slow for _ in range(6)]
        await server.until(lambda: server.hung == held)
        for _ in range(20):
            assert (await send(bench, QUICK)).ending is Ending.DELIVERED
            now[0] += 1
        assert held <= server.hung <= max(held, 2)
        server.go_on.set()
        assert {(await mail).ending for mail in mails} == {Ending.DELIVERED}


async def test_a_slow_recipient_has_at_most_half_of_the_connections() -> None:
    now = [1000.0]
    async with mail_bench(kind=Tarpit, limits=LASTING, clock=lambda: now[0]) as bench:
        server = tarpit(bench)
        server.slow = {A}
        mails = [asyncio.create_task(send(bench, A))]
        await server.until(lambda: server.hung == 1)
        now[0] += 11
        mails += [asyncio.create_task(send(bench, A)) for _ in range(5)]
        await server.until(lambda: server.hung == 2)
        assert (await send(bench, QUICK)).ending is Ending.DELIVERED
        assert server.hung == 2
        server.slow = set()
        server.go_on.set()
        assert {(await mail).ending for mail in mails} == {Ending.DELIVERED}


async def test_who_was_slow_is_quick_again_after_a_quick_mail() -> None:
    now = [1000.0]
    async with mail_bench(kind=Tarpit, limits=LASTING, clock=lambda: now[0]) as bench:
        server = tarpit(bench)
        server.slow = {A}
        mail = asyncio.create_task(send(bench, A))
        await server.until(lambda: server.hung == 1)
        now[0] += 11
        server.go_on.set()
        await mail
        server.slow = set()
        await send(bench, A)
        server.slow, server.go_on = {A}, asyncio.Event()
        mails = [asyncio.create_task(send(bench, A)) for _ in range(4)]
        await server.until(lambda: server.hung == 1 + 4)  # it is alone, and was quick
        server.go_on.set()
        assert {(await mail).ending for mail in mails} == {Ending.DELIVERED}


async def test_a_lone_recipient_may_use_every_connection() -> None:
    async with mail_bench(kind=Tarpit) as bench:
        server = tarpit(bench)
        await send(bench, A)
        server.slow = {A}
        held = [asyncio.create_task(send(bench, A)) for _ in range(6)]
        await server.until(lambda: server.hung == 4)
        server.go_on.set()
        assert {(await mail).ending for mail in held} == {Ending.DELIVERED}


async def test_a_mail_that_is_cancelled_takes_nothing_with_it() -> None:
    async with mail_bench(kind=Tarpit) as bench:
        server = tarpit(bench)
        server.slow = {A}
        held = [asyncio.create_task(send(bench, A)) for _ in range(4)]
        await server.until(lambda: server.hung == 1)
        for mail in held[:3]:  # the one under way, and two that wait
            mail.cancel()
        await asyncio.wait(held[:3])
        server.go_on.set()
        assert (await held[3]).ending is Ending.DELIVERED
        assert (await send(bench, QUICK)).ending is Ending.DELIVERED


# -- any order of things -----------------------------------------------------------------------------------


@dataclass
class Walk:
    """Mails under way and waiting, and a clock."""

    now: float = 0.0
    under_way: list[tuple[str, float]] = field(default_factory=list)
    waiting: dict[asyncio.Task[None], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shares = FairShares(4, 10.0, lambda: self.now)

    async def wait(self, recipient: str) -> None:
        since = await self.shares.take(recipient)
        self.under_way.append((recipient, since))

    async def settle(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        self.waiting = {task: name for task, name in self.waiting.items() if not task.done()}


STEPS = st.one_of(
    st.tuples(st.just("send"), st.sampled_from("abc")),
    st.tuples(st.just("end"), st.integers(0, 9)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("pass"), st.sampled_from((1, 11))),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_whatever_happens_connections_are_shared_and_none_is_lost(
    steps: list[tuple[str, str | int]],
) -> None:
    asyncio.run(_walk(steps))


async def _walk(steps: list[tuple[str, str | int]]) -> None:
    walk = Walk()
    for act, what in steps:
        match act, what:
            case "send", str(name):
                walk.waiting[asyncio.create_task(walk.wait(name))] = name
            case "end", int(which) if walk.under_way:
                walk.shares.give_back(*walk.under_way.pop(which % len(walk.under_way)))
            case "cancel", int(which) if walk.waiting:
                list(walk.waiting)[which % len(walk.waiting)].cancel()
            case "pass", int(seconds):
                walk.now += seconds
        await walk.settle()
        assert len(walk.under_way) <= 4
        assert walk.under_way or not walk.waiting, "somebody waits for nothing"
    while walk.under_way:
        walk.shares.give_back(*walk.under_way.pop(0))
        await walk.settle()
    assert not walk.waiting
