"""What people do in the console: done once, at once, and written down."""

from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.console.visiting import PASSWORD, Visitor, signed_in
from tests.running import RunningRelay, running_relay
from tests.servers import SmtpServer

in_one_loop = pytest.mark.asyncio(loop_scope="module")
ACTS = "SELECT by, act, subject, detail FROM acts WHERE act NOT LIKE 'sign%' ORDER BY id"


@pytest.mark.usefixtures("each_store")
async def test_a_delivery_is_sent_again_once_however_often_the_form_is_sent(tmp_path: Path) -> None:
    async with (
        SmtpServer().at("rcpt", "550 5.1.1 user unknown") as mail,
        running_relay(tmp_path, smtp=mail.port, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay,
    ):
        await relay.post(a_hook(1, missed=True))
        await relay.until("SELECT state FROM deliveries WHERE destination = 'desk'", ("failed",))
        ((number,),) = relay.rows("SELECT id FROM deliveries WHERE destination = 'desk'")
        visitor, path = await signed_in(relay), f"/deliveries/{number}"
        assert "Send again" in (await visitor.get(path)).text
        for _ in range(3):
            got = await visitor.submit(f"{path}/resend", key="one-and-the-same")
            assert (got.status, got.place) == (303, path)
        await relay.until(f"SELECT state FROM deliveries WHERE id = {number}", ("delivered",))  # noqa: S608 - a number
        assert len(mail.mails) == 1
        assert relay.rows(ACTS) == [("admin", "send again", str(number), "desk")]
        await visitor.submit(f"{path}/resend", key="another")
        await relay.until(f"SELECT generation FROM deliveries WHERE id = {number}", (3,))  # noqa: S608 - a number


@in_one_loop
async def test_a_destination_is_paused_and_resumed(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    relay.change("DELETE FROM acts")
    form = {"destination": "desk", "until": "open", "because": "we <move>"}
    assert (await visitor.submit("/destinations/pause", key="p", **form)).status == 303
    assert relay.rows("SELECT paused_by, because FROM gates") == [("admin", "we <move>")]
    await until_it_says(visitor, "/destinations", "admin: we &lt;move&gt;")
    assert (await visitor.submit("/destinations/resume", key="r", destination="desk")).status == 303
    assert relay.rows("SELECT paused_by FROM gates WHERE paused_by <> ''") == []
    assert relay.rows(ACTS) == [("admin", "pause", "desk", ""), ("admin", "resume", "desk", "")]


@in_one_loop
async def test_a_mute_is_made_and_ended(relay: RunningRelay) -> None:
    visitor = await signed_in(relay, "editor")
    relay.change("DELETE FROM acts")
    form = {"rule": "Missed chats", "destination": "", "until": "4h", "because": "stocktaking"}
    for _ in range(2):
        assert (await visitor.submit("/mutes", key="m", then="digest", **form)).status == 303
    page = (await visitor.get("/mutes")).text
    assert "1 mute holds notifications back" in page
    assert "stocktaking" in page
    ((number, by, origin),) = relay.rows("SELECT id, by, origin FROM mutes")
    assert (by, origin) == ("admin", "console")
    assert (await visitor.submit(f"/mutes/{number}/end", key="e")).status == 303
    assert "Nothing is muted." in (await visitor.get("/mutes")).text
    expected = [("admin", "mute", "Missed chats", ""), ("admin", "unmute", str(number), "")]
    assert relay.rows(ACTS) == expected


@in_one_loop
@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/destinations/pause", {"destination": "nowhere", "until": "1h", "because": "x"}),
        ("/destinations/pause", {"destination": "desk", "until": "never", "because": "x"}),
        ("/destinations/pause", {"destination": "desk", "until": "1h", "because": " "}),
        ("/destinations/resume", {"destination": "nowhere"}),
        ("/mutes", {"rule": "", "destination": "", "until": "1h", "because": "x"}),
        ("/mutes", {"rule": "No such", "until": "1h", "because": "x"}),
        ("/mutes", {"rule": "Missed chats", "until": "open", "because": "x"}),
        ("/mutes", {"rule": "Missed chats", "until": "1h", "because": ""}),
    ],
)
async def test_a_form_that_nobody_was_given_changes_nothing(
    relay: RunningRelay, path: str, form: dict[str, str]
) -> None:
    visitor = await signed_in(relay)
    relay.change("DELETE FROM acts")
    assert (await visitor.submit(path, **form)).status == 400
    assert relay.rows(ACTS) == []


@in_one_loop
async def test_a_viewer_is_shown_no_act(relay: RunningRelay) -> None:
    visitor = await signed_in(relay, "viewer")
    for path in ("/destinations", "/mutes"):
        forms = (await visitor.get(path)).text.count("<form")
        assert forms == 1, path  # to sign out


async def until_it_says(visitor: Visitor, path: str, words: str) -> None:
    """The relay sees what was written within two seconds."""
    while words not in (await visitor.get(path)).text:
        await visitor.get("/healthz")
