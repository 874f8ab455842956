"""What the transports that speak HTTP share: a session, no redirects, bounded answers, no private addresses."""

import json
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.connector import NEEDS_CLEANUP_CLOSED, AddrInfoType, Connection
from yarl import URL

from relay import __version__
from relay.links import not_an_address
from relay.settings.proxy import HTTPS_PROXY, Proxy
from relay.transports import begin_sending
from relay.transports.outcome import Ending, Outcome, in_its_words, unreachable
from relay.transports.resolver import HttpResolver, Resolver, is_private, is_private_literal
from relay.transports.tls import trusting, untrusted

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read; the rest stays unread and the connection is closed."""
KEEPALIVE = 0.05
"""Seconds that a connection may be idle and still be used.

So short that no server closes it meanwhile: a POST on a connection
that is just being closed is lost, and nobody knows. Enough for what follows at once: a burst, the replies of a thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTimeouts:
    """The seconds that parts of a request may take."""

    total: float = 20.0
    """From the first step to the last byte of the answer, name look-up included."""
    connect: float = 5.0
    flow: float = 125.0
    """The whole again, for a flow of Teams: one that answers when it has posted may take two minutes."""


class PrivateAddressError(OSError):
    """A name leads to an address that is not on the public internet. The text is always the same."""

    def __init__(self) -> None:
        # Happy eyeballs keeps the class of an error only where all addresses failed with the same text.
        super().__init__("the address is not on the public internet")


class RedirectError(aiohttp.ClientError):
    """Raised where a server sends a request on to another address, which is not followed."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class HttpClient:
    """The sessions of all HTTP transports. Made anywhere, opened in the loop that first asks for them."""

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
        """`ca_file`: authorities that are trusted beside the system's. `tls` replaces both."""
        self._resolver = resolver or Resolver()
        self.allow_private = allow_private
        self.timeouts = timeouts or HttpTimeouts()
        self._proxy = proxy
        self._tls = tls
        self._ca_file = ca_file
        self._sessions: dict[Proxy | None, aiohttp.ClientSession] = {}

    @property
    def tls(self) -> ssl.SSLContext:
        """The TLS settings to be named with every request: slack-sdk passes None otherwise."""
        if self._tls is None:
            self._tls = trusting(self._ca_file)
        return self._tls

    def session(self, url: str) -> aiohttp.ClientSession:
        """The one for this address. Needs a running loop."""
        proxy = self._proxy
        if proxy is not None and not proxy.is_for(urlsplit(url).hostname or ""):
            proxy = None
        if proxy not in self._sessions:
            self._sessions[proxy] = self._open(proxy)
        return self._sessions[proxy]

    def _open(self, proxy: Proxy | None) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self.tls,
            keepalive_timeout=KEEPALIVE,
            # However many are slow or silent, none waits for another's connection: lanes count their own.
            limit=0,
            resolver=HttpResolver(self._resolver),
            use_dns_cache=False,
            # Else a connection whose other side has not agreed to end TLS keeps its socket, until the process ends.
            enable_cleanup_closed=NEEDS_CLEANUP_CLOSED,
            # Looks at the very address that is dialled: a name can't lead elsewhere in between. A proxy is mostly
            # in our own network, and looks names up by itself.
            socket_factory=None if self.allow_private or proxy else _public_socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
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
        """Why a webhook's URL can't be used, in words without the URL; empty where it can."""
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
        """Ask the host of a webhook for its first page, without saying anything else of the URL.

        Whatever it answers, it is there: returns that in words. Else how a post would end.
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
    """A request that tells when it is sent: once there is a connection."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        begin_sending()
        return await super().send(conn)


class BoundedResponse(aiohttp.ClientResponse):
    """An answer of which at most 64 kB are read, and whose status counts even where its body breaks off."""

    broke_off = False
    """The body was read and is not whole."""

    async def read(self) -> bytes:
        """The bytes of the answer, at most MAX_ANSWER."""
        if self._body is None:
            self._body = await self._beginning()
        return self._body

    async def text(self, encoding: str | None = None, errors: str = "replace") -> str:
        """What of it is text; slack-sdk would trip over the rest.

        UTF-8 whatever it says of itself: a charset may be one that decodes no text, or makes something else of it.
        """
        return (await self.read()).decode(encoding or "utf-8-sig", errors)

    async def json(self, **_: Any) -> Any:  # noqa: ANN401 - JSON
        """The answer's JSON.

        All that is wrong with it (a number of 5,000 digits, 20,000 brackets) raises the error that slack-sdk
        catches.
        """
        try:
            return json.loads(await self.text())
        except (ValueError, RecursionError):
            raise json.JSONDecodeError("not JSON", "", 0) from None

    async def _beginning(self) -> bytes:
        found = bytearray()
        try:
            while len(found) < MAX_ANSWER:
                chunk = await self.content.readany()
                if not chunk:
                    return bytes(found)
                found += chunk
        except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
            self.broke_off = True
        self.close()
        return bytes(found[:MAX_ANSWER])


async def _stop_at_redirects(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """For slack-sdk too, which has no way to say allow_redirects=False."""
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
    """Whether an answer is a web page: of a proxy that wants a log-in, of a hotel's network, of a parked domain."""
    return _PAGE.match(body) is not None


TAKEN_IN_BETWEEN = "which is not what {} answers: something in between, such as a proxy that wants a log-in, took the message"
"""Said of a success that is surely none."""

# -- no answer ---------------------------------------------------------------------------------------------

_PROXY_REFUSES = {401, 403, 407}
"""The proxy wants another password, or does not let anybody there: somebody has to fix that."""
NO_ANSWER = (aiohttp.ClientError, OSError, ValueError)
"""What a request may raise instead of answering; TimeoutError is an OSError, a bad host name a ValueError."""


def without_answer(error: Exception, service: str) -> Outcome:
    """How an attempt ended that got no answer. `service` is "Slack" or "Teams"."""
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
            words = in_its_words(untrusted(error.certificate_error))
        case aiohttp.ClientConnectorError(os_error=PrivateAddressError()):
            ending = Ending.DESTINATION_BROKEN
            words = f"was not called: the address is not on the public internet{_HINT}"
        case aiohttp.ClientConnectorError():
            ending, words = Ending.LATER, in_its_words(unreachable(error.os_error))
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
    """Not str(error), which may hold the URL."""
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None)
    return in_its_words(str(getattr(cause, "strerror", None) or cause or type(error).__name__))
