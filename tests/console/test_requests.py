"""What is refused before any page sees it, and what every answer carries."""

import asyncio

import pytest

from relay.console.allowed_hosts import Hosts
from relay.console.request_checks import HEADERS, POLICY
from relay.web.request_body import MAX_BODY
from tests.console.visiting import FORM, Visitor, signed_in
from tests.running import RunningRelay

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "",
        "127.0.0.1.evil.example",
        "[::1",
        "a:b",
    ],
)
async def test_a_name_that_is_not_the_relays_is_refused(relay: RunningRelay, host: str) -> None:
    for path in ("/", "/login", "/static/console.css"):
        assert (await Visitor(relay).get(path, host=host)).status == 421


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:81", "127.0.0.1:9", "[::1]:8000", "LOCALHOST"]
)
async def test_this_computers_own_names_are_known_at_each_port(
    relay: RunningRelay, host: str
) -> None:
    assert (await Visitor(relay).get("/login", host=host)).status == 200


@pytest.mark.asyncio(loop_scope="function")
@pytest.mark.parametrize(
    ("public", "host", "knows", "is_safe"),
    [
        ("https://relay.example.com", "relay.example.com", True, True),
        ("https://relay.example.com", "relay.example.com:443", True, True),
        ("https://relay.example.com", "RELAY.example.com", True, True),
        ("https://relay.example.com", "relay.example.com:8443", False, True),
        ("https://relay.example.com:8443", "relay.example.com:8443", True, True),
        ("https://relay.example.com", "relay.example.com.evil.example", False, True),
        ("http://relay.lan", "relay.lan", True, False),
        ("", "192.0.2.1:8000", True, False),
        ("", "192.0.2.2:8000", False, False),
    ],
)
async def test_the_public_url_says_which_name_is_known(
    public: str, host: str, knows: bool, is_safe: bool
) -> None:
    hosts = Hosts(public, "192.0.2.1")
    assert (hosts.knows(host), hosts.is_safe(host)) == (knows, is_safe)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://["},
        {"origin": "http://[::1"},
        {"origin": "//127.0.0.1"},
        {},
    ],
)
async def test_a_form_of_another_site_changes_nothing(
    relay: RunningRelay, headers: dict[str, str]
) -> None:
    visitor = await signed_in(relay)
    token = await visitor.token()
    got = await visitor.ask("POST", "/logout", {**FORM, **headers}, data=f"token={token}")
    assert got.status == 403
    assert (await visitor.get("/health")).status == 200
    got = await Visitor(relay).ask("POST", "/login", {**FORM, **headers}, data="name=admin")
    assert got.status == 403


async def test_a_browser_that_tells_only_its_origin_may_send_forms(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    token, origin = await visitor.token(), {"origin": relay.url}
    got = await visitor.ask("POST", "/logout", {**FORM, **origin}, data=f"token={token}")
    assert got.status == 303


@pytest.mark.parametrize("token", ["", "wrong", "é"])
async def test_a_form_without_the_sessions_token_changes_nothing(
    relay: RunningRelay, token: str
) -> None:
    visitor = await signed_in(relay)
    assert (await visitor.post("/logout", token=token)).status == 403
    other = await signed_in(relay)
    assert (await visitor.post("/logout", token=await other.token())).status == 403
    assert (await visitor.get("/health")).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "empty"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-dest": "iframe"}, 403),
        ({"sec-fetch-site": "same-origin", "sec-fetch-dest": "empty"}, 200),
        ({"sec-fetch-site": "none"}, 200),
    ],
)
async def test_another_site_may_link_here_and_no_more(
    relay: RunningRelay, headers: dict[str, str], status: int
) -> None:
    visitor = await signed_in(relay)
    assert (await visitor.get("/health", **headers)).status == status


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", "{}", 415),
        ("multipart/form-data; boundary=x", "--x--", 415),
        ("text/plain", "a=b", 415),
        (FORM["content-type"], "&".join(["a=b"] * 201), 400),
        (FORM["content-type"], b"name=\xff", 400),
        (FORM["content-type"], "name", 400),
    ],
)
async def test_what_is_no_small_form_is_refused(
    relay: RunningRelay, kind: str, body: str | bytes, status: int
) -> None:
    headers = {"content-type": kind, "sec-fetch-site": "same-origin"}
    assert (await Visitor(relay).ask("POST", "/login", headers, data=body)).status == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(relay: RunningRelay, method: str) -> None:
    assert (await Visitor(relay).ask(method, "/health")).status == 405


async def test_every_answer_carries_the_policy(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    answers = [
        await visitor.get("/health"),
        await visitor.get("/nothing"),
        await visitor.post("/logout"),
        await visitor.get("/login", host="evil.example"),
        await Visitor(relay).get("/health"),
        await Visitor(relay).get("/login"),
        await Visitor(relay).post("/login", name="x", password="y"),
    ]
    assert {one.status for one in answers} == {200, 303, 403, 404, 421, 422}
    for got in answers:
        assert {name: got.headers[name] for name in HEADERS} == HEADERS
    assert "unsafe" not in POLICY


async def test_files_are_named_by_their_contents_and_kept(relay: RunningRelay) -> None:
    page = (await Visitor(relay).get("/login")).text
    path = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    got = await Visitor(relay).get(path)
    assert got.status == 200
    assert got.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert got.headers["content-type"] == "text/css; charset=utf-8"
    assert "--ground" in got.text
    assert (await Visitor(relay).get("/static/console.css")).status == 404
    assert (await Visitor(relay).get("/static/../site.py")).status == 404


async def test_hooks_and_health_are_answered_as_without_a_console(relay: RunningRelay) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        got = await Visitor(relay).get(path, host="anything.example")
        assert got.status == 200
        assert "content-security-policy" not in got.headers
    got = await Visitor(relay).ask("POST", "/hooks/smartsupp/wrong", data="{}")
    assert (got.status, got.text) == (404, '{"error":"not found"}')
    assert (await Visitor(relay).get("/hooks/nothing")).text == '{"error":"not found"}'


async def test_a_form_that_is_too_long_is_not_read(relay: RunningRelay) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    head = [
        f"POST /login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {FORM['content-type']}",
        f"sec-fetch-site: same-origin\r\ncontent-length: {MAX_BODY + 1}\r\n\r\n",
    ]
    writer.write("\r\n".join(head).encode())
    assert (await reader.readline()).split()[1] == b"413"
    writer.close()
    await writer.wait_closed()


async def test_pages_are_in_the_language_of_the_browser(relay: RunningRelay) -> None:
    for asked, tag in (
        ("cs,en;q=0.5", "cs"),
        ("fr, de-AT;q=0.8", "de"),
        ("", "en"),
        ("xx;q=z", "en"),
    ):
        page = (await Visitor(relay).get("/login", **{"accept-language": asked})).text
        assert f'<html lang="{tag}">' in page


@pytest.mark.parametrize("number", ["9223372036854775808", "9" * 400, "9" * 5000])
async def test_numbers_that_no_database_knows_are_not_found(
    relay: RunningRelay, number: str
) -> None:
    visitor = await signed_in(relay)
    for path in ("chats", "deliveries", "set-aside", "api/v1/chats", "api/v1/deliveries"):
        assert (await visitor.get(f"/{path}/{number}")).status in {404, 422}
    for path in ("mutes", "people", "tokens", "chats"):
        for act in ("end", "remove", "role", "link", "export", "erase"):
            assert (await visitor.submit(f"/{path}/{number}/{act}")).status in {404, 405}


async def test_what_holds_nul_is_refused_and_no_database_asked(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    for name in ("q", "rule", "to", "told", "hook", "against", "name"):
        for path in ("/chats", "/rule", "/deliveries", "/rules/versions", "/mutes", "/acts"):
            assert (await visitor.get(f"{path}?{name}=a%00b")).status == 400
    for path in ("/rules/versions/a%00b", "/jobs/%00", "/deliveries/failed/%00"):
        assert (await visitor.get(path)).status == 404
    form = f"token={await visitor.token()}&key=a"
    for field in ("text=%00", "base=%00", "key=%00", "a%00=b", "text=\0"):
        for path in ("/rules/draft", "/rules/edit", "/destinations/pause", "/people", "/login"):
            here = {"sec-fetch-site": "same-origin", **FORM}
            got = await visitor.ask("POST", path, here, data=f"{form}&{field}")
            assert got.status == 400
    assert (await visitor.submit("/rules/draft", text="%00", base="")).status in {200, 201}
