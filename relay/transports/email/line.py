"""The line to a mail server: aiosmtplib's protocol, and what it lets pass.

It keeps what comes out of turn for an answer to the next question, takes the last line of a reply for the whole,
and anything that int() reads for a code (seen with aiosmtplib 5.1). A yes that was said too early, or beside a no,
must not make a delivered mail.
"""

import asyncio
import re
from typing import cast

from aiosmtplib.errors import SMTPResponseException
from aiosmtplib.protocol import SMTPProtocol
from aiosmtplib.response import SMTPResponse

MAX_LINE = 8192
NOT_SMTP = -1
"""aiosmtplib's code for a reply that is none."""
# RFC 5321 4.2, but the word after the code need not be there.
_LINE = re.compile(rb"([1-5][0-9][0-9])(?:(-)|(?![0-9A-Za-z-]))[ \t]*(.*?)[ \t\r]*\n", re.DOTALL)


class Line(SMTPProtocol):
    """One reply for each question, whole and of one meaning."""

    _chattered = False

    @property
    def out_of_turn(self) -> bool:
        """The server said something that nobody had asked for: what it says next may be an answer to anything."""
        return self._chattered or bool(self._buffer)

    @property
    def wire(self) -> asyncio.WriteTransport | None:
        """None once it is gone. Not asked by isinstance: uvloop's are of no class of asyncio's."""
        return cast("asyncio.WriteTransport | None", self.transport)

    @property
    def unsent(self) -> bool:
        """Some of what was written has not even left yet: no answer can be about all of it."""
        return self.wire is not None and self.wire.get_write_buffer_size() > 0

    def take_early(self) -> SMTPResponse | None:
        """The reply, if there is a whole one, that came together with the one before it."""
        if not self._buffer:
            return None
        self._chattered = True
        try:
            return self._read_response_from_buffer()
        except SMTPResponseException:
            return None

    def data_received(self, data: bytes) -> None:
        """What comes out of turn ends the line: it could go on for as long as nothing is asked."""
        waiting = self._response_waiter is not None and not self._response_waiter.done()
        if waiting and self._response_pending:
            super().data_received(data)
            return
        self._chattered = True
        if self.wire is not None:
            self.wire.abort()

    def _read_response_from_buffer(self) -> SMTPResponse | None:
        words: list[bytes] = []
        codes: list[int] = []
        begin = 0
        while (end := self._buffer.find(b"\n", begin) + 1) > 0:
            line = bytes(self._buffer[begin:end])
            found = _LINE.fullmatch(line) if len(line) <= MAX_LINE else None
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
