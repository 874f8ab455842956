"""Far ends for tests: a mail server and a web server on port 0 that record, and misbehave by script.

    async with SmtpServer() as server:
        server.at("rcpt", "450 4.2.0 try later", times=2)
        ...
        mails = await server.received(1)

Nothing here sleeps: what has to be waited for is waited for, with a deadline. `in_thread(server)` runs one beside
code that blocks.
"""

import asyncio
import base64
import contextlib
import json
import ssl
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from enum import Enum
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import trustme

DEADLINE = 90.0
"""Seconds that a test waits for something that must come.

A relay that has missed a hint may rightly be late by the time between two of its looks, which is a minute; what failed
once by half a minute, and what a dead relay held by its lease of as much.
"""
PATIENCE = 20.0
"""Seconds that a client has for an answer: a busy machine must not make a test fail."""

T = TypeVar("T")


class Misdeed(Enum):
    """What a server may do instead of answering."""

    DROP = "closes the connection"
    HANG = "says nothing until the client goes"


DROP = Misdeed.DROP
HANG = Misdeed.HANG


@dataclass(frozen=True, slots=True)
class Endless:
    """Said again and again, as fast as it can be sent, until the client goes."""

    text: str


@dataclass(frozen=True, slots=True)
class Dripping:
    """Said byte after byte, one every 20 ms, again and again until the client goes."""

    text: str


@dataclass(frozen=True, slots=True)
class Midway:
    """Said when a first line was read; nothing more is read, and the line stays open."""

    text: str


@dataclass(frozen=True, slots=True)
class Late:
    """The usual, when the event has come."""

    after: asyncio.Event


Talk = Endless | Dripping


class _Timer:
    """A timer of a loop whose clock may go forward."""

    def __init__(self, when: float, act: Callable[[], object], handle: asyncio.Handle) -> None:
        self.due, self.act, self.handle = when, act, handle

    def when(self) -> float:
        return self.due

    def cancel(self) -> None:
        self.handle.cancel()

    def cancelled(self) -> bool:
        return self.handle.cancelled()


class LoopClock:
    """The clock of the running loop, from now on: the usual time, and so much later as somebody says."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._usual_time = self._loop.time
        self._usual_timer: Callable[..., asyncio.Handle] = self._loop.call_later
        if isinstance(self._loop, asyncio.BaseEventLoop):  # which asks call_at, and this clock
            call_at, time = self._loop.call_at, self.time
            self._usual_timer = lambda delay, act: call_at(time() + delay, act)
        self._ahead = 0.0
        self._timers: list[_Timer] = []
        vars(self._loop).update(time=self.time, call_at=self.call_at, call_later=self.call_later)

    def time(self) -> float:
        return self._usual_time() + self._ahead

    def call_later(self, delay: float, act: Callable[..., object], *args: Any, **more: Any) -> Any:
        return self.call_at(self.time() + delay, act, *args, **more)

    def call_at(
        self, when: float, act: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Timer:
        bound = partial((context or copy_context()).run, act, *args)
        timer = _Timer(when, bound, self._usual_timer(when - self.time(), bound))
        self._timers.append(timer)
        return timer

    def forward(self, seconds: float) -> None:
        """What is due by then happens at once."""
        self._ahead += seconds
        for timer in [one for one in self._timers if one.due <= self.time()]:
            self._timers.remove(timer)
            if not timer.cancelled():
                timer.cancel()
                timer.handle = self._loop.call_soon(timer.act)


class Certificates:
    """An authority that nobody knows, a server's context with its certificate, and a client's that trusts it."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    @cached_property
    def server(self) -> ssl.SSLContext:
        return self.server_for("127.0.0.1", "localhost")

    def server_for(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(context)
        return context

    @cached_property
    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context


async def close_listener(listener: asyncio.Server) -> None:
    """Close it once what it has accepted has begun: Python 3.11 leaves a connection open that begins later."""
    for each in listener.sockets:
        asyncio.get_running_loop().remove_reader(each.fileno())
    try:
        await asyncio.sleep(0)
    finally:
        listener.close()


class _Server:
    """What both share: a listener on port 0, its connections, and waiting for a list to grow."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._listener_tls = tls
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._grown = asyncio.Condition()
        self.connections = 0
        """How many were ever opened."""
        self.open_connections = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self.clock: LoopClock | None = None
        """Goes on while a client is kept waiting, so that a long time limit of it costs no time."""

    @property
    def port(self) -> int:
        assert self._listener is not None, "not started"
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self._listener = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self._listener_tls
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._listener is not None
        await close_listener(self._listener)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_connections += 1
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError, _GoneError):
            pass  # cancelled by our own leaving
        finally:
            writer.transport.abort()
            self.open_connections -= 1
            self._tasks.discard(task)
            await self._tell()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def _tell(self) -> None:
        async with self._grown:
            self._grown.notify_all()

    async def until(self, holds: Callable[[], bool], deadline: float = DEADLINE) -> None:
        """Waits until it holds; looked at after each mail, request and closed connection. Else TimeoutError."""

        async def wait() -> None:
            async with self._grown:
                await self._grown.wait_for(holds)

        await asyncio.wait_for(wait(), deadline)

    def _time_passes(self, seconds: float, *, soon: float = 0.0) -> None:
        """`soon`: seconds until it does, in which the client begins to wait."""
        if self.clock is not None and soon:
            asyncio.get_running_loop().call_later(soon, self.clock.forward, seconds)
        elif self.clock is not None:
            self.clock.forward(seconds)

    async def _until_gone(self, reader: asyncio.StreamReader) -> None:
        self._time_passes(PATIENCE + 2, soon=0.05)
        while await reader.read(65536):
            pass
        raise _GoneError

    async def _go_on(self, talk: "Talk", writer: asyncio.StreamWriter) -> None:
        pieces = list(talk.text) if isinstance(talk, Dripping) else [talk.text * 100]
        while True:
            for piece in pieces:
                writer.write(piece.encode())
                await writer.drain()
                if isinstance(talk, Dripping):
                    await asyncio.sleep(0.02)
                    self._time_passes(PATIENCE / 10)


class _GoneError(Exception):
    """The connection is over."""


@contextlib.contextmanager
def in_thread(server: T) -> Iterator[T]:
    """Runs a server in a thread of its own: for tests that block. Wait with `call(server, server.received(1))`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    manager = cast("contextlib.AbstractAsyncContextManager[T]", server)
    try:
        yield asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result(DEADLINE)
    finally:
        leaving = asyncio.run_coroutine_threadsafe(_leave(manager), loop)
        leaving.result(DEADLINE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE)
        loop.close()


async def _leave(manager: "contextlib.AbstractAsyncContextManager[T]") -> None:
    await manager.__aexit__(None, None, None)


def call(server: _Server, waiting: Awaitable[T]) -> T:
    """What a coroutine of a server in a thread returns."""
    assert server.loop is not None

    async def run() -> T:
        return await waiting

    return asyncio.run_coroutine_threadsafe(run(), server.loop).result(2 * DEADLINE)


# -- mail --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that was taken over."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes
    """Unstuffed, as the client meant it."""
    connection: int
    encrypted: bool
    user: str

    @property
    def message(self) -> EmailMessage:
        parsed = message_from_bytes(self.data, policy=default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    def part(self, subtype: str) -> str:
        """The text of the `plain` or `html` part."""
        body = self.message.get_body((subtype,))
        assert body is not None, f"there is no {subtype} part"
        content: str = body.get_content()
        return content.replace("\r\n", "\n")


class SmtpServer(_Server):
    """A mail server. Stages: greeting, ehlo, helo, starttls, auth, mail, rcpt, data, reading, body, rset, quit."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        users: Mapping[str, str] | None = None,
        mechanisms: str = "PLAIN LOGIN",
        offers: Sequence[str] = ("8BITMIME", "SIZE 10485760"),
        most_connections: int | None = None,
        turned_away: "SmtpStep" = "421 4.7.0 too many connections",
        injected: str = "",
        gullible: bool = False,
    ) -> None:
        """With `tls`, STARTTLS is offered, or the whole is encrypted where `implicit`; `users` must log in.

        `turned_away`: what those hear who are one too many. `injected`: said in clear text after the yes to STARTTLS.
        `gullible`: takes DATA from whom it refused sender or recipient.

        A user's password is the access token where the mechanism is XOAUTH2.
        """
        super().__init__(tls if implicit else None)
        self.starttls = None if implicit else tls
        self.users = dict(users or {})
        self.mechanisms = mechanisms
        self.offers = tuple(offers)
        self.most_connections = most_connections
        self.turned_away = turned_away
        self.injected = injected
        self.gullible = gullible
        self.mails: list[Mail] = []
        """Those answered with 250."""
        self.bodies: list[bytes] = []
        """All that came through to the final dot, taken over or not."""
        self.commands: list[tuple[int, str]] = []
        """Connection and line, as they came."""
        self.hung = 0
        """How often it has begun to say nothing."""
        self._script: dict[str, list[SmtpStep]] = defaultdict(list)
        self._always: dict[str, SmtpStep] = {}

    def at(self, stage: str, *steps: "SmtpStep", times: int | None = 1) -> Self:
        """What to do instead, `times` over (None: from now on), before answering as usual again."""
        if times is None:
            (self._always[stage],) = steps
        else:
            self._script[stage] += list(steps) * times
        return self

    def as_usual(self) -> None:
        """From now on."""
        self._script.clear()
        self._always.clear()

    def verbs(self, connection: int | None = None) -> list[str]:
        """The commands that came, without their words."""
        return [
            line.split(maxsplit=1)[0].upper()
            for number, line in self.commands
            if line and connection in {None, number}
        ]

    async def received(self, count: int, deadline: float = DEADLINE) -> list[Mail]:
        """The mails, once there are so many."""
        await self.until(lambda: len(self.mails) >= count, deadline)
        return self.mails

    def step(self, stage: str) -> "SmtpStep | None":
        """What the script says of this time."""
        return self._script[stage].pop(0) if self._script[stage] else self._always.get(stage)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _SmtpSession(self, reader, writer).run()

    async def record(self, mail: Mail) -> None:
        self.mails.append(mail)
        await self._tell()


class _SmtpSession:
    """One client's visit."""

    def __init__(
        self, server: SmtpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.number = server.connections
        self.user = ""
        self.sender: str | None = None
        self.recipients: list[str] = []

    @property
    def encrypted(self) -> bool:
        return self.writer.get_extra_info("sslcontext") is not None

    async def run(self) -> None:
        most = self.server.most_connections
        if most is not None and self.server.open_connections > most:
            await self._do(self.server.turned_away)
            return
        await self._answer("greeting", "220 test ESMTP")
        while line := await self._line():
            verb, _, words = line.partition(" ")
            act = self._acts.get(verb.upper())
            if act is None:
                await self._say("502 5.5.2 what?")
            else:
                await act(self, words)

    async def _line(self) -> str:
        line = (await self.reader.readline()).decode("ascii").rstrip("\r\n")
        if line:
            self.server.commands.append((self.number, line))
        return line

    async def _say(self, text: str) -> None:
        # A lone surrogate stands for a byte that is no UTF-8.
        self.writer.write(text.encode("utf-8", "surrogateescape") + b"\r\n")
        await self.writer.drain()

    async def _answer(self, stage: str, usual: str) -> bool:
        """Whether the usual was said."""
        step = await self._step(stage)
        await self._do(usual if step is None else step)
        return step is None

    async def _step(self, stage: str) -> "SmtpStep | None":
        step = self.server.step(stage)
        if isinstance(step, Late):
            self.server.hung += 1
            await self.server._tell()
            await step.after.wait()
            return None
        return step

    async def _do(self, step: "SmtpStep") -> None:
        if step is DROP:
            raise _GoneError
        if step is HANG:
            self.server.hung += 1
            await self.server._tell()
            await self.server._until_gone(self.reader)
        if isinstance(step, Talk):
            await self.server._go_on(step, self.writer)
        elif isinstance(step, Midway):
            await self.reader.readline()
            await self._say(step.text)
            await asyncio.Event().wait()
        elif isinstance(step, str):
            await self._say(step)

    async def _ehlo(self, _: str) -> None:
        offers = ["test", *self.server.offers]
        if self.server.starttls and not self.encrypted:
            offers.append("STARTTLS")
        if self.server.users:
            offers.append(f"AUTH {self.server.mechanisms}")
        lines = [f"250-{offer}" for offer in offers[:-1]] + [f"250 {offers[-1]}"]
        await self._answer("ehlo", "\r\n".join(lines))

    async def _helo(self, _: str) -> None:
        await self._answer("helo", "250 test")

    async def _starttls(self, _: str) -> None:
        if self.server.starttls is None:
            await self._say("502 5.5.1 not here")
        elif await self._answer("starttls", f"220 go ahead{self.server.injected}"):
            await self.writer.start_tls(self.server.starttls)

    async def _auth(self, words: str) -> None:
        mechanism, _, first = words.partition(" ")
        if mechanism.upper() == "XOAUTH2":
            user, password = _bearer(first)
            if self.server.users.get(user) != password:
                # Says what is wrong, and waits for an empty line before it refuses.
                await self._challenge('{"status":"401","schemes":"bearer"}')
        elif mechanism.upper() == "PLAIN":
            _, user, password = base64.b64decode(first).decode().split("\0")
        else:
            user, password = [await self._challenge(ask) for ask in ("Username:", "Password:")]
        if self.server.users.get(user) != password:
            await self._answer("auth", "535 5.7.8 wrong user name or password")
        elif await self._answer("auth", "235 2.7.0 welcome"):
            self.user = user

    async def _challenge(self, ask: str) -> str:
        await self._say(f"334 {base64.b64encode(ask.encode()).decode()}")
        return base64.b64decode(await self._line()).decode()

    async def _mail(self, words: str) -> None:
        if self.server.users and not self.user:
            await self._say("530 5.7.0 log in first")
        elif await self._answer("mail", "250 2.1.0 ok"):
            self.sender = _address(words)

    async def _rcpt(self, words: str) -> None:
        if self.sender is None:
            await self._say("503 5.5.1 MAIL first")
        elif await self._answer("rcpt", "250 2.1.5 ok"):
            self.recipients.append(_address(words))

    async def _data(self, _: str) -> None:
        if not self.recipients and not self.server.gullible:
            await self._say("503 5.5.1 RCPT first")
            return
        step = await self._step("data") or "354 go on, end with a dot"
        await self._do(step)
        if isinstance(step, str) and step.startswith("354"):
            await self._body()

    async def _body(self) -> None:
        data = bytearray()
        if (step := self.server.step("reading")) is not None:
            await self._do(step)
        while (line := await self.reader.readline()) != b".\r\n":
            if not line:
                raise _GoneError
            data += line[1:] if line.startswith(b".") else line
        self.server.bodies.append(bytes(data))
        await self.server._tell()
        mail = Mail(
            sender=self.sender or "",
            recipients=tuple(self.recipients),
            data=bytes(data),
            connection=self.number,
            encrypted=self.encrypted,
            user=self.user,
        )
        self.sender, self.recipients = None, []
        if await self._answer("body", f"250 2.0.0 queued as T{len(self.server.mails) + 1}"):
            await self.server.record(mail)

    async def _rset(self, _: str) -> None:
        self.sender, self.recipients = None, []
        await self._answer("rset", "250 2.0.0 ok")

    async def _quit(self, _: str) -> None:
        await self._answer("quit", "221 2.0.0 bye")
        raise _GoneError

    _acts: Mapping[str, Callable[["_SmtpSession", str], Awaitable[None]]] = {
        "EHLO": _ehlo,
        "HELO": _helo,
        "STARTTLS": _starttls,
        "AUTH": _auth,
        "MAIL": _mail,
        "RCPT": _rcpt,
        "DATA": _data,
        "RSET": _rset,
        "QUIT": _quit,
    }


SmtpStep = str | Misdeed | Talk | Midway | Late


class Tarpit(SmtpServer):
    """Does not answer RCPT for some addresses before `go_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: set[str] = set()
        self.go_on = asyncio.Event()

    def step(self, stage: str) -> SmtpStep | None:
        last = self.commands[-1][1] if self.commands else ""
        if stage == "rcpt" and last.partition("<")[2].rstrip(">") in self.slow:
            return Late(self.go_on)
        return super().step(stage)


def _bearer(code: str) -> tuple[str, str]:
    """Who logs in, and with which token."""
    user, bearer, *_ = base64.b64decode(code).decode().split("\x01")
    return user.removeprefix("user="), bearer.removeprefix("auth=Bearer ")


def _address(words: str) -> str:
    return words.partition("<")[2].partition(">")[0]


# -- web ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that came in whole."""

    method: str
    target: str
    """Path and query, as they stood on the wire."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What to answer."""

    status: int = 200
    body: bytes | str = b"ok"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain"})
    missing: int = 0
    """Bytes of the body that are announced but never come: the line is cut instead."""
    endless: bool = False
    """The body is said again and again until the client goes."""
    drips: bool = False
    """The same, byte after byte, one every 20 ms."""
    after: "asyncio.Event | None" = None
    """Not before this is set."""


def json_answer(
    data: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> HttpAnswer:
    return HttpAnswer(
        status=status,
        body=json.dumps(data),
        headers={"Content-Type": "application/json", **(headers or {})},
    )


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes instead of an answer, and then nothing, or `again` and again until the client goes."""

    data: bytes
    again: bytes = b""


HttpStep = HttpAnswer | Raw | Misdeed


class HttpServer(_Server):
    """A web server. Answers from a list, then as `usual` says: an answer, a misdeed or a function."""

    def __init__(
        self,
        *steps: HttpStep,
        usual: HttpStep | Callable[[HttpRequest], HttpStep] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls)
        self.steps = list(steps)
        self.usual = usual or HttpAnswer()
        self.requests: list[HttpRequest] = []
        self._scheme = "https" if tls else "http"

    def url(self, path: str = "/") -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}{path}"

    async def received(self, count: int, deadline: float = DEADLINE) -> list[HttpRequest]:
        """The requests, once there are so many."""
        await self.until(lambda: len(self.requests) >= count, deadline)
        return self.requests

    def _next(self, request: HttpRequest) -> HttpStep:
        if self.steps:
            return self.steps.pop(0)
        return self.usual(request) if callable(self.usual) else self.usual

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for request in _requests(reader):
            self.requests.append(request)
            await self._tell()
            step = self._next(request)
            if step is DROP:
                return
            if isinstance(step, HttpAnswer):
                await self._write(writer, step)
            else:
                if isinstance(step, Raw):
                    await self._write_raw(writer, step)
                await self._until_gone(reader)

    async def _write_raw(self, writer: asyncio.StreamWriter, raw: Raw) -> None:
        writer.write(raw.data)
        await writer.drain()
        while raw.again:
            writer.write(raw.again)
            await writer.drain()
            await asyncio.sleep(0)  # the client reads it
            self._time_passes(PATIENCE / 100)

    async def _write(self, writer: asyncio.StreamWriter, answer: HttpAnswer) -> None:
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        if answer.after is not None:
            self._time_passes(PATIENCE + 2, soon=0.05)
            await answer.after.wait()
        endless = answer.endless or answer.drips
        length = 10**12 if endless else len(body) + answer.missing
        lines = [f"HTTP/1.1 {answer.status} Scripted", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        if answer.drips:
            await self._go_on(Dripping(body.decode()), writer)
        writer.write(body)
        await writer.drain()
        while answer.endless:
            writer.write(body * 1000)  # byte by byte, uvloop takes half a minute for 64 KB
            await writer.drain()
        if answer.missing:
            writer.close()
            await writer.wait_closed()
            raise _GoneError


async def _requests(reader: asyncio.StreamReader) -> AsyncIterator[HttpRequest]:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        yield HttpRequest(method, target, headers, body)
