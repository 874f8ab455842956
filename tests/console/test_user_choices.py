"""How a user wants pages: colours, language and zone, sent with the page itself, and keys in Chromium."""

import re
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from relay.console.page import Moments, language_called
from relay.outbox.user_choices import Choices, read_choices
from tests.builders import a_hook
from tests.console.visiting import Visitor, signed_in
from tests.running import RunningRelay

in_one_loop = pytest.mark.asyncio(loop_scope="module")


@in_one_loop
async def test_choices_hold_on_each_page_at_once(relay: RunningRelay) -> None:
    visitor = await signed_in(relay, "viewer")
    form = {"theme": "dark", "language": "cs", "zone": "Pacific/Auckland"}
    assert (await visitor.submit("/me/choices", **form)).place == "/me?chosen=1"
    last = 253_402_300_799_999  # of the calendar in UTC; over there it is in no year any more
    await relay.post(a_hook(1, missed=True, beginAt=last, endAt=last))
    ((chat,),) = relay.rows("SELECT id FROM chats WHERE chat = '1'")
    for path in (f"/chats/{chat}", "/chats"):
        assert (await visitor.get(path)).status == 200
    page = (await visitor.get("/health", **{"accept-language": "de"})).text
    assert '<html lang="cs" data-keys="off">' in page
    assert '<meta name="color-scheme" content="dark">' in page
    assert "Pacific/Auckland" in page
    (style,) = re.findall(r'href="(/static/dark-console-\w+\.css)"', page)
    text = (await visitor.get(style)).text
    assert "prefers-color-scheme" not in text
    assert "color-scheme: dark" in text
    again = Visitor(relay)
    await again.sign_in()
    assert 'lang="cs"' in (await again.get("/me")).text
    await again.submit("/me/choices", theme="", language="", zone="", keys="on")
    page = (await again.get("/health", **{"accept-language": "de"})).text
    assert '<html lang="de">' in page
    assert 'content="light dark"' in page


@in_one_loop
@pytest.mark.parametrize(
    "form",
    [
        {"zone": "Europe/Nowhere"},
        {"zone": "../etc/passwd"},
        {"zone": "/etc/localtime"},
        {"theme": "pink"},
        {"language": "fr"},
        {"language": "../cs"},
    ],
)
async def test_what_is_no_choice_is_refused(relay: RunningRelay, form: dict[str, str]) -> None:
    visitor = await signed_in(relay)
    got = await visitor.submit("/me/choices", keys="on", **form)
    assert (got.status, "There is no such time zone" in got.text) == (422, True)
    assert relay.rows("SELECT count(*) FROM users WHERE choices LIKE '%etc%'") == [(0,)]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("{}", Choices()),
        ('{"theme":"dark"}', Choices(theme="dark")),
        ('{"theme":"pink","keys":false}', Choices(keys=False)),
        ("[]", Choices()),
        ("", Choices()),
        ('{"of a later version":1}', Choices()),
    ],
)
def test_choices_of_another_version_keep_nobody_out(text: str, read: Choices) -> None:
    assert read_choices(text) == read


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2026-10-24T21:59", "Yesterday, Saturday 24 October"),
        ("2026-10-24T22:00", "Today, Sunday 25 October"),  # of 25 hours
        ("2026-10-25T22:59", "Today, Sunday 25 October"),
        ("2026-10-25T23:00", "Monday 26 October"),
    ],
)
def test_a_day_ends_where_the_zone_ends_it(at: str, day: str) -> None:
    prague, now = ZoneInfo("Europe/Prague"), datetime(2026, 10, 25, 12, tzinfo=UTC)
    moments = Moments(language_called("en"), prague, now)
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert moments.day_name(moments.day_of(moment)) == day


@pytest.mark.parametrize(
    ("tag", "days"),
    [
        ("en", ("Friday 20 November", "Thursday 20 November 2025")),
        ("cs", ("pátek 20. listopadu", "čtvrtek 20. listopadu 2025")),
        ("de", ("Freitag, 20. November", "Donnerstag, 20. November 2025")),
        ("es", ("viernes, 20 de noviembre", "jueves, 20 de noviembre de 2025")),
    ],
)
def test_a_day_is_written_as_its_language_writes_it(tag: str, days: tuple[str, str]) -> None:
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    moments = Moments(language_called(tag), ZoneInfo("Europe/Prague"), now)
    assert (moments.day_name(date(2026, 11, 20)), moments.day_name(date(2025, 11, 20))) == days
