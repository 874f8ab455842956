"""What the relay tells of itself: alive, ready and why not, and counts for Prometheus."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.running import RULES, TOKEN, MovableClock, RunningRelay, running_relay
from tests.servers import HttpAnswer

pytestmark = pytest.mark.usefixtures("each_store_at_length")

REFUSED = HttpAnswer(status=400, body="user_is_bad")
REVOKED = HttpAnswer(status=404, body="no_service")
ROOM_LINE = "  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}\n"


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RunningRelay]:
    async with running_relay(tmp_path) as running:
        yield running


async def metrics(relay: RunningRelay) -> dict[str, float]:
    """Every sample of `/metrics`, by its name and labels as written."""
    async with relay.client.get(f"{relay.url}/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_head_is_answered_as_get_without_the_body(relay: RunningRelay, path: str) -> None:
    """C9."""
    told = await relay.ask("GET", path)
    async with relay.client.head(f"{relay.url}{path}") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["content-type"] == told.headers["content-type"]


async def test_it_says_that_it_is_alive(relay: RunningRelay) -> None:
    async with relay.client.get(f"{relay.url}/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "alive\n")


async def test_a_fresh_relay_is_ready_and_queues_nothing(relay: RunningRelay) -> None:
    ready = await relay.ready()
    assert (ready["ready"], ready["reasons"]) == (True, [])
    assert ready["deliveries"] == {"queued": 0, "scheduled": 0, "sending": 0}
    assert ready["oldest_queued_seconds"] == 0
    assert ready["broken_destinations"] == {}
    assert ready["destinations_not_in_the_rules"] == {}
    assert ready["hooks_set_aside"] == 0
    assert ready["last_hook"] is None
    assert ready["rules"]["rules"] == 1


async def test_it_tells_when_the_last_hook_came_and_how_many_could_not_be_read(
    relay: RunningRelay,
) -> None:
    await relay.post(b"no json")
    await relay.post(a_hook())
    ready = await relay.ready()
    assert ready["hooks_set_aside"] == 1
    ((stored,),) = relay.rows("SELECT received_at FROM hooks")
    assert datetime.fromisoformat(ready["last_hook"]).timestamp() * 1000 == stored


@asynccontextmanager
async def relay_with_broken_room(tmp_path: Path) -> AsyncIterator[RunningRelay]:
    """Slack has just said that the webhook was revoked."""
    async with ReceivingServers() as ends:
        ends.at(ROOM, REVOKED)
        async with running_relay(tmp_path, **ends.settings) as relay:
            await relay.post(a_hook(missed=True))
            await relay.until("SELECT count(*) FROM gates", (1,))
            yield relay


async def test_it_tells_how_long_the_oldest_has_been_waiting(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.at(ROOM, REVOKED)
        async with running_relay(tmp_path, clock=MovableClock(), **ends.settings) as relay:
            await relay.post(a_hook(missed=True))
            await relay.until(
                "SELECT state FROM deliveries ORDER BY id", ("delivered",), ("queued",)
            )
            await relay.until("SELECT count(*) FROM gates", (1,))
            await relay.forward(queued=1, seconds=250)
            ready = await relay.ready()
    assert 250 <= ready["oldest_queued_seconds"] < 300
    assert ready["deliveries"] == {"queued": 1, "scheduled": 0, "sending": 0}


async def test_a_far_end_in_trouble_is_told_but_is_no_reason_to_refuse_hooks(
    tmp_path: Path,
) -> None:
    async with relay_with_broken_room(tmp_path) as relay:
        answer = await relay.ask("GET", "/readyz")
    assert answer.status == 200
    assert answer.json["broken_destinations"] == {
        "room": "refuses what is sent; `relay deliveries --destination room` says why"
    }


async def test_what_a_far_end_says_is_not_shown_to_everybody(tmp_path: Path) -> None:
    """C14: it may say a visitor's words or address back."""
    rules = f"alerts_to: desk\n{RULES}"
    async with ReceivingServers() as ends:
        ends.at(ROOM, HttpAnswer(status=404, body="no_service for marta@example.com: Hello"))
        async with running_relay(
            tmp_path, rules=rules, between_looks=timedelta(milliseconds=50), **ends.settings
        ) as relay:
            await relay.post(a_hook(missed=True))
            await relay.until("SELECT count(*) FROM gates WHERE reason LIKE '%marta%'", (1,))
            while not (told := (await relay.ready()))["alerts"]["open"]:
                pass
    (trouble,) = told["alerts"]["open"]
    assert (trouble["subject"], trouble["why"]) == ("room", None)
    assert not any(word in str(told) for word in ("marta", "Hello", "no_service"))


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_these_pages_are_only_read(relay: RunningRelay, path: str) -> None:
    answer = await relay.ask("POST", path)
    assert (answer.status, answer.json) == (405, {"error": "method not allowed"})


@pytest.mark.parametrize(
    "path", ["/docs", "/schema", "/openapi.json", "/hooks", "/healthz/x", "/%00"]
)
async def test_there_is_nothing_else(relay: RunningRelay, path: str) -> None:
    answer = await relay.ask("GET", path)
    assert (answer.status, answer.json) == (404, {"error": "not found"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("POST", "/metrics"),
        ("GET", "/nothing"),
        ("POST", "/hooks/smartsupp/guess"),
        ("GET", f"/hooks/smartsupp/{TOKEN}"),
        ("POST", f"/hooks/smartsupp/{TOKEN}"),
    ],
)
@pytest.mark.long
async def test_no_answer_is_guessed_at_or_kept_and_none_names_its_program(
    relay: RunningRelay, method: str, path: str
) -> None:
    """AU-24."""
    answer = await relay.ask(method, path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


async def test_hooks_are_counted_by_their_answer(relay: RunningRelay) -> None:
    await relay.post(a_hook(1))
    await relay.post(a_hook(1))
    await relay.post(a_hook(2))
    await relay.post(b"no json")
    await relay.ask("GET", relay.hook_url)
    counts = await metrics(relay)
    answers = {
        name: count for name, count in counts.items() if name.startswith("relay_hooks_total")
    }
    assert answers == {
        'relay_hooks_total{status="200"}': 1,
        'relay_hooks_total{status="202"}': 2,
        'relay_hooks_total{status="400"}': 1,
        'relay_hooks_total{status="405"}': 1,
    }
    assert counts["relay_hooks_set_aside"] == 1
    ((last,),) = relay.rows("SELECT max(received_at) FROM hooks")
    assert counts["relay_last_hook_timestamp_seconds"] == last / 1000


async def test_hooks_of_another_shape_and_those_that_no_rule_asks_for_are_counted(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    """IN-18, CF-08: so that somebody notices when Smartsupp changes what it sends."""
    for hook in (a_hook(1, missed=True), a_hook(2), b'{"channel": {"id": 3, "isMissed": "Marta"}}'):
        await relay.post(hook)
        await relay.post(hook)  # which is no news
    counts = await metrics(relay)
    assert counts["relay_hooks_odd_total"] == 1
    assert counts["relay_hooks_unmatched_total"] == 2
    assert counts["relay_hooks_rules_failed_total"] == 0
    odd = "chat unknown/3 is not as Smartsupp documents in 1 places; `relay explain` says which"
    assert caplog.messages.count(odd) == 1
    assert "Marta" not in caplog.text


async def test_attempts_and_what_became_of_them_are_counted_by_destination(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.at(ROOM, HttpAnswer(), REFUSED, REVOKED)
        async with running_relay(tmp_path, **ends.settings) as relay:
            for number in (1, 2, 3):
                await relay.post(a_hook(number, missed=True))
                await ends.posted(ROOM, number)
            await relay.until("SELECT count(*) FROM gates", (1,))
            await ends.mail.received(3)
            await relay.until("SELECT count(*) FROM attempts WHERE ended_at IS NULL", (0,))
            counts = await metrics(relay)
    assert counts['relay_attempts_total{destination="desk",ending="delivered"}'] == 3
    for ending in ("delivered", "refused", "destination broken"):
        assert counts[f'relay_attempts_total{{destination="room",ending="{ending}"}}'] == 1
    assert counts['relay_deliveries_queued{destination="room"}'] == 1
    assert counts['relay_deliveries_queued{destination="desk"}'] == 0
    assert counts['relay_deliveries_troubled{state="failed"}'] == 1
    assert counts['relay_destination_broken{destination="room"}'] == 1
    assert counts['relay_destination_broken{destination="desk"}'] == 0


async def test_a_broken_destination_that_left_the_rules_is_no_longer_counted(
    tmp_path: Path,
) -> None:
    async with relay_with_broken_room(tmp_path) as relay:
        before = await metrics(relay)
        without_room = RULES.replace("send_to: [desk, room]", "send_to: desk").replace(
            ROOM_LINE, ""
        )
        (tmp_path / "rules.yaml").write_text(without_room, encoding="utf-8")
        while "room" in (await relay.ready())["destinations"]:
            pass
        after = await metrics(relay)
    assert before['relay_destination_broken{destination="room"}'] == 1
    assert 'relay_destination_broken{destination="room"}' not in after


async def test_no_label_comes_from_a_chat(tmp_path: Path) -> None:
    async with ReceivingServers() as ends, running_relay(tmp_path, **ends.settings) as relay:
        await relay.post(a_hook(4711, missed=True))
        await ends.mail.received(1)
        await relay.ask("POST", "/hooks/smartsupp/somebody-guesses", data=b"{}")
        samples = " ".join(await metrics(relay))
    assert set(re.findall(r'(\w+)="', samples)) <= {"status", "destination", "ending", "state"}
    for word in ("Marta", "marta@example.com", "4711", "192.0.2.17", "somebody-guesses"):
        assert word not in samples
