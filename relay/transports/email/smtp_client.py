"""The line to a mail server: aiosmtplib's protocol, with several commands at once, and without what it lets pass.

aiosmtplib reads one reply for each command that it writes; it keeps what comes out of turn for an answer to the next
question, takes the last line of a reply for the whole, and anything that int() reads for a code (seen with aiosmtplib
5.1). A yes that was said too early, or beside a no, must not make a delivered mail.
"""

import asyncio
import re
from collections import deque
from typing import cast

from aiosmtplib.errors import (
    SMTPException,
    SMTPReadTimeoutError,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from aiosmtplib.protocol import (
    COMMAND_INJECTION_REGEX,
    MAX_LINE_LENGTH,
    MAX_RESPONSE_LENGTH,
    SMTPProtocol,
)
from aiosmtplib.response import SMTPResponse

NOT_SMTP = -1
"""aiosmtplib's code for a reply that is none."""
# RFC 5321 4.2, but the word after the code need not be there.
_LINE = re.compile(rb"([1-5][0-9][0-9])(?:(-)|(?![0-9A-Za-z-]))[ \t]*(.*?)[ \t\r]*\n", re.DOTALL)


class Line(SMTPProtocol):
    """One reply for each command, in their order, each whole and of one meaning."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._due = 1
        """Replies that have yet to come. The first is the greeting."""
        self._replies: deque[SMTPResponse] = deque()
        """Replies that have come and were not read yet."""
        self._ended: SMTPException | None = None
        """Why no more replies are read from it."""
        self._heard: asyncio.Future[None] | None = None
        self._chattered = self._closing = False

    @property
    def is_idle(self) -> bool:
        """Open, with every command answered: the next reply is the answer to the next command."""
        busy = self._due or self._replies or self._ended or self._closing
        return self.is_connected and not busy and not self.out_of_turn

    @property
    def out_of_turn(self) -> bool:
        """The server said something that nobody had asked for: what it says next may be an answer to anything."""
        return self._chattered or (not self._due and bool(self._buffer))

    @property
    def wire(self) -> asyncio.WriteTransport | None:
        """None once it is gone. Not asked by isinstance: uvloop's are of no class of asyncio's."""
        return cast("asyncio.WriteTransport | None", self.transport)

    @property
    def unsent(self) -> bool:
        """Some of what was written has not even left yet: no answer can be about all of it."""
        return self.wire is not None and self.wire.get_write_buffer_size() > 0

    def ask(self, *commands: bytes) -> None:
        """Writes all of them at once; `read_response` gives the reply to each.

        Raises SMTPServerDisconnected, and ValueError where one command would be read as two.
        """
        if any(map(COMMAND_INJECTION_REGEX.search, commands)):
            raise ValueError("an SMTP command with a control character")
        self._due += len(commands)
        self.write(b"\r\n".join((*commands, b"")))

    def hand_over(self, mail: bytes) -> None:
        """Writes a mail as it stands on the wire. Raises SMTPServerDisconnected."""
        self._due += 1
        self.write(mail)

    async def read_response(self, timeout: float | None = None) -> SMTPResponse:  # noqa: ASYNC109
        """The next reply, also one that came before the line was lost. Raises SMTPException.

        Called by aiosmtplib itself for STARTTLS, which it writes past `ask`.
        """
        if not self._replies and self._ended is None:
            self._due = self._due or 1
            self._heard = self._loop.create_future()
            late = SMTPReadTimeoutError("Timed out waiting for server response")
            timer = self._loop.call_later(timeout, self._end, late) if timeout else None
            try:
                await self._heard
            finally:
                self._heard = None
                if timer is not None:
                    timer.cancel()
        if self._replies:
            return self._replies.popleft()
        raise self._ended or SMTPServerDisconnected("Connection lost")

    def take_early(self) -> SMTPResponse | None:
        """The reply, if there is a whole one, that came together with the one before it."""
        if not self._buffer:
            return None
        self._chattered = True
        try:
            return self._read_response_from_buffer()
        except SMTPResponseException:
            return None

    # -- what asyncio calls --

    def data_received(self, data: bytes) -> None:
        """What comes out of turn ends the line: it could go on for as long as nothing is asked."""
        if not self._due:
            self._chattered = True
            if self.wire is not None:
                self.wire.abort()
            return
        self._buffer += data
        try:
            while self._due and (reply := self._read_response_from_buffer()) is not None:
                self._due -= 1
                self._replies.append(reply)
                self._closing |= reply.code == 421
            if len(self._buffer) > MAX_RESPONSE_LENGTH:
                raise _no_reply(bytes(self._buffer[:MAX_LINE_LENGTH]))
        except SMTPResponseException as error:
            self._end(error)
        if self._replies:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end(SMTPServerDisconnected("Connection lost"))

    def _end(self, error: SMTPException) -> None:
        if self._ended is None:
            self._ended, self._due = error, 0
        self._wake()

    def _wake(self) -> None:
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)

    def _read_response_from_buffer(self) -> SMTPResponse | None:
        words: list[bytes] = []
        codes: list[int] = []
        begin = 0
        while (end := self._buffer.find(b"\n", begin) + 1) > 0:
            line = bytes(self._buffer[begin:end])
            found = _LINE.fullmatch(line) if len(line) <= MAX_LINE_LENGTH else None
            if found is None:
                raise _no_reply(line)
            codes.append(int(found[1]))
            words.append(found[3])
            begin = end
            if not found[2]:
                del self._buffer[:begin]
                if len({code // 100 for code in codes}) > 1:
                    raise _no_reply(b"%d and %d in one reply" % (codes[0], codes[-1]))
                return SMTPResponse(codes[-1], b"\n".join(words).decode(errors="surrogateescape"))
        return None


def _no_reply(line: bytes) -> SMTPResponseException:
    return SMTPResponseException(NOT_SMTP, line[:200].decode(errors="replace").strip())
