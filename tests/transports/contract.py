"""What every transport must do. A transport's tests subclass `TransportContract` and give it a `Bench`."""

import asyncio
import contextlib
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from enum import Enum
from typing import Any, ClassVar

import pytest

from relay.notification import Notification
from relay.transports import PROGRESS, Ending, Outcome, Progress, Transport
from tests.servers import PATIENCE
from tests.transports.examples import HOSTILE, IDENTITY, MISSED, saying, typed


def names_lead_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Whatever name is looked up from now on."""
    kind, ask = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, ""), socket.getaddrinfo

    def found(host: str, port: int, **more: Any) -> list[Any]:
        if more.get("flags") == socket.AI_NUMERICHOST:
            return ask(host, port, **more)
        return [(*kind, address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@contextlib.contextmanager
def a_black_hole(address: str, port: int) -> Iterator[None]:
    """Takes no connection and refuses none: a listener whose queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex((address, port))
        yield


class Weather(Enum):
    """How the server behaves."""

    FAIR = "takes everything"
    REFUSING = "refuses this message for good"
    NOT_NOW = "refuses it for now"
    TOO_MANY = "asks to wait for 30 s"
    LOCKED = "does not let us in"
    TOO_LONG = "finds the message too long"
    DROPPING = "closes the connection when it has heard the message"
    SILENT = "says nothing when it has heard the message"
    BABBLING = "answers with something that makes no sense"


class Bench(ABC):
    """A transport that is open, and its server on loopback."""

    transport: Transport
    recipient: str
    secrets: tuple[str, ...] = ()
    """What must not be shown. The server repeats them in each answer."""

    @abstractmethod
    def set(self, weather: Weather) -> None:
        """From now on."""

    @abstractmethod
    def tries(self) -> int:
        """How many messages the server heard, taken or not."""

    @abstractmethod
    async def heard(self, count: int) -> None:
        """Waits for so many tries."""

    @abstractmethod
    def taken(self) -> list[bytes]:
        """The messages it took, as they stood on the wire."""

    @abstractmethod
    def shown(self) -> str:
        """All text of the last message that a reader would see."""

    @abstractmethod
    async def leave(self) -> None:
        """Nobody listens any more."""

    async def send(self, notification: Notification = MISSED) -> Outcome:
        return await asyncio.wait_for(
            self.transport.send(notification, self.recipient, IDENTITY), timeout=10 * PATIENCE
        )


class TransportContract(ABC):
    """Named for the medium in its subclass: TestEmail, TestSlackWebhook."""

    success: ClassVar[Ending] = Ending.DELIVERED
    success_says: ClassVar[str]
    """A part of what the server says when it takes a message."""
    rate_limits: ClassVar[bool] = True
    has_not_now: ClassVar[bool] = True
    """Whether the medium has an answer that surely means "not delivered, try again"."""

    @staticmethod
    @abstractmethod
    def open(*, hurried: bool) -> AbstractAsyncContextManager[Bench]:
        """`hurried`: the loop's clock goes on where the server keeps the transport waiting."""

    @pytest.fixture
    async def bench(self, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
        callspec = getattr(request.node, "callspec", None)
        weather = callspec.params.get("weather") if callspec else None
        async with self.open(hurried=weather is Weather.SILENT) as bench:
            yield bench

    async def test_a_notification_reaches_the_far_end(self, bench: Bench) -> None:
        outcome = await bench.send()
        assert outcome.ending is self.success
        assert "Missed chat from Marta Nowák" in bench.shown()
        assert len(bench.taken()) == 1

    async def test_what_the_far_end_said_is_told(self, bench: Bench) -> None:
        assert self.success_says in (await bench.send()).detail

    async def test_a_message_refused_for_good_is_refused(self, bench: Bench) -> None:
        bench.set(Weather.REFUSING)
        outcome = await bench.send()
        assert (outcome.ending, outcome.shorten) == (Ending.REFUSED, False)

    async def test_a_message_refused_for_now_is_for_later(self, bench: Bench) -> None:
        if not self.has_not_now:
            pytest.skip("the medium has no such answer")
        bench.set(Weather.NOT_NOW)
        assert (await bench.send()).ending is Ending.LATER

    async def test_a_wait_that_is_asked_for_is_told(self, bench: Bench) -> None:
        if not self.rate_limits:
            pytest.skip("the medium has no such answer")
        bench.set(Weather.TOO_MANY)
        outcome = await bench.send()
        assert (outcome.ending, outcome.after) == (Ending.RATE_LIMITED, timedelta(seconds=30))

    async def test_a_refused_sign_in_breaks_the_destination_not_the_message(
        self, bench: Bench
    ) -> None:
        bench.set(Weather.LOCKED)
        assert (await bench.send()).ending is Ending.DESTINATION_BROKEN

    async def test_a_message_found_too_long_may_be_sent_in_short(self, bench: Bench) -> None:
        bench.set(Weather.TOO_LONG)
        outcome = await bench.send()
        assert (outcome.ending, outcome.shorten) == (Ending.REFUSED, True)

    async def test_nobody_listening_is_for_later(self, bench: Bench) -> None:
        await bench.leave()
        assert (await bench.send()).ending is Ending.LATER

    async def test_where_nobody_listens_nothing_is_being_sent(self, bench: Bench) -> None:
        await bench.leave()
        PROGRESS.set(progress := Progress())
        await bench.send()
        assert not progress.is_sending

    @pytest.mark.parametrize("weather", Weather)
    async def test_what_may_have_arrived_was_being_sent(
        self, bench: Bench, weather: Weather
    ) -> None:
        bench.set(weather)
        PROGRESS.set(progress := Progress())
        outcome = await bench.send()
        surely_not = {Ending.LATER, Ending.REFUSED, Ending.RATE_LIMITED, Ending.DESTINATION_BROKEN}
        assert progress.is_sending or outcome.ending in surely_not

    @pytest.mark.parametrize("weather", [Weather.DROPPING, Weather.SILENT])
    async def test_an_answer_that_is_lost_may_have_been_a_yes(
        self, bench: Bench, weather: Weather
    ) -> None:
        bench.set(weather)
        assert (await bench.send()).ending is Ending.MAYBE_DELIVERED

    @pytest.mark.parametrize("weather", Weather)
    async def test_each_attempt_is_one_message_and_no_more(
        self, bench: Bench, weather: Weather
    ) -> None:
        bench.set(weather)
        await bench.send()
        assert bench.tries() <= 1
        await bench.send()
        assert bench.tries() <= 2

    @pytest.mark.parametrize("weather", Weather)
    async def test_no_secret_stands_in_any_detail(self, bench: Bench, weather: Weather) -> None:
        bench.set(weather)
        detail = (await bench.send()).detail
        assert detail
        assert len(detail) <= 400
        assert [secret for secret in bench.secrets if secret in detail] == []

    @pytest.mark.parametrize("weather", Weather)
    async def test_after_bad_weather_the_next_message_goes_through(
        self, bench: Bench, weather: Weather
    ) -> None:
        bench.set(weather)
        await bench.send()
        bench.set(Weather.FAIR)
        assert (await bench.send()).ending is self.success

    async def test_a_cancelled_attempt_leaves_nothing_out_of_step(self, bench: Bench) -> None:
        await bench.send()
        bench.set(Weather.SILENT)
        attempt = asyncio.create_task(bench.send())
        await bench.heard(2)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        bench.set(Weather.FAIR)
        outcome = await bench.send()
        assert outcome.ending is self.success
        assert self.success_says in outcome.detail

    async def test_the_same_delivery_has_the_same_bytes_on_each_attempt(self, bench: Bench) -> None:
        await bench.send()
        await bench.send()
        first, second = bench.taken()
        assert first == second

    async def test_many_at_a_time_arrive_once_each(self, bench: Bench) -> None:
        outcomes = await asyncio.gather(*(bench.send() for _ in range(12)))
        assert {outcome.ending for outcome in outcomes} == {self.success}
        assert len(bench.taken()) == 12

    async def test_a_transcript_of_any_length_fits_the_medium(self, bench: Bench) -> None:
        outcome = await bench.send(saying("A long story, told once more. ", times=3_000))
        assert outcome.ending is self.success

    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    @pytest.mark.long
    async def test_whatever_a_visitor_types_is_sent(self, bench: Bench, text: str) -> None:
        outcome = await bench.send(typed(text))
        assert outcome.ending is self.success
        assert "Missed chat from" in bench.shown()
