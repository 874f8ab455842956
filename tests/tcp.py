"""A TCP proxy that loses an answer: the server has done what was asked, and nobody hears of it.

It can also lose the question, or put other words into both mouths.
"""

import asyncio
import contextlib
import random
import re
import socket
from collections.abc import Callable
from typing import Self

from tests.servers import close_listener


class Proxy:
    """Passes bytes on to a port of this machine, until it is told what to lose."""

    def __init__(self, port: int) -> None:
        self._far_port = port
        self._server: asyncio.Server | None = None
        self._wanted: bytes | None = None
        self._undone: bytes | None = None
        self._meanwhile: Callable[[], object] = lambda: None
        self._idle = asyncio.Event()
        self._idle.set()
        self._rewritten: list[tuple[bytes, bytes]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.lost = 0
        """How many answers, or questions, were lost."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        await close_listener(self._server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lose_answer_to(self, question: bytes) -> None:
        """The next answer after these bytes, and with it the connection."""
        self._wanted = question

    def lose_question(
        self, question: bytes, meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        """The next time these bytes come, and with them the connection: the server never sees them.

        `meanwhile` is done in a thread, before any connection ends and another is made.
        """
        self._undone, self._meanwhile = question, meanwhile

    def rewrite(self, pattern: bytes, words: bytes) -> None:
        """From now on, both ways, whatever matches is passed on as these words; they must be as long."""
        self._rewritten.append((pattern, words))

    def _as_rewritten(self, data: bytes) -> bytes:
        for pattern, words in self._rewritten:
            changed = re.sub(pattern, words, data)
            assert len(changed) == len(data)
            data = changed
        return data

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        # The end of the proxy cancels it, at any line.
        with contextlib.closing(writer), contextlib.suppress(asyncio.CancelledError):
            await self._connected(reader, writer)
        self._tasks.discard(task)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._idle.wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far_port)
        losing = asyncio.Event()
        with contextlib.closing(far_writer):
            ways = [
                asyncio.create_task(self._questions(reader, far_writer, losing)),
                asyncio.create_task(self._answers(far_reader, writer, losing)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                await self._idle.wait()
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _questions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if self._wanted is not None and self._wanted in data:
                self._wanted = None
                losing.set()
            if self._undone is not None and self._undone in data:
                self._undone = None
                self.lost += 1
                self._idle.clear()
                await asyncio.to_thread(self._meanwhile)
                self._idle.set()
                return
            writer.write(self._as_rewritten(data))

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if losing.is_set():
                self.lost += 1
                return
            writer.write(self._as_rewritten(data))


class Tunnel(Proxy):
    """A web proxy: asked by CONNECT, it leads to a port of this machine, whatever name is asked for."""

    def __init__(self, answer: str = "200 Connection established") -> None:
        """With another answer it leads nowhere; empty: it drops the line instead."""
        super().__init__(0)
        self._answer = answer
        self.asked: list[str] = []
        self.logins: set[str] = set()

    def lead_to(self, port: int) -> None:
        self._far_port = port

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.asked.append(head[0])
        self.logins |= {line for line in head if line.lower().startswith("proxy-authorization")}
        if self._answer:
            writer.write(f"HTTP/1.1 {self._answer}\r\n\r\n".encode())
        if self._answer.startswith("200"):
            await super()._connected(reader, writer)


def free_port() -> int:
    """For who can't ask for port 0, now or at a restart: below those that the system gives away by itself.

    No other test gets it, in whatever process: this one holds the UDP port of that number until its end.
    """
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311
        with (
            contextlib.suppress(OSError),
            socket.socket() as probe,
            socket.socket(type=socket.SOCK_DGRAM) as held,
        ):
            probe.bind(("127.0.0.1", port))
            held.bind(("127.0.0.1", port))
            held.detach()
            return port
