"""Who comes in, and who does not."""

import pytest

from relay.console.sign_in_page import HOME, safe_next
from tests.console.test_roles import TABLE, filled_in
from tests.console.visiting import PASSWORD, Visitor, signed_in
from tests.running import RunningRelay

in_one_loop = pytest.mark.asyncio(loop_scope="module")


@in_one_loop
async def test_the_console_asks_for_a_password_and_goes_on_where_one_wanted_to_go(
    relay: RunningRelay,
) -> None:
    visitor = Visitor(relay)
    assert (await visitor.get("/")).place == "/login"
    asked = await visitor.get("/health?x=1")
    assert (asked.status, asked.place) == (303, "/login?next=/health%3Fx%3D1")
    form = await visitor.get(asked.place)
    assert 'name="next" value="/health?x=1"' in form.text
    came_in = await visitor.sign_in(next="/health?x=1")
    assert (came_in.status, came_in.place) == (303, "/health?x=1")
    assert (await visitor.get("/health")).status == 200
    assert (await visitor.get("/login")).place == HOME


@in_one_loop
async def test_the_cookie_is_for_this_host_alone_and_the_database_does_not_hold_it(
    relay: RunningRelay,
) -> None:
    visitor = Visitor(relay)
    cookie = (await visitor.sign_in()).headers["set-cookie"]
    for part in ("__Host-relay=", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"):
        assert part in cookie
    assert len(visitor.cookie) >= 43  # 256 bits
    (kept,) = relay.rows("SELECT hash FROM sessions ORDER BY id DESC LIMIT 1")
    assert visitor.cookie.encode() not in kept[0]
    (row,) = relay.rows("SELECT password FROM users")
    assert row[0].startswith("$argon2id$")
    assert PASSWORD not in row[0]


@in_one_loop
async def test_a_cookie_that_was_planted_before_the_sign_in_is_worth_nothing_after_it(
    relay: RunningRelay,
) -> None:
    visitor = Visitor(relay, cookie="planted-by-somebody-else-0123456789012345")
    await visitor.sign_in()
    assert visitor.cookie != "planted-by-somebody-else-0123456789012345"
    planted = Visitor(relay, cookie="planted-by-somebody-else-0123456789012345")
    assert (await planted.get("/health")).status == 303


@in_one_loop
async def test_the_session_before_ends_when_somebody_signs_in_again(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    again = await visitor.submit("/login", name="admin", password=PASSWORD)
    assert again.status == 303
    assert (await visitor.get("/health")).status == 303


@in_one_loop
async def test_who_signs_out_is_out_and_leaves_nothing_in_the_browser(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    got = await visitor.submit("/logout")
    assert (got.status, got.place) == (303, "/login")
    assert got.headers["clear-site-data"] == '"cache", "storage"'
    assert "Max-Age=0" in got.headers["set-cookie"]
    assert (await visitor.get("/health")).status == 303


@in_one_loop
async def test_a_part_of_a_page_never_gets_the_form_to_sign_in(relay: RunningRelay) -> None:
    got = await Visitor(relay).get("/chats", **{"hx-request": "true"})
    assert (got.status, got.text, got.headers["hx-redirect"]) == (401, "", "/login")


@in_one_loop
@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://relay.example.com/rules/edit?chat=7", "/login?next=/rules/edit%3Fchat%3D7"),
        ("https://relay.example.com//evil.example/", "/login"),
        ("http://[", "/login"),
    ],
)
async def test_a_part_of_a_page_leads_back_to_that_page(
    relay: RunningRelay, url: str, place: str
) -> None:
    headers = {"hx-request": "true", "hx-current-url": url, "sec-fetch-site": "same-origin"}
    got = await Visitor(relay).post("/rules/check", headers)
    assert (got.status, got.headers["hx-redirect"]) == (401, place)


@in_one_loop
async def test_who_signed_in_and_who_failed_is_written_down_without_a_password(
    relay: RunningRelay,
) -> None:
    relay.change("DELETE FROM acts")
    visitor = Visitor(relay)
    assert (await visitor.sign_in(password="wrong, wrong")).status == 422
    assert (await visitor.sign_in(name="nobody@example.com", password="x")).status == 422
    await visitor.sign_in()
    await visitor.submit("/logout")
    rows = relay.rows("SELECT by, act, detail, address FROM acts ORDER BY id")
    assert rows == [
        ("admin", "sign in", "failed", "127.0.0.1"),
        ("", "sign in", "failed", "127.0.0.1"),
        ("admin", "sign in", "", "127.0.0.1"),
        ("admin", "sign out", "", "127.0.0.1"),
    ]


def test_the_sign_in_leads_back_to_each_page() -> None:
    pages = {path for path, method in TABLE if method == "GET" and not path.startswith("/api/")}
    of_strangers = {"/", "/login", "/login/{secret:str}", "/login/oidc", "/login/oidc/callback"}
    parts = {"/status"}  # of other pages
    others = pages - of_strangers - parts
    lost = {path for path in others if safe_next(filled_in(path)) == HOME != path}
    assert lost == set()


@pytest.mark.parametrize("asked", ["/health", "/health?x=1&y=%20"])
def test_after_the_sign_in_one_gets_where_one_wanted(asked: str) -> None:
    assert safe_next(asked) == asked


@pytest.mark.parametrize(
    "asked",
    [
        *("", "/", "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example"),
        *("/health//evil", "/health@evil.example", "/health/../../evil", "javascript:alert(1)"),
        *("/health\r\nset-cookie: a=b", "/health\n", "/%2f/evil.example", "/%5cevil.example"),
        *(
            "/login",
            "/logout",
            "/static/console.css",
            "/hooks/smartsupp/x",
            " /health",
            "/health ?",
        ),
        *("/health#x", "/health?next=<script>", "https:/health", "/héalth", "/health\t", "health"),
    ],
)
def test_after_the_sign_in_nobody_is_led_elsewhere(asked: str) -> None:
    assert safe_next(asked) == HOME
