"""The HTTP client of all transports: no redirects, answers of limited size, no private addresses; and the wait in a Retry-After header."""

import json
import math
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.connector import NEEDS_CLEANUP_CLOSED, AddrInfoType, Connection
from yarl import URL

from relay import __version__
from relay.links import not_an_address
from relay.settings.proxy import HTTPS_PROXY, Proxy
from relay.transports import Ending, Outcome, begin_sending, clean_answer, unreachable
from relay.transports.resolver import HttpResolver, Resolver, is_private, is_private_literal
from relay.transports.tls import trusting, untrusted

SHORTEST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(hours=1)
"""The bounds of a wait that a Retry-After header asks for."""
MAX_ANSWER = 64 * 1024
"""The most bytes of an answer that are read; after that the connection is closed."""
KEEPALIVE = 0.05
"""How many seconds an idle connection is kept for reuse.

Short, so that no server closes it first: a POST on a closing connection is lost without an error.
Long enough for a burst or the replies of a thread.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTimeouts:
    """The time limits of a request, in seconds."""

    total: float = 20.0
    """The limit from the start to the last byte of the answer, including the name look-up."""
    connect: float = 5.0
    flow: float = 125.0
    """The total limit for a Teams flow: one that answers after posting may take two minutes."""


class PrivateAddressError(OSError):
    """Raised for a host name that leads to an address outside the public internet. Its text names neither of them."""

    def __init__(self) -> None:
        # Happy eyeballs keeps an error's class only if all addresses failed with the same text.
        super().__init__("the address is not on the public internet")


class RedirectError(aiohttp.ClientError):
    """Raised if a server redirects a request; redirects are not followed."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class HttpClient:
    """The sessions of all HTTP transports, opened in the event loop that first needs them."""

    def __init__(
        self,
        *,
        allow_private: bool,
        proxy: Proxy | None = None,
        tls: ssl.SSLContext | None = None,
        ca_file: Path | None = None,
        timeouts: HttpTimeouts | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        """`ca_file` has authorities to trust beside the system's; `tls` replaces both."""
        self._resolver = resolver or Resolver()
        self.allow_private = allow_private
        self.timeouts = timeouts or HttpTimeouts()
        self._proxy = proxy
        self._tls = tls
        self._ca_file = ca_file
        self._sessions: dict[Proxy | None, aiohttp.ClientSession] = {}

    @property
    def tls(self) -> ssl.SSLContext:
        """The TLS settings to pass with every request; slack-sdk would pass None."""
        if self._tls is None:
            self._tls = trusting(self._ca_file)
        return self._tls

    def session(self, url: str) -> aiohttp.ClientSession:
        """Return the session for this URL. Needs a running event loop."""
        proxy = self._proxy
        if proxy is not None and not proxy.is_for(urlsplit(url).hostname or ""):
            proxy = None
        if proxy not in self._sessions:
            self._sessions[proxy] = self._open(proxy)
        return self._sessions[proxy]

    def _connector(self, proxy: Proxy | None) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            ssl=self.tls,
            keepalive_timeout=KEEPALIVE,
            # No limit on connections, so that slow hosts don't delay others; lanes have their own limits.
            limit=0,
            resolver=HttpResolver(self._resolver),
            use_dns_cache=False,
            # Otherwise a connection whose peer does not confirm the
            # end of TLS keeps its socket until the process ends.
            enable_cleanup_closed=NEEDS_CLEANUP_CLOSED,
            # Checks the address that is really dialled, so that the name can't change in
            # between. A proxy is usually in the local network and looks names up itself.
            socket_factory=None if self.allow_private or proxy else _public_socket,
        )

    def _open(self, proxy: Proxy | None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=self._connector(proxy),
            timeout=aiohttp.ClientTimeout(total=self.timeouts.total, connect=self.timeouts.connect),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Accept-Encoding": "identity",
                "User-Agent": f"smartsupp-relay/{__version__}",
            },
            middlewares=(_stop_at_redirects,),
            request_class=_Request,
            response_class=BoundedResponse,
            proxy=proxy.url.reveal() if proxy else None,
            trust_env=False,
        )

    def objection(self, url: str) -> str:
        """Return why a webhook's URL can't be used, without the URL; empty if it can."""
        if malformed := not_an_address(url):
            return malformed
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "http" and not self.allow_private:
            return "starts with http://, which sends everything in clear text; it must be https://"
        if not self.allow_private and is_private_literal(host):
            return f"leads to {host}, which is not on the public internet{_HINT}"
        return ""

    async def connect(self, url: str, service: str) -> Outcome | str:
        """Request the root page of a webhook's host, without using the rest of the URL.

        Any answer shows that the host is there: returns a description of it. Without answer,
        returns the outcome that a post would have.
        """
        origin = URL(url, encoded=True).origin()
        try:
            async with self.session(url).get(origin, ssl=self.tls):
                pass
        except RedirectError:
            pass
        except NO_ANSWER as error:
            return without_answer(error, service)
        return f"{origin.host} answers; whether it takes this webhook can be seen only by a post"

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()


class _Request(aiohttp.ClientRequest):
    """A request that records when it is sent, which is after it has a connection."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        begin_sending()
        return await super().send(conn)


class BoundedResponse(aiohttp.ClientResponse):
    """An answer of which at most 64 kB are read, and whose status is used even if its body is incomplete."""

    broke_off = False
    """Whether the body was read and is incomplete."""

    async def read(self) -> bytes:
        """Return the body, at most MAX_ANSWER bytes."""
        if self._body is None:
            self._body = await self._beginning()
        return self._body

    async def text(self, encoding: str | None = None, errors: str = "replace") -> str:
        """Return the body as text, without bytes that slack-sdk could not handle.

        Always decoded as UTF-8: the declared charset may be none, or may change the text.
        """
        return (await self.read()).decode(encoding or "utf-8-sig", errors)

    async def json(self, **_: Any) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON of the body.

        Any invalid JSON (a number of 5,000 digits, 20,000 brackets) raises the error that slack-sdk catches.
        """
        try:
            return json.loads(await self.text())
        except (ValueError, RecursionError):
            raise json.JSONDecodeError("not JSON", "", 0) from None

    async def _beginning(self) -> bytes:
        body = bytearray()
        try:
            while len(body) < MAX_ANSWER:
                chunk = await self.content.readany()
                if not chunk:
                    return bytes(body)
                body += chunk
        except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
            self.broke_off = True
        self.close()
        return bytes(body[:MAX_ANSWER])


async def _stop_at_redirects(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Raise RedirectError for redirects, also for slack-sdk, which can't pass allow_redirects=False."""
    response = await handler(request)
    if 300 <= response.status < 400:
        response.close()
        raise RedirectError(response.status)
    return response


# -- addresses ---------------------------------------------------------------------------------------------

_HINT = " (RELAY_ALLOW_PRIVATE_WEBHOOKS=yes allows it)"


def _public_socket(info: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, address = info
    if is_private(str(address[0])):
        raise PrivateAddressError
    return socket.socket(family=family, type=kind, proto=protocol)


_PAGE = re.compile(
    r"(?is)[\s\ufeff]*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*"
    r"<(?:!doctype\s+html|html|head|body|title|meta|script|style|center|h1|div|p)\b"
)


def is_page(body: str) -> bool:
    """Whether an answer is a web page, such as the login page of a proxy or hotel, or of a parked domain."""
    return _PAGE.match(body) is not None


TAKEN_IN_BETWEEN = "which is not what {} answers: something in between, such as a proxy that wants a log-in, took the message"
"""The detail for a success status whose answer can't come from the service."""

# -- no answer ---------------------------------------------------------------------------------------------

_PROXY_REFUSES = {401, 403, 407}
"""The status codes of a proxy that refuses the password or the host, which somebody must fix."""
NO_ANSWER = (aiohttp.ClientError, OSError, ValueError)
"""The exceptions of requests without answer. TimeoutError is an OSError, an invalid host name a ValueError."""


def without_answer(error: Exception, service: str) -> Outcome:
    """Return the outcome of an attempt without answer. `service` is the server's name in outcomes, such as "Slack"."""
    match error:
        case RedirectError(status=status):
            ending = Ending.DESTINATION_BROKEN
            words = f"answered {status}, a redirect to another address; those are never followed"
        case aiohttp.ClientHttpProxyError(status=status):
            ending = Ending.DESTINATION_BROKEN if status in _PROXY_REFUSES else Ending.LATER
            words = f"was not reached: the proxy of {HTTPS_PROXY} answered {status}"
        case aiohttp.ClientProxyConnectionError():
            ending = Ending.LATER
            words = f"was not reached, nor the proxy of {HTTPS_PROXY}: {_reason(error)}"
        case aiohttp.ClientConnectorCertificateError():
            ending = Ending.DESTINATION_BROKEN
            words = clean_answer(untrusted(error.certificate_error))
        case aiohttp.ClientConnectorError(os_error=PrivateAddressError()):
            ending = Ending.DESTINATION_BROKEN
            words = f"was not called: the address is not on the public internet{_HINT}"
        case aiohttp.ClientConnectorError():
            ending, words = Ending.LATER, clean_answer(unreachable(error.os_error))
        case aiohttp.ConnectionTimeoutError():
            ending, words = Ending.LATER, "could not be reached in time"
        case ValueError() if not isinstance(error, UnicodeDecodeError):
            ending, words = Ending.DESTINATION_BROKEN, "was not called: the address can't be used"
        case TimeoutError():
            ending, words = Ending.MAYBE_DELIVERED, "did not answer in time"
        case _:
            ending, words = Ending.MAYBE_DELIVERED, "dropped the line before it answered"
    return Outcome(ending, f"{service} {words}")


def _reason(error: Exception) -> str:
    """Return the reason of an error; not str(error), which may contain the URL."""
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None)
    return clean_answer(str(getattr(cause, "strerror", None) or cause or type(error).__name__))


def wait_asked(headers: Mapping[str, str], now: datetime, default: timedelta) -> timedelta:
    """Return the wait in a Retry-After header (seconds or an HTTP date), limited to 1 s to 1 h.

    Returns `default` for a missing or invalid header: a word, a negative number or a past date.
    """
    header = _header(headers)
    seconds = _seconds(header.strip(), now) if header else None
    if seconds is None or math.isnan(seconds) or seconds < 0:
        return default
    if seconds >= LONGEST_WAIT.total_seconds():
        return LONGEST_WAIT
    return max(timedelta(seconds=seconds), SHORTEST_WAIT)


def wait_named(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Return the wait that an answer other than "too many requests" asks for; None if it asks for none."""
    return wait_asked(headers, now, SHORTEST_WAIT) if _header(headers) else None


def _header(headers: Mapping[str, str]) -> str | None:
    """The Retry-After header, in any spelling."""
    return next((value for name, value in headers.items() if name.lower() == "retry-after"), None)


def _seconds(header: str, now: datetime) -> float | None:
    try:
        return float(header)
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": no time zone given, which HTTP treats as GMT
        date = date.replace(tzinfo=UTC)
    return (date - now).total_seconds()
