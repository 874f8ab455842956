"""Checks every request to the console before any page sees it: the host, its origin, its form, and the session."""

import hmac
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from relay.alerts.alert_loop import NO_ANSWER
from relay.console.allowed_hosts import Hosts
from relay.console.json_api.api_request import API
from relay.console.json_api.problem_details import PROBLEM, problem
from relay.console.request_context import COOKIE, FORM_TOKEN, Caller, cookie_header
from relay.console.sign_in import SignIn
from relay.console.static_files import StaticFiles
from relay.console.throttle import Turns
from relay.outbox import StorageUnavailable
from relay.outbox.user_tokens import is_mistyped
from relay.services import in_thread
from relay.web.app import Asgi
from relay.web.request_body import FROM_PROXY, BodyReader, Disconnected, NotTaken

MOST_AT_ONCE = 8
"""How many requests are answered at once. The console must not keep hooks from being answered."""
MOST_WAITING, LONGEST_WAIT = 32, 5.0
"""How many more requests wait for their turn, and for how many seconds."""
MOST_FIELDS = 200
"""How many fields a form may have."""
MOST_OF_RULES = 2_000_000
"""Limit of a form with a rules file, in bytes: a character other than a letter or digit takes three."""
LARGE = 64_000
"""Bytes from which a form is parsed in a thread, as it would hold up hooks otherwise."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # Not no-referrer, with which browsers do not send the origin of a form.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "x-robots-tag": "noindex, nofollow",
    "cache-control": "no-store",
}
"""Default headers of every answer."""
OWN_HEADER = "x-relay"
"""A header that forms of other sites can't send, and scripts of other sites only with permission (CORS)."""
Scope = Mapping[str, Any]
Headers = Mapping[str, str]
Message = Mapping[str, Any]
AsgiCall = Callable[..., Awaitable[Any]]
"""What ASGI calls `receive` or `send`."""
_READ = {"GET", "HEAD"}
_FORM = "application/x-www-form-urlencoded"

log = logging.getLogger(__name__)


class Refused(Exception):
    """Raised where a request gets this answer instead of a page."""

    def __init__(self, status: int, words: str, **headers: str) -> None:
        super().__init__(words)
        self.status, self.words, self.headers = status, words, headers


class RequestChecks:
    """An ASGI application around the console's pages that checks every request."""

    def __init__(
        self,
        pages: Asgi,
        *,
        hosts: Hosts,
        files: StaticFiles,
        reader: BodyReader,
        sign_in: SignIn,
        trusted_header: str = "",
    ) -> None:
        """`trusted_header`: the header in which a proxy names the signed-in user; empty for none."""
        self._pages = pages
        self._hosts = hosts
        self._files = files
        self._reader = reader
        self._sign_in = sign_in
        self._trusted_header = trusted_header.lower()
        self._turns = Turns(MOST_AT_ONCE, MOST_WAITING, LONGEST_WAIT)

    async def __call__(self, scope: Scope, receive: AsgiCall, send: AsgiCall) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _completed(message["headers"])}
            await send(message)

        try:
            await self._checked(scope, _headers(scope), receive, send_with_headers)
        except Refused as refused:
            await _answer(refused, send_with_headers, is_api=scope["path"].startswith(API))
        except Disconnected:
            return

    async def _checked(
        self, scope: Scope, headers: Headers, receive: AsgiCall, send: AsgiCall
    ) -> None:
        """Check a request, and pass it to the pages. Raises Refused and Disconnected."""
        is_api = scope["path"].startswith(API)
        self._refuse_unknown(scope, headers, is_api=is_api)
        if await self._answered_by_file(scope, headers, send):
            return
        reads = scope["method"] in _READ
        if not (is_api and _token(headers)):  # which no browser sends by itself
            refuse_other_sites(headers, reads=reads)
        form = {} if reads or is_api else await self._form(scope, headers, receive)
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._turns.turn())
            except TimeoutError:
                raise Refused(503, "The console is busy. Try again.", retry_after="2") from None
            caller, cookie = await self._caller(scope, headers, form)
            if is_api and not reads and (caller.session or caller.token):
                caller = replace(caller, body=await self._body(scope, receive))
            await self._pages(caller.put(scope), receive, _with_cookie(send, cookie))

    def _refuse_unknown(self, scope: Scope, headers: Headers, *, is_api: bool) -> None:
        """Raise Refused for a host or method that is not known here, or an address that can't be read."""
        if not self._hosts.knows(headers.get("host", "")):
            words = "The console is not known by this name. RELAY_PUBLIC_URL says by which it is."
            raise Refused(421, words)
        methods = ("GET", "HEAD", "POST", *(("PUT", "DELETE") if is_api else ()))
        if scope["method"] not in methods:
            allowed = ", ".join(methods)
            raise Refused(405, f"Here are known: {allowed}.", allow=allowed)
        if not is_api and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            raise Refused(404 if "\0" in scope["path"] else 400, "This address can't be read.")

    async def _answered_by_file(self, scope: Scope, headers: Headers, send: AsgiCall) -> bool:
        file = self._files.find(scope["path"]) if scope["method"] in _READ else None
        if file is None:
            return False
        is_packed = "gzip" in headers.get("accept-encoding", "")
        start = {"status": 200, "headers": file.headers(is_packed=is_packed)}
        await send({"type": "http.response.start", **start})
        body = (file.packed if is_packed else file.body) if scope["method"] == "GET" else b""
        await send({"type": "http.response.body", "body": body})
        return True

    async def _caller(
        self, scope: Scope, headers: Headers, form: Mapping[str, str]
    ) -> tuple[Caller, str]:
        """The caller, and the new cookie if a proxy has signed the user in. Raises Refused."""
        caller = Caller(
            session=None,
            secret="",
            form=form,
            address=(scope.get("client") or ("", 0))[0],
            agent=headers.get("user-agent", ""),
            via="api" if scope["path"].startswith(API) else "console",
            is_partial="hx-request" in headers,
            languages=headers.get("accept-language", ""),
        )
        try:
            return await self._signed_in(scope, headers, caller)
        except (StorageUnavailable, TimeoutError) as error:
            log.warning("the console can't ask who signed in: %s", error)
            words = "The relay's database does not answer just now. Try again in a moment."
            raise Refused(503, words, retry_after="5") from None

    async def _signed_in(
        self, scope: Scope, headers: Headers, caller: Caller
    ) -> tuple[Caller, str]:
        """The caller with the session or token, if there is one, and a cookie to set. Raises Refused, StorageUnavailable and TimeoutError."""
        reads = scope["method"] in _READ
        if scope["path"].startswith(API) and (token := _token(headers)):
            return await self._by_token(token, caller), ""
        secret = _cookie(headers.get("cookie", ""))
        if secret:
            by_person = not (caller.is_partial and reads)
            caller = await self._by_cookie(secret, caller, by_person=by_person)
        if name := self._proxy_user(scope, headers):
            if caller.session and caller.session.user.name == name and not reads:
                _refuse_other_sessions(caller, scope, headers)
            return await self._by_proxy(name, caller, reads=reads)
        if caller.session and not reads:
            _refuse_other_sessions(caller, scope, headers)
        return caller, ""

    async def _by_cookie(self, secret: str, caller: Caller, *, by_person: bool) -> Caller:
        try:
            session = await self._sign_in.find(secret, by_person=by_person)
        except (StorageUnavailable, TimeoutError) as error:
            session = self._sign_in.recent_session(secret)
            if session is None:
                raise
            caller = replace(caller, no_database=str(error) or NO_ANSWER)
        return replace(caller, session=session, secret=secret if session else "")

    async def _by_token(self, secret: str, caller: Caller) -> Caller:
        if is_mistyped(secret):
            words = "This token is mistyped or cut off."
            raise Refused(401, words, www_authenticate="Bearer")
        token = await self._sign_in.find_token(secret)
        if token is None:
            raise Refused(401, "This token is not known here.", www_authenticate="Bearer")
        return replace(caller, token=token, secret=secret)

    def _proxy_user(self, scope: Scope, headers: Headers) -> str:
        """The user named by a trusted proxy; empty without one."""
        if not self._trusted_header or not scope.get(FROM_PROXY, False):
            return ""
        is_safe = self._hosts.is_safe(headers["host"])
        return headers.get(self._trusted_header, "").strip().lower() if is_safe else ""

    async def _by_proxy(self, name: str, caller: Caller, *, reads: bool) -> tuple[Caller, str]:
        caller = replace(caller, by_proxy=True)
        if caller.session and caller.session.user.name == name:
            return caller, ""
        if not reads:  # of a session that has ended, or of somebody else
            return replace(caller, session=None, secret=""), ""
        begun = await self._sign_in.sign_in_elsewhere(name, caller, "by the proxy")
        if begun is None:
            return replace(caller, session=None, secret="", stranger=name), ""
        secret, session = begun
        return replace(caller, session=session, secret=secret), secret

    async def _form(self, scope: Scope, headers: Headers, receive: AsgiCall) -> Mapping[str, str]:
        if headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            raise Refused(415, f"Send forms as {_FORM}.")
        body = await self._body(scope, receive)
        try:
            return await in_thread(lambda _: _fields(body)) if len(body) > LARGE else _fields(body)
        except ValueError:
            raise Refused(400, "This is no form.") from None

    async def _body(self, scope: Scope, receive: AsgiCall) -> bytes:
        """The request's body. Raises Refused."""
        most = MOST_OF_RULES if scope["path"].startswith("/rules/") else 0
        try:
            return await self._reader.read(scope["headers"], receive, most)
        except NotTaken as refused:
            words = "The body can't be read: it is too large, is packed, or did not come in time."
            raise Refused(refused.answer.status, words, connection="close") from None


def _fields(body: bytes) -> dict[str, str]:
    """The fields of a form. Raises ValueError for anything else, and for NUL, which no database accepts."""
    if b"\0" in body or b"%00" in body:
        raise ValueError
    text, most = body.decode(), MOST_FIELDS
    pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=most)
    return dict(pairs)


def _token(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _refuse_other_sessions(caller: Caller, scope: Scope, headers: Headers) -> None:
    """Raise Refused for a form of another session, or an API request that no script of the console has sent."""
    if scope["path"].startswith(API):
        if headers.get(OWN_HEADER) != "1":
            words = f"Without a token, send the header {OWN_HEADER.title()}: 1."
            raise Refused(403, words)
        return
    if not hmac.compare_digest(
        caller.form.get(FORM_TOKEN, "").encode(), caller.form_token.encode()
    ):
        raise Refused(
            403,
            "This form is of another session. Go back, load the page again, and send it once more.",
        )


def refuse_other_sites(headers: Headers, *, reads: bool) -> None:
    """Raise Refused for a request that another site's page sends. `reads`: the request changes nothing.

    A link on another site may lead here; all other requests from there are refused.
    """
    site = headers.get("sec-fetch-site", "")
    if reads:
        is_link = headers.get("sec-fetch-dest", "document") == "document"
        if site in ("cross-site", "same-site") and not is_link:
            raise Refused(403, "Pages of other sites may not load this.")
        return
    if site:
        is_own_site = site == "same-origin"
    else:
        host = headers.get("host")
        is_own_site = headers.get("origin") in {f"http://{host}", f"https://{host}"}
    if not is_own_site:
        raise Refused(403, "This form was sent from another site, and nothing was changed.")


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        # Two Host headers are joined, so that neither is accepted.
        separator = "; " if key == "cookie" else ", "
        headers[key] = (
            f"{headers[key]}{separator}{value.decode('latin-1')}"
            if key in headers
            else value.decode("latin-1")
        )
    return headers


def _cookie(header: str) -> str:
    for pair in header.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _completed(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    given = list(headers)
    names = {name.lower() for name, _ in given}
    more = ((name.encode(), value.encode()) for name, value in HEADERS.items())
    return [*given, *(each for each in more if each[0] not in names)]


def _with_cookie(send: AsgiCall, secret: str) -> AsgiCall:
    async def send_it(message: Message) -> None:
        if message["type"] == "http.response.start":
            cookie = (b"set-cookie", cookie_header(secret).encode())
            message = {**message, "headers": [*message["headers"], cookie]}
        await send(message)

    return send_it if secret else send


async def _answer(refused: Refused, send: AsgiCall, *, is_api: bool) -> None:
    body = problem(refused.status, refused.words) if is_api else f"{refused.words}\n".encode()
    headers = {
        "content-type": PROBLEM if is_api else "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in refused.headers.items()},
    }
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
