"""The relay's end of the line to one worker."""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import msgspec

from relay.rendering.isolation.protocol import Answer, Asked, Ended, Frames, Rendered, framed

_answer = msgspec.msgpack.Decoder(Answer)


@dataclass(frozen=True, slots=True)
class Asking:
    """Something asked for, and where its answer goes."""

    asked: Asked
    answer: asyncio.Future[Answer]


class WorkerLine(asyncio.Protocol):
    """Answers come in the order in which things were asked."""

    def __init__(self) -> None:
        self.unanswered: deque[Asking] = deque()
        self.is_gone = False
        self.ended: Ended | None = None
        """The foreman's word on how it went."""
        self.memory = 0
        """The most bytes that it ever had in memory, as it says."""
        self.resting_since = 0.0
        self.template = ""
        """That it was asked for last."""
        self._frames = Frames()
        self._heard = asyncio.Event()
        self._transport: asyncio.Transport | None = None

    def ask(self, askings: Iterable[Asking]) -> None:
        self.unanswered.extend(askings)
        self.template = self.unanswered[-1].asked.template
        if self._transport:
            self._transport.write(b"".join(framed(asking.asked) for asking in self.unanswered))

    async def heard(self) -> None:
        """Until something comes in, or it is gone."""
        if not self.is_gone:
            self._heard.clear()
            await self._heard.wait()

    def close(self) -> None:
        self.is_gone = True
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._take(_answer.decode(frame))
        except ValueError:  # msgspec's errors are ValueErrors too
            self.close()
        self._heard.set()

    def _take(self, answer: Answer) -> None:
        if isinstance(answer, Ended):
            self.ended, self.is_gone = answer, True
        elif not self.unanswered:
            self.close()  # nobody asked: it is not itself any more
        else:
            if isinstance(answer, Rendered):
                self.memory = answer.memory
            future = self.unanswered.popleft().answer
            if not future.done():
                future.set_result(answer)

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_gone = True
        self._heard.set()
