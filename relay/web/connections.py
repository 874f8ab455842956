"""Limits the number of connections, and closes those on which no request comes for long.

uvicorn itself waits for ever for an unfinished request. Some hundreds of those use up all the files that a process
may open, and then no hook comes in and no message is sent.
"""

import asyncio
import logging
import resource
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from relay.web.request_body import Answer, encoded, refusal

MOST_FILES = 16_384
"""The limit of open files that is requested; the system's default is 1,024."""
KEPT_FOR_OURSELVES = 256
"""Files reserved for the database, connections to servers, and rendering processes."""
LEAST = 32
MAX_OVERHEAD = 64 * 1024
"""Bytes of a request outside its body."""
MAX_HEADERS = 100
CHUNK_LINES = 20
"""Bytes around each chunk of a body that are not counted."""
MOST_AHEAD = 32
"""Requests on one connection that may wait for earlier answers. Each needs as much memory as a whole request."""
NOT_HTTP = refusal(400, "this is not an HTTP/1.1 request", close=True)

log = logging.getLogger(__name__)


def most_connections() -> int:
    """How many connections leave enough files to work with. Raises the system's limit of open files first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(LEAST, max(soft, wanted) - KEPT_FOR_OURSELVES)


class ConnectionTracker:
    """Keeps track of the connections on which a request is awaited, longest first."""

    def __init__(self, *, most: int, deadline: float) -> None:
        """`most` connections at once; `deadline` in seconds."""
        self.most = most
        self._deadline = deadline
        self._waiting: dict[Connection, float] = {}
        self._loop = asyncio.get_running_loop()
        self._looks: asyncio.TimerHandle | None = None
        self._was_full = False

    def protocol(self, **of_uvicorn: Any) -> asyncio.Protocol:  # noqa: ANN401 - handed on
        """The protocol of a new connection, for uvicorn."""
        return Connection(self, **of_uvicorn)

    def wait_began(self, connection: "Connection") -> None:
        self._waiting.pop(connection, None)
        self._waiting[connection] = self._loop.time()
        if self._looks is None:
            self._looks = self._loop.call_later(self._deadline, self._look)

    def wait_ended(self, connection: "Connection") -> None:
        self._waiting.pop(connection, None)

    def make_room(self, newest: "Connection") -> None:
        """Close the connection that has been silent for longest, so that another can be accepted."""
        if not self._was_full:
            self._was_full = True
            log.warning(
                "%d connections at once, no more can be kept: those without a request are closed",
                self.most,
            )
        longest = next(iter(self._waiting), newest)
        self.wait_ended(longest)
        longest.transport.close()

    def _look(self) -> None:
        self._looks = None
        now = self._loop.time()
        late = [each for each, since in self._waiting.items() if now - since >= self._deadline]
        for connection in late:
            self.wait_ended(connection)
            connection.transport.close()
        if late:
            self._was_full = False
            log.info(
                "connections closed, as no request came on them within %g s: %d",
                self._deadline,
                len(late),
            )
        if self._waiting:
            # Not once for each connection: thousands may be due one after the other.
            since = next(iter(self._waiting.values()))
            at = max(since + self._deadline, now + self._deadline / 10)
            self._looks = self._loop.call_at(at, self._look)


class _AnswerTransport:
    """The transport as an answer sees it, whose `close` is the connection's `end`."""

    def __init__(self, connection: "Connection") -> None:
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self.close = connection.end


class Connection(HttpToolsProtocol):
    """An HTTP/1.1 connection of uvicorn's, within limits.

    uvicorn itself accepts any amount of data before a body, loses the body of a request that offers an upgrade, and
    does not answer clients that have closed their sending side.
    """

    def __init__(self, tracker: ConnectionTracker, **of_uvicorn: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**of_uvicorn)
        self._tracker = tracker
        self._overhead = 0
        """Bytes so far that belong to no body: headers, chunk extensions, trailers."""
        self._headers = 0
        self._in_head = False
        self._is_refused = False
        self._is_ending = False
        self._is_shut_down = False
        self._why = NOT_HTTP

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._line = _AnswerTransport(self)
        if len(self.connections) > self._tracker.most:
            self._tracker.make_room(self)
        self._tracker.wait_began(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._tracker.wait_ended(self)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection open after the client closed its sending side, if a complete request is still to be answered."""
        if self.cycle is None or self.cycle.more_body or self.cycle.response_complete:
            return False
        self.cycle.keep_alive = False
        return True

    # -- what comes in ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data and not self._is_refused:
            room = MAX_OVERHEAD - self._overhead
            self._overhead += len(data[:room])
            data = self._feed(data[:room]) + data[room:] if room else self._refuse(self._too_long())

    def _feed(self, data: bytes) -> bytes:
        """Parse data; returns what must be parsed once more."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._head_without_upgrade() + data[upgrade.args[0] :]
        except httptools.HttpParserError:
            return self._refuse(self._why)
        return b""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._headers = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        if self._headers > MAX_HEADERS:
            self._why = refusal(431, f"a request has at most {MAX_HEADERS} headers", close=True)
            raise ValueError
        if self._in_head:  # what comes after the body is no header of the request
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._overhead = False, 0
        if self.parser.get_method() == b"CONNECT" or len(self.pipeline) >= MOST_AHEAD:
            raise ValueError
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self.cycle.transport = self._line  # type: ignore[assignment]
            self._tracker.wait_ended(self)

    def on_chunk_header(self) -> None:
        self._overhead = max(0, self._overhead - CHUNK_LINES)

    def on_body(self, body: bytes) -> None:
        self._overhead = max(0, self._overhead - len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._overhead = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._is_ending:
            self.flow.resume_reading()
            return
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._tracker.wait_began(self)

    def _head_without_upgrade(self) -> bytes:
        """The request's head without its Upgrade header, so that the body is read."""
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    # -- what is refused before there is a request -------------------------------------------------------------

    def _too_long(self) -> Answer:
        if self._in_head and len(self.url) > MAX_OVERHEAD // 2:
            return refusal(414, "the address is too long", close=True)
        many = f"what comes before and around a body has at most {MAX_OVERHEAD} bytes"
        return refusal(431, many, close=True)

    def _refuse(self, answer: Answer) -> bytes:
        """Refuse the request, and read nothing more on this connection."""
        self._is_refused = True
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and self._in_head):
            self._write_answer(answer)
        elif not cycle.more_body and not cycle.response_started:
            cycle.keep_alive = False  # the previous request is answered first
        elif cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._write_answer(answer)
        return b""

    def _write_answer(self, answer: Answer) -> None:
        headers, body = encoded(answer)
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}".encode()]
        lines += [b": ".join(header) for header in (*self.server_state.default_headers, *headers)]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        self._drop_the_rest()
        log.warning("a request was refused with %d: %s", answer.status, answer.body["error"])

    def shutdown(self) -> None:
        self._is_shut_down = True
        super().shutdown()

    def end(self) -> None:
        """Close the connection after an answer to a request that may not have been read to its end."""
        if self.cycle.more_body and not self._is_shut_down:
            self._drop_the_rest()
        else:
            self.transport.close()

    def _drop_the_rest(self) -> None:
        """Read and drop for a while what still comes, because closing at once could lose the answer."""
        self._is_refused = self._is_ending = True
        self.transport.write_eof()
        self._tracker.wait_began(self)
