"""The console, visited as a browser would: with a cookie, and forms that come from its own pages."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import msgspec

from tests.running import RunningRelay

PASSWORD = "a password for tests"
NEW = "another good password"
"""Of users who were invited."""
FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class Got:
    """An answer of the console."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def place(self) -> str:
        """Where it leads to."""
        return self.headers.get("location", "")


@dataclass(slots=True)
class Visitor:
    """A browser that keeps the console's cookie."""

    relay: RunningRelay
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, **headers: str) -> Got:
        return await self.ask("GET", path, headers)

    async def post(self, path: str, headers: Mapping[str, str] | None = None, **form: str) -> Got:
        """A form of one of the console's own pages."""
        here = {"sec-fetch-site": "same-origin", **FORM, **(headers or {})}
        return await self.ask("POST", path, here, data=urlencode(form))

    async def submit(self, path: str, **form: str) -> Got:
        """A form with the token that the session's pages put into it."""
        return await self.post(path, None, token=await self.token(), **form)

    async def token(self) -> str:
        (token, *_) = re.findall(r'name="token" value="([^"]+)"', (await self.get("/health")).text)
        return str(token)

    async def sign_in(self, name: str = "admin", password: str = PASSWORD, next: str = "") -> Got:  # noqa: A002
        got = await self.post("/login", name=name, password=password, next=next)
        if got.status == 303:
            self.cookie = got.headers["set-cookie"].removeprefix("__Host-relay=").partition(";")[0]
        return got

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> Got:
        cookie = {"cookie": f"__Host-relay={self.cookie}"} if self.cookie else {}
        if "data" in more:  # as a file: aiohttp warns of large bytes
            data = more["data"]
            more["data"] = io.BytesIO(data if isinstance(data, bytes) else data.encode())
        async with self.relay.client.request(
            method,
            self.relay.url + path,
            headers={**self.headers, **cookie, **(headers or {})},
            allow_redirects=False,
            **more,
        ) as answer:
            return Got(answer.status, await answer.text(), answer.headers)


async def signed_in(relay: RunningRelay, role: str = "admin") -> Visitor:
    """Somebody with this role."""
    visitor = Visitor(relay)
    assert (await visitor.sign_in()).status == 303
    relay.change("UPDATE users SET role = ? WHERE name = 'admin'", role)
    return visitor


def link_in(text: str) -> str:
    """The path of the link that a page or a command shows."""
    (path,) = set(re.findall(r"http://[^\s/]+(/login/\w{43})", text))
    return str(path)


async def invited(admin: Visitor, name: str, role: str = "viewer") -> Visitor:
    """A new user who has used the link."""
    link = link_in((await admin.submit("/people", name=name, role=role)).text)
    visitor = Visitor(admin.relay)
    assert took(visitor, await visitor.post(link, password=NEW)).status == 303
    return visitor


def took(visitor: Visitor, got: Got) -> Got:
    """The answer; the browser has kept its cookie."""
    visitor.cookie = got.headers["set-cookie"].removeprefix("__Host-relay=").partition(";")[0]
    return got


def acts(relay: RunningRelay) -> list[tuple[str, ...]]:
    return relay.rows("SELECT by, via, act, subject, detail FROM acts ORDER BY id")


@dataclass(frozen=True, slots=True)
class Told:
    """An answer of the JSON API."""

    status: int
    json: Any
    headers: Mapping[str, str]

    @property
    def detail(self) -> str:
        """What a problem says in words."""
        return str(self.json["detail"])


@dataclass(slots=True)
class Program:
    """What uses the JSON API with a token."""

    relay: RunningRelay
    token: str

    async def get(self, path: str, **headers: str) -> Told:
        return await self.ask("GET", path, headers)

    async def post(self, path: str, body: object = None, **headers: str) -> Told:
        return await self.ask(
            "POST", path, headers, msgspec.json.encode(body) if body is not None else b""
        )

    async def put(self, path: str, body: object, **headers: str) -> Told:
        return await self.ask("PUT", path, headers, msgspec.json.encode(body))

    async def delete(self, path: str, **headers: str) -> Told:
        return await self.ask("DELETE", path, headers)

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Told:
        """`path`: below `/api/v1`, or with it."""
        place = path if path.startswith("/api/") else f"/api/v1{path}"
        given = {"authorization": f"Bearer {self.token}"}
        given |= {"content-type": "application/json"} if body else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.relay.client.request(
            method, self.relay.url + place, headers=given, data=io.BytesIO(body) if body else None
        ) as answer:
            text = await answer.read()
            return Told(answer.status, msgspec.json.decode(text) if text else None, answer.headers)


async def a_program(relay: RunningRelay, role: str = "admin", name: str = "robot") -> Program:
    """A program with a new token of the user admin."""
    admin = await signed_in(relay)
    page = (await admin.submit("/tokens", name=name, role=role, days="30")).text
    return Program(relay, re.findall(r"relay_\w{49}", page)[-1])
