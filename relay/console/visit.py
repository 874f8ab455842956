"""One request to the console: who asks, from where, and what the form says."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote

from relay.outbox.people import LONGEST, Role, UserSession
from relay.outbox.people_tokens import ApiToken

COOKIE = "__Host-relay"
"""Browsers take a cookie of such a name only over HTTPS or from this computer, for one host, for all its paths."""
FORM_TOKEN = "token"  # noqa: S105 - the name of a form's field
_KEY = "relay.visit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request, as far as it was looked at before any page."""

    session: UserSession | None
    secret: str
    """What the cookie holds; empty where there is no session."""
    form: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    """What a program sent."""
    address: str = ""
    """Of the client."""
    agent: str = ""
    is_partial: bool = False
    """htmx asks for a part of a page."""
    languages: str = ""
    """The Accept-Language header."""
    token: ApiToken | None = None
    """By which a program asks; then there is no session."""
    by_proxy: bool = False
    """A proxy that is believed says who asks."""
    via: str = "console"
    """Or `api`."""
    no_database: str = ""
    """Why the session could not be looked up, where it is one that was seen a short while ago."""
    stranger: str = ""
    """Who asks, as that proxy says, where there is no such user."""

    @property
    def name(self) -> str:
        """Who asks, as the log of acts names them: a user, or `anna (token reports)`."""
        if self.token:
            return f"{self.token.maker} (token {self.token.name})"
        return self.session.user.name if self.session else ""

    @property
    def role(self) -> Role:
        """What who asks may do; for nobody the least."""
        if self.token:
            return self.token.role
        return self.session.user.role if self.session else Role.VIEWER

    @property
    def form_token(self) -> str:
        """What each form of the session carries; made of the cookie, so that another site can't know it."""
        return form_token(self.secret)

    def may(self, role: Role) -> bool:
        """Whether the user has this role or more."""
        if self.token:
            return self.token.role.may(role)
        return self.session is not None and self.session.user.role.may(role)

    def put(self, scope: Mapping[str, Any]) -> dict[str, Any]:
        """The ASGI scope with this visit. In a path of the API, NUL stands for a slash within a name."""
        path = scope["path"]
        if self.via == "api":
            path = unquote(
                re.sub("%2f", "%00", scope["raw_path"].decode("latin-1"), flags=re.IGNORECASE)
            )
        return {**scope, "path": path, _KEY: self}


def visit_of(scope: Mapping[str, Any]) -> Visit:
    """The visit that `Visit.put` has put there."""
    visit: Visit = scope[_KEY]
    return visit


def form_token(secret: str) -> str:
    """The token for the forms of the session that this cookie opens."""
    digest = hashlib.sha256(b"form:" + secret.encode("utf-8", "replace")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def cookie_header(secret: str, name: str = COOKIE, lasts_for: timedelta = LONGEST) -> str:
    """The Set-Cookie header of a session, or of another cookie; of an empty `secret`: the browser forgets it."""
    cookie = SimpleCookie({name: secret})
    morsel = cookie[name]
    lasts = int(lasts_for.total_seconds()) if secret else 0
    morsel |= {"path": "/", "secure": True, "httponly": True, "samesite": "Lax", "max-age": lasts}
    return morsel.OutputString()
