"""Sign-in at a scripted OpenID Connect provider on loopback, which answers as told."""

import asyncio
import base64
import hashlib
import hmac
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp.web
import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from relay.clock import utc_now
from relay.console.oidc import OidcRefused, oidc_of
from relay.runtime.startup import NotReady, settings_of
from tests.console.visiting import PASSWORD, Got, Visitor, acts, invited, signed_in
from tests.running import MovableClock, RunningRelay, running_relay

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLIENT, SECRET, ANNA = "the-relay", "CANARY-oidc-secret", "anna@example.com"
KEY, OTHER_KEY = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
CURVE = ECKey.generate_key("P-256")
Change = Callable[["Provider"], None]
addresses = count(1)


@dataclass
class Provider:
    """What it says, and what it was asked."""

    url: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: KEY)
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256"})
    keys: list[dict[str, Any]] = field(default_factory=lambda: [KEY.as_dict(private=False)])
    token: Callable[[str], Any] = lambda token: {"id_token": token}
    status: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)
    nonce: str = ""
    hold: asyncio.Event | None = None

    async def configuration(self, _: aiohttp.web.Request) -> aiohttp.web.Response:
        said = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            **self.metadata,
        }
        return aiohttp.web.json_response(said)

    async def jwks(self, _: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.json_response({"keys": self.keys})

    async def exchange(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append({**form, "authorization": request.headers.get("authorization", "")})
        if self.hold:
            await self.hold.wait()
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": "1",
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
            "email": ANNA,
            "email_verified": True,
            **self.claims,
        }
        said = self.token(signed({k: v for k, v in claims.items() if v is not ...}, self))
        text = said if isinstance(said, str) else json.dumps(said)
        return aiohttp.web.Response(text=text, status=self.status, content_type="application/json")


def signed(claims: dict[str, Any], provider: Provider) -> str:
    algorithm = provider.header["alg"]
    if algorithm not in {"none", "HS256"}:
        return jwt.encode(provider.header, claims, provider.key, algorithms=[algorithm])
    parts = [json.dumps(each).encode() for each in (provider.header, claims)]
    text = ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in parts)
    signature = b""
    if algorithm == "HS256":  # which the package itself would not do with such a key
        signature = hmac.digest(provider.key, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[tuple[str, list[Provider]]]:
    """The address of a server, and whom it asks: the provider that the list holds."""
    now: list[Provider] = []
    app = aiohttp.web.Application()

    def asks(name: str) -> Any:
        async def answer(request: aiohttp.web.Request) -> aiohttp.web.Response:
            found: aiohttp.web.Response = await getattr(now[0], name)(request)
            return found

        return answer

    app.router.add_get("/.well-known/openid-configuration", asks("configuration"))
    app.router.add_get("/keys", asks("jwks"))
    app.router.add_post("/token", asks("exchange"))
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", now
    await runner.cleanup()


def oidc(url: str, **more: str) -> dict[str, Any]:
    return {
        "RELAY_CONSOLE_PASSWORD": PASSWORD,
        "RELAY_PUBLIC_URL": "http://127.0.0.1:1",
        "RELAY_CONSOLE_OIDC_ISSUER": url,
        "RELAY_CONSOLE_OIDC_CLIENT_ID": CLIENT,
        "RELAY_CONSOLE_OIDC_CLIENT_SECRET": SECRET,
        **more,
    }


@pytest.fixture
def provider(server: tuple[str, list[Provider]]) -> Provider:
    url, now = server
    now[:] = [Provider(url)]
    return now[0]


async def begun(relay: RunningRelay, query: str = "") -> tuple[Visitor, dict[str, str]]:
    """A browser at the provider, and what it was asked for."""
    # Each from an address of its own: from one address there are few tries.
    visitor = Visitor(relay, headers={"x-forwarded-for": f"192.0.2.{next(addresses) % 256}"})
    got = await visitor.get(f"/login/oidc{query}")
    assert got.status == 303, got.text
    cookie = got.headers["set-cookie"].partition(";")[0]
    visitor.headers["cookie"] = cookie
    assert cookie.startswith("__Host-relay-oidc=")
    return visitor, {
        name: values[0] for name, values in parse_qs(urlsplit(got.place).query).items()
    }


async def sign_in(relay: RunningRelay, provider: Provider, query: str = "") -> tuple[Visitor, Got]:
    visitor, asked = await begun(relay, query)
    provider.nonce = asked["nonce"]
    got = await visitor.get(f"/login/oidc/callback?code=c&state={asked['state']}")
    return visitor, got


async def test_a_user_signs_in_once_at_the_provider(provider: Provider, tmp_path: Path) -> None:
    async with running_relay(tmp_path, **oidc(provider.url)) as relay:
        await invited(await signed_in(relay), ANNA, "editor")
        page = await Visitor(relay).get("/login?next=/health")
        assert 'href="/login/oidc?next=/health"' in page.text
        visitor, asked = await begun(relay, "?next=/health")
        assert asked["redirect_uri"] == "http://127.0.0.1:1/login/oidc/callback"
        assert (asked["response_type"], asked["scope"]) == ("code", "openid email profile")
        provider.nonce = asked["nonce"]
        path = f"/login/oidc/callback?code=c%20d&state={asked['state']}"
        got = await visitor.get(
            path, **{"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}
        )
        assert (got.status, got.place) == (303, "/health")
        (exchange,) = provider.asked
        digest = hashlib.sha256(exchange["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        assert (challenge, asked["code_challenge_method"]) == (asked["code_challenge"], "S256")
        assert exchange["code"] == "c d"
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        assert exchange["authorization"] == f"Basic {basic}"
        cookies = got.headers.getall("set-cookie")  # type: ignore[attr-defined]
        assert any(
            each.startswith('__Host-relay-oidc=""') or "Max-Age=0" in each for each in cookies
        )
        session = next(each for each in cookies if each.startswith("__Host-relay="))
        anna = Visitor(relay, session.partition("=")[2].partition(";")[0])
        assert ANNA in (await anna.get("/me")).text
        assert (ANNA, "console", "sign in", ANNA, "by OpenID Connect") in acts(relay)
        again = await visitor.get(path)
        assert (again.status, len(provider.asked)) == (400, 1)


async def refused(relay: RunningRelay, provider: Provider, change: Change) -> Got:
    change(provider)
    _, got = await sign_in(relay, provider)
    assert not any("__Host-relay=" in each for each in got.headers.getall("set-cookie", []))  # type: ignore[attr-defined]
    return got


def claims(**values: Any) -> Change:
    return lambda provider: provider.claims.update(values)


def says(**values: Any) -> Change:
    def change(provider: Provider) -> None:
        for name, value in values.items():
            setattr(provider, name, value)

    return change


NOW = int(time.time())
PUBLIC = KEY.as_pem(private=False)
WAYS: dict[str, Change] = {
    "another nonce": claims(nonce="x"),
    "no nonce": claims(nonce=...),
    "a nonce that is no text": claims(nonce=1),
    "for another client": claims(aud="other"),
    "for several, by another": claims(aud=[CLIENT, "other"]),
    "for several, by none": claims(aud=[CLIENT, "other"], azp="other"),
    "for us, by another": claims(azp="other"),
    "for nobody": claims(aud=...),
    "by another issuer": claims(iss="https://evil.example"),
    "expired": claims(exp=NOW - 120),
    "never expires": claims(exp=...),
    "expires at a text": claims(exp="later"),
    "expires when true": claims(exp=True),
    "from the future": claims(iat=NOW + 3600),
    "not yet": claims(nbf=NOW + 3600),
    "email not verified": claims(email_verified=False),
    "email perhaps verified": claims(email_verified="true"),
    "nothing of a verification": claims(email_verified=...),
    "no email": claims(email=...),
    "emails": claims(email=[ANNA]),
    "unsigned": says(header={"alg": "none"}),
    "signed by a public key": says(header={"alg": "HS256"}, key=PUBLIC),
    "signed by the secret": says(header={"alg": "HS256"}, key=SECRET.encode()),
    "signed by another": says(key=OTHER_KEY),
    "signed by another with our number": says(key=OTHER_KEY, header={"alg": "RS256", "kid": "1"}),
    "a shared secret among the keys": says(
        header={"alg": "HS256"},
        key=SECRET.encode(),
        keys=[OctKey.import_key(SECRET).as_dict()],
    ),
    "no token": says(token=lambda _: {"access_token": "x"}),
    "a number for a token": says(token=lambda _: {"id_token": 1}),
    "a long token": says(token=lambda _: {"id_token": "x." * 20_000}),
    "no dots": says(token=lambda _: {"id_token": "x"}),
    "a list": says(token=lambda _: [1]),
    "deep": says(token=lambda _: "[" * 60_000),
    "huge": says(token=lambda token: json.dumps({"fill": "x" * 2_000_000, "id_token": token})),
    "a page": says(token=lambda _: "<html>"),
    "an error": says(status=500),
    "a refusal": says(status=400, token=lambda _: {"error": "invalid_grant"}),
}


@pytest.mark.parametrize("way", WAYS)
async def test_whoever_is_not_sure_does_not_come_in(
    relay_at: RunningRelay, provider: Provider, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    got = await refused(relay_at, provider, WAYS[way])
    assert got.status == 502
    assert "log says why" in got.text
    assert "sign-in by OpenID Connect from 192.0.2." in caplog.text
    assert SECRET not in caplog.text + got.text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay_at(
    server: tuple[str, list[Provider]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningRelay]:
    """A relay that knows the provider, with a user."""
    url, now = server
    now[:] = [Provider(url)]
    async with running_relay(tmp_path_factory.mktemp("oidc"), **oidc(url)) as relay:
        await invited(await signed_in(relay), ANNA)
        yield relay


@pytest.mark.parametrize(
    ("state", "cookie", "status"),
    [("other", True, 400), ("", True, 400), (None, False, 400)],
)
async def test_an_answer_is_of_the_browser_that_asked(
    relay_at: RunningRelay, provider: Provider, state: str | None, cookie: bool, status: int
) -> None:
    visitor, asked = await begun(relay_at)
    if not cookie:
        del visitor.headers["cookie"]
    sent = asked["state"] if state is None else state
    got = await visitor.get(f"/login/oidc/callback?code=c&state={sent}")
    assert (got.status, provider.asked) == (status, [])
    assert "another browser" in got.text


async def test_a_mixed_up_cookie_is_refused(relay_at: RunningRelay, provider: Provider) -> None:
    for cookie in (
        "",
        "x",
        "W10",
        "WzFd",
        "a" * 4000,
        "%00",
        base64.b64encode(b"[" * 3000).decode(),
    ):
        visitor = Visitor(relay_at, headers={"cookie": f"__Host-relay-oidc={cookie}"})
        visitor.headers["x-forwarded-for"] = f"198.51.100.{next(addresses) % 256}"
        assert (await visitor.get("/login/oidc/callback?code=c&state=x")).status == 400


async def test_an_answer_of_another_provider_is_refused(
    relay_at: RunningRelay, provider: Provider
) -> None:
    visitor, asked = await begun(relay_at)
    provider.nonce = asked["nonce"]
    path = f"/login/oidc/callback?code=c&state={asked['state']}&iss=https%3A%2F%2Fevil.example"
    assert ((await visitor.get(path)).status, provider.asked) == (502, [])


async def test_a_denial_is_told_in_its_own_word_only(
    relay_at: RunningRelay, provider: Provider
) -> None:
    for error, shown in (("access_denied", "access_denied"), ("<b>no</b>", "an error")):
        visitor, asked = await begun(relay_at)
        query = urlencode({"error": error, "error_description": "<i>", "state": asked["state"]})
        got = await visitor.get(f"/login/oidc/callback?{query}")
        assert (got.status, f"({shown})" in got.text, "<i>" in got.text) == (403, True, False)


async def test_who_is_no_user_is_told_so(relay_at: RunningRelay, provider: Provider) -> None:
    provider.claims["email"] = "<b>@example.com"
    _, got = await sign_in(relay_at, provider)
    assert (got.status, "&lt;b&gt;@example.com" in got.text) == (403, True)


async def test_several_audiences_are_fine_where_the_token_is_for_us(
    relay_at: RunningRelay, provider: Provider
) -> None:
    provider.claims |= {"aud": ["other", CLIENT], "azp": CLIENT}
    assert (await sign_in(relay_at, provider))[1].status == 303


async def test_where_to_go_afterwards_is_a_page_of_the_console(
    relay_at: RunningRelay, provider: Provider
) -> None:
    for asked in ("//evil.example", "https://evil.example", "/logout", "/%5cevil.example"):
        _, got = await sign_in(relay_at, provider, f"?{urlencode({'next': asked})}")
        assert (got.status, got.place) == (303, "/chats")


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ({"issuer": "https://evil.example"}, 502),
        ({"issuer": None}, 502),
        ({"authorization_endpoint": "javascript:alert(1)"}, 502),
        ({"authorization_endpoint": "http://login.example.com/a"}, 502),
        ({"authorization_endpoint": "https://a b/"}, 502),
        ({"token_endpoint": "http://login.example.com/t"}, 502),
        ({"token_endpoint": 1}, 502),
        ({"jwks_uri": "file:///etc/passwd"}, 502),
        ({"authorization_endpoint": "https://login.example.com/a?tenant=1"}, 303),
    ],
)
async def test_a_provider_that_says_odd_things_of_itself_is_not_asked(
    provider: Provider, tmp_path: Path, metadata: dict[str, Any], status: int
) -> None:
    provider.metadata = metadata
    async with running_relay(tmp_path, **oidc(provider.url)) as relay:
        got = await Visitor(relay).get("/login/oidc")
        assert got.status == status
        assert status == 502 or got.place.startswith("https://login.example.com/a?tenant=1&resp")


async def test_a_provider_that_is_away_keeps_nobody_from_a_password(tmp_path: Path) -> None:
    async with running_relay(tmp_path, **oidc("http://127.0.0.1:9")) as relay:
        assert (await Visitor(relay).get("/login/oidc")).status == 502
        assert (await Visitor(relay).sign_in()).status == 303


async def test_a_provider_that_does_not_answer_is_not_waited_for(provider: Provider) -> None:
    provider.hold = asyncio.Event()
    asked = oidc_of(settings_of(oidc(provider.url))[0], utc_now)
    assert asked
    place, cookie = await asked.begin("/chats")
    given = {name: value[0] for name, value in parse_qs(urlsplit(place).query).items()}
    try:
        with pytest.raises(OidcRefused, match="gave no answer: TimeoutError"):
            await replace(asked, patience=0.05).finish(cookie, given | {"code": "c"})
    finally:
        provider.hold.set()
        await asked.http.close()


async def test_keys_are_asked_for_again_when_the_provider_has_new_ones(
    provider: Provider, tmp_path: Path
) -> None:
    clock = MovableClock()
    async with running_relay(tmp_path, clock=clock, **oidc(provider.url)) as relay:
        await invited(await signed_in(relay), ANNA)
        provider.keys = []
        assert (await sign_in(relay, provider))[1].status == 502
        provider.keys = [{"kty": "new"}, {}, OctKey.import_key(SECRET).as_dict()]
        provider.keys += [CURVE.as_dict(private=False)]
        provider.key, provider.header = CURVE, {"alg": "ES256"}
        assert (await sign_in(relay, provider))[1].status == 303
        provider.key, provider.header = KEY, {"alg": "RS256"}
        provider.keys = [KEY.as_dict(private=False)]
        assert (await sign_in(relay, provider))[1].status == 502
        clock.forward(seconds=61)
        provider.claims = {"exp": int(time.time()) + 600}
        assert (await sign_in(relay, provider))[1].status == 303


async def test_a_sign_in_takes_at_most_ten_minutes(provider: Provider, tmp_path: Path) -> None:
    clock = MovableClock()
    async with running_relay(tmp_path, clock=clock, **oidc(provider.url)) as relay:
        visitor, asked = await begun(relay)
        clock.forward(minutes=10, seconds=1)
        got = await visitor.get(f"/login/oidc/callback?code=c&state={asked['state']}")
        assert (got.status, provider.asked) == (400, [])


async def test_another_claim_and_a_provider_that_wants_the_secret_in_the_form(
    provider: Provider, tmp_path: Path
) -> None:
    provider.metadata = {
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "authorization_response_iss_parameter_supported": True,
    }
    provider.claims = {"preferred_username": "Anna", "email_verified": ...}
    more = {"RELAY_CONSOLE_OIDC_CLAIM": "preferred_username"}
    async with running_relay(tmp_path, **oidc(provider.url, **more)) as relay:
        await invited(await signed_in(relay), "anna")
        assert (await sign_in(relay, provider))[1].status == 502  # without iss
        visitor, asked = await begun(relay)
        provider.nonce = asked["nonce"]
        query = urlencode({"code": "c", "state": asked["state"], "iss": provider.url})
        assert (await visitor.get(f"/login/oidc/callback?{query}")).status == 303
        assert (provider.asked[-1]["client_secret"], provider.asked[-1]["authorization"]) == (
            SECRET,
            "",
        )


async def test_from_one_address_few_sign_ins_are_tried(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "relay.console.sign_in_page.BETWEEN_OIDC_TRIES", 3600.0
    )  # however long each takes
    async with running_relay(tmp_path, **oidc(provider.url)) as relay:
        found = [(await Visitor(relay).get("/login/oidc")).status for _ in range(21)]
        assert (set(found[:20]), found[20]) == ({303}, 429)


async def test_without_a_provider_there_is_no_such_page(tmp_path: Path) -> None:
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        for path in ("/login/oidc", "/login/oidc/callback"):
            assert (await Visitor(relay).get(path)).status == 404
        assert "/login/oidc" not in (await Visitor(relay).get("/login")).text


@pytest.mark.parametrize(
    "name",
    [
        "RELAY_PUBLIC_URL",
        "RELAY_CONSOLE_OIDC_ISSUER",
        "RELAY_CONSOLE_OIDC_CLIENT_ID",
        "RELAY_CONSOLE_OIDC_CLIENT_SECRET",
    ],
)
async def test_a_setting_that_is_missing_is_named_at_the_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotReady, match=f"{name} is not set; sign-in by OpenID Connect needs it"):
        async with running_relay(tmp_path, **(oidc("https://login.example.com") | {name: ""})):
            pass


async def test_a_package_that_is_missing_is_named_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "joserfc", None)  # as Python knows one that can't be imported
    with pytest.raises(NotReady, match=r"pip install 'smartsupp-relay\[oidc\]'"):
        async with running_relay(tmp_path, **oidc("https://login.example.com")):
            pass
