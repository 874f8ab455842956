"""PIPELINING (RFC 2920): MAIL, RCPT and DATA in one write, and servers that offer it without keeping it."""

import asyncio
import socket
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
from aiosmtplib.errors import SMTPException
from aiosmtplib.response import SMTPResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.transports import Ending
from relay.transports.email.pool import PoolLimits
from relay.transports.email.smtp_client import Line
from tests.servers import DROP, HANG, PATIENCE, SmtpServer, SmtpStep, _SmtpSession
from tests.transports.test_email import PIPELINING, MailBench, mail_bench

DELIVERED = Ending.DELIVERED


class _Reader:
    """Of one connection: finds out which commands came in one packet."""

    def __init__(self, server: "Together", reader: asyncio.StreamReader) -> None:
        self._server = server
        self._reader = reader
        self._lines: list[bytes] = []

    async def readline(self) -> bytes:
        while not self._lines or not self._lines[-1].endswith(b"\n"):
            data = await self._reader.read(65536)
            if not data:
                return b""
            begun = self._lines.pop() if self._lines else b""
            self._lines += (begun + data).splitlines(keepends=True)
            if data.startswith((b"MAIL ", b"RCPT ", b"DATA")) and data.count(b"\n") > 1:
                self._lines = self._server.heard_together(self._lines)
        return self._lines.pop(0)

    async def read(self, count: int) -> bytes:
        return await self._reader.read(count)


class Together(SmtpServer):
    """Offers PIPELINING. When commands come together it does as `steps` say, each for its stage; `deaf`: it loses
    all of them but the first.
    """

    def __init__(
        self, steps: dict[str, SmtpStep] | None = None, *, deaf: bool = False, **options: Any
    ) -> None:
        super().__init__(offers=PIPELINING, **options)
        self._steps = steps or {}
        self._deaf = deaf
        self.together = 0
        """How often commands came together."""

    def heard_together(self, lines: list[bytes]) -> list[bytes]:
        self.together += 1
        for stage, step in self._steps.items():
            self.at(stage, step)
        if self._deaf:
            self._time_passes(PATIENCE + 2, soon=0.05)
        return lines[:1] if self._deaf else lines

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _SmtpSession(self, _Reader(self, reader), writer).run()  # type: ignore[arg-type]


def a_bench(
    steps: dict[str, SmtpStep] | None = None, *, hurried: bool = False, **options: Any
) -> AbstractAsyncContextManager[MailBench]:
    return mail_bench(hurried=hurried, kind=partial(Together, steps, **options))


def together(bench: MailBench) -> int:
    assert isinstance(bench.server, Together)
    return bench.server.together


async def test_three_commands_are_one_write_for_each_mail_of_a_connection() -> None:
    async with a_bench() as bench:
        for _ in range(3):
            assert (await bench.send()).ending is DELIVERED
        assert together(bench) == 3
        assert bench.server.connections == 1
        assert bench.server.verbs() == ["EHLO", *["MAIL", "RCPT", "DATA"] * 3]


async def test_where_it_is_not_offered_each_command_waits_for_its_reply() -> None:
    async with mail_bench(kind=Together, users=None) as bench:
        bench.server.offers = ("SIZE 10485760",)
        assert (await bench.send()).ending is DELIVERED
        assert together(bench) == 0


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        ("mail", "500 5.5.2 line too long"),
        ("mail", "501 syntax error"),
        ("mail", "503 5.5.1 one at a time"),
        ("mail", "421 4.7.0 improper pipelining"),
        ("mail", "554 SMTP synchronization error"),
        ("mail", "nonsense"),
        ("mail", DROP),
        ("mail", HANG),
        ("rcpt", "503 5.0.0 Need MAIL before RCPT"),
        (
            "rcpt",
            "503 5.5.0 <RCPT>: Data command rejected: Improper use of SMTP command pipelining",
        ),
        ("rcpt", "550 5.5.0 improper command pipelining"),
        ("rcpt", "501 what?"),
        ("rcpt", "220 hello?"),
        ("rcpt", "354 go on"),
        ("rcpt", "nonsense"),
        ("rcpt", DROP),
        ("rcpt", HANG),
        ("data", "503 5.5.1 RCPT first"),
        ("data", "554 5.5.1 no valid recipients"),
        ("data", "554 5.5.0 synchronisation error"),
        ("data", "250 2.1.0 ok"),
        ("data", "nonsense"),
        ("data", DROP),
        ("data", HANG),
    ],
)
async def test_a_server_that_does_not_keep_it_gets_the_mail_once_command_by_command(
    stage: str, step: SmtpStep
) -> None:
    async with a_bench({stage: step}, hurried=step is HANG) as bench:
        assert [(await bench.send()).ending for _ in range(3)] == [DELIVERED] * 3
        assert together(bench) == 1
        assert len(bench.server.mails) == len(bench.server.bodies) == 3
        assert bench.server.connections == 2


async def test_a_server_that_loses_the_later_commands_gets_the_mail_once() -> None:
    async with a_bench(deaf=True, hurried=True) as bench:
        assert [(await bench.send()).ending for _ in range(3)] == [DELIVERED] * 3
        assert together(bench) == 1
        assert len(bench.server.mails) == len(bench.server.bodies) == 3


async def test_a_server_that_gets_it_wrong_on_a_kept_connection_gets_the_mail_once() -> None:
    async with a_bench() as bench:
        await bench.send()
        bench.server.at("mail", "503 5.5.1 what?", times=2)
        assert (await bench.send()).ending is DELIVERED
        assert (together(bench), len(bench.server.mails)) == (3, 2)


async def test_many_mails_at_a_time_arrive_once_where_it_is_not_kept() -> None:
    async with a_bench({"rcpt": "503 5.5.1 one at a time"}) as bench:
        outcomes = await asyncio.gather(*(bench.send() for _ in range(20)))
        assert {outcome.ending for outcome in outcomes} == {DELIVERED}
        assert len(bench.server.mails) == len(bench.server.bodies) == 20


async def test_it_is_tried_again_after_an_hour() -> None:
    now = [1000.0]
    limits = PoolLimits(idle=10_000, age=10_000, doubtful=10_000)
    server = partial(Together, {"rcpt": "503 5.5.1 one at a time"})
    async with mail_bench(kind=server, limits=limits, clock=lambda: now[0]) as bench:
        await bench.send()
        now[0] += 3599
        await bench.send()
        assert together(bench) == 1
        now[0] += 2
        await bench.send()
        assert (together(bench), len(bench.server.mails)) == (2, 3)


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", ["550 5.1.1 no such user", "450 4.2.1 mailbox busy"])
@pytest.mark.parametrize("stage", ["mail", "rcpt"])
async def test_no_mail_goes_out_where_data_is_taken_after_a_refusal(stage: str, reply: str) -> None:
    """No empty mail either: the line is dropped without the dot that would end one."""
    async with a_bench(gullible=True) as bench:
        bench.server.at(stage, reply, times=None)
        for _ in range(2):
            outcome = await bench.send()
            assert reply in outcome.detail
        assert together(bench) == 1
        assert bench.server.bodies == []
        bench.server.as_usual()
        assert (await bench.send()).ending is DELIVERED
        assert len(bench.server.bodies) == 1


@pytest.mark.parametrize(
    ("stage", "step", "ending"),
    [
        ("mail", "451 4.3.0 later", Ending.LATER),
        ("rcpt", "550 5.1.1 no such user", Ending.REFUSED),
        ("rcpt", "450 4.2.1 mailbox busy", Ending.LATER),
        ("data", "451 4.3.0 later", Ending.LATER),
        ("body", "554 5.7.1 spam", Ending.REFUSED),
    ],
)
async def test_the_first_refusal_decides_and_the_connection_is_used_again(
    stage: str, step: str, ending: Ending
) -> None:
    """After a sender that is refused come two 503s: they say nothing."""
    async with a_bench() as bench:
        bench.server.at(stage, step)
        outcome = await bench.send()
        assert outcome.ending is ending
        assert step in outcome.detail
        assert (await bench.send()).ending is DELIVERED
        assert bench.server.connections == 1
        assert together(bench) == 2


async def test_a_goodbye_in_the_middle_is_told_and_the_connection_left() -> None:
    async with a_bench() as bench:
        bench.server.at("rcpt", "421 4.3.2 closing")
        outcome = await bench.send()
        assert outcome.ending is Ending.LATER
        assert "421 4.3.2 closing" in outcome.detail
        assert (await bench.send()).ending is DELIVERED
        assert bench.server.connections == 2
        assert together(bench) == 2


async def test_a_refusal_is_told_though_nothing_comes_after_it() -> None:
    async with a_bench(hurried=True) as bench:
        bench.server.at("rcpt", "550 5.1.1 no such user").at("data", HANG)
        bench.server.gullible = True
        assert "550 5.1.1 no such user" in (await bench.send()).detail
        assert (await bench.send()).ending is DELIVERED
        assert (bench.server.connections, together(bench)) == (2, 2)


async def test_a_yes_to_the_mail_that_comes_with_the_others_is_none() -> None:
    async with a_bench() as bench:
        bench.server.at("data", "354 go on\r\n250 2.0.0 queued", times=None)
        assert (await bench.send()).ending is Ending.LATER
        assert bench.server.bodies == []


# -- replies, however they are cut into packets --------------------------------------------------------------

_REPLIES = st.tuples(
    st.sampled_from((220, 250, 354, 421, 451, 550)),
    st.lists(
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=9),
        min_size=1,
        max_size=3,
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_REPLIES, min_size=1, max_size=4), st.data())
def test_replies_are_read_one_by_one_however_they_come(
    replies: list[tuple[int, list[str]]], data: st.DataObject
) -> None:
    wire = b"".join(
        f"{code}{' ' if place == len(words) else '-'}{word}\r\n".encode()
        for code, words in replies
        for place, word in enumerate(words, 1)
    )
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1))))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    found, idle = asyncio.run(_read(pieces, len(replies)))
    assert [(reply.code, reply.message) for reply in found] == [
        (code, "\n".join(words)) for code, words in replies
    ]
    assert idle == (421 not in [code for code, _ in replies])


async def _read(pieces: list[bytes], count: int) -> tuple[list[SMTPResponse], bool]:
    """The greeting and the other replies, and whether the line may be used again. The last piece comes late."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with theirs:
        wire, line = await loop.create_connection(lambda: Line(loop), sock=ours)
        line.ask(*[b"NOOP"] * (count - 1))
        for piece in pieces[:-1]:
            line.data_received(piece)
        loop.call_soon(line.data_received, pieces[-1])
        found = [await line.read_response(PATIENCE) for _ in range(count)]
        idle = line.is_idle
        wire.abort()
        with pytest.raises(SMTPException):
            await line.read_response(PATIENCE)
    return found, idle
