"""What the checks found out about a request to the console: its sender, form and body. Also makes the session's cookie."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote

from relay.outbox.user_accounts import LONGEST, Role, UserSession
from relay.outbox.user_tokens import ApiToken

COOKIE = "__Host-relay"
"""The session's cookie. With this prefix browsers accept it only over HTTPS or on this computer, for one host and all its paths."""
FORM_TOKEN = "token"  # noqa: S105 - the name of a form's field
_KEY = "relay.caller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The sender of a request and the data that it sent, as read by the checks before any page."""

    session: UserSession | None
    secret: str
    """The value of the cookie, or the API token of a program; empty without either."""
    form: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    """The body of a program's request."""
    address: str = ""
    """The client's IP address."""
    agent: str = ""
    is_partial: bool = False
    """Whether htmx requests a part of a page."""
    languages: str = ""
    """The Accept-Language header."""
    token: ApiToken | None = None
    """The API token of a program; then there is no session."""
    by_proxy: bool = False
    """Whether a trusted proxy has named the user."""
    via: str = "console"
    """`console` or `api`."""
    no_database: str = ""
    """Why the database could not be asked, if the session is one remembered from a short while ago; else empty."""
    stranger: str = ""
    """The name given by the proxy, if there is no such user; else empty."""

    @property
    def name(self) -> str:
        """The name for the log of acts: of a user, or `anna (token reports)`."""
        if self.token:
            return f"{self.token.maker} (token {self.token.name})"
        return self.session.user.name if self.session else ""

    @property
    def role(self) -> Role:
        """The role of the user or token; for nobody the lowest."""
        if self.token:
            return self.token.role
        return self.session.user.role if self.session else Role.VIEWER

    @property
    def form_token(self) -> str:
        """The token in every form of the session. Made from the cookie, so that another site can't know it."""
        return form_token(self.secret)

    def may(self, role: Role) -> bool:
        """Whether the user has this role or a higher one."""
        if self.token:
            return self.token.role.may(role)
        return self.session is not None and self.session.user.role.may(role)

    def put(self, scope: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of the ASGI scope with this caller. In a path of the API, an encoded slash becomes NUL, as it belongs to a name."""
        path = scope["path"]
        if self.via == "api":
            path = unquote(
                re.sub("%2f", "%00", scope["raw_path"].decode("latin-1"), flags=re.IGNORECASE)
            )
        return {**scope, "path": path, _KEY: self}


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """The caller in a scope, as stored by `Caller.put`."""
    caller: Caller = scope[_KEY]
    return caller


def form_token(secret: str) -> str:
    """The token for forms of the session with this cookie."""
    digest = hashlib.sha256(b"form:" + secret.encode("utf-8", "replace")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def cookie_header(secret: str, name: str = COOKIE, lasts_for: timedelta = LONGEST) -> str:
    """The value of a Set-Cookie header, by default for the session's cookie; an empty `secret` deletes the cookie."""
    cookie = SimpleCookie({name: secret})
    morsel = cookie[name]
    lasts = int(lasts_for.total_seconds()) if secret else 0
    morsel |= {"path": "/", "secure": True, "httponly": True, "samesite": "Lax", "max-age": lasts}
    return morsel.OutputString()
