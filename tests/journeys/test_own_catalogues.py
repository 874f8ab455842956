"""Translation files of one's own are written, broken and fixed while the relay runs."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.languages import language_called
from tests.builders import a_hook
from tests.journeys.test_reload import rules_state
from tests.running import RULES, RunningRelay, running_relay
from tests.servers import HttpServer, SmtpServer

pytestmark = pytest.mark.long

HEADING = (
    'msgid "Missed chat: {who}"\nmsgstr "%s: {who}"\n\nmsgid "Pages visited"\nmsgstr "Besucht"\n'
)
IN_FRENCH = RULES.replace("rate: unlimited}", "rate: unlimited, language: fr}")


@pytest.fixture
async def receiving_servers() -> AsyncIterator[tuple[SmtpServer, HttpServer]]:
    async with SmtpServer() as mail, HttpServer() as room:
        yield mail, room


@asynccontextmanager
async def relay_with_own_words(
    tmp_path: Path, mail: SmtpServer, room: HttpServer
) -> AsyncIterator[tuple[RunningRelay, Path]]:
    """A relay, and the folder of catalogues of one's own, which is not there yet."""
    own = tmp_path / "mine"
    own.mkdir()
    async with running_relay(
        tmp_path, smtp=mail.port, http=room.port, RELAY_TEMPLATES=str(own)
    ) as relay:
        yield relay, own / "_translations"


async def until_posted(relay: RunningRelay, room: HttpServer, words: str, first: int) -> str:
    """Posts chats, one after the other, until one is told of with these words; the test's time-out is the deadline."""
    number = first
    while True:
        assert (await relay.post(a_hook(number, missed=True, paths=PATHS))).json["deliveries"] == 2
        requests = await room.received(number)
        if words in (said := json.dumps(json.loads(requests[-1].body), ensure_ascii=False)):
            return said
        number += 1


PATHS = [{"url": "https://shop.example.com/", "title": "Home"}]


async def test_an_edited_catalogue_takes_effect_and_a_broken_one_loses_nothing(
    tmp_path: Path,
    receiving_servers: tuple[SmtpServer, HttpServer],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In what templates say, in processes that read next to nothing, and in what the relay itself packs."""
    mail, room = receiving_servers
    async with relay_with_own_words(tmp_path, mail, room) as (relay, own):
        await until_posted(relay, room, "Missed chat: ", 1)
        own.mkdir()
        catalogue = own / "en.po"
        catalogue.write_text(HEADING % "Too late", "utf-8")
        said = await until_posted(relay, room, "Too late: ", len(room.requests) + 1)
        while "Besucht" not in said:
            said = await until_posted(relay, room, "Too late: ", len(room.requests) + 1)
        catalogue.write_text(HEADING.replace('msgstr "', "msgstr ", 1) % "Never", "utf-8")
        await until_posted(relay, room, "Missed chat: ", len(room.requests) + 1)
        while (
            "en.po:2: a text begins and ends with a quotation mark" not in capsys.readouterr().err
        ):
            await relay.ask("GET", "/healthz")
        catalogue.write_text(HEADING % "Mended", "utf-8")
        await until_posted(relay, room, "Mended: ", len(room.requests) + 1)
        await relay.until("SELECT DISTINCT state FROM deliveries", ("delivered",))
    assert language_called("en").gettext("Pages visited") == "Pages visited"


async def test_a_new_language_is_taken_up_by_rules_that_are_saved_while_the_relay_runs(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    mail, room = receiving_servers
    async with relay_with_own_words(tmp_path, mail, room) as (relay, own):
        (tmp_path / "rules.yaml").write_text(IN_FRENCH, "utf-8")
        while not (state := await rules_state(relay))["problems_of_the_saved_file"]:
            pass
        assert "`relay translate fr` begins it" in str(state["problems_of_the_saved_file"])
        own.mkdir()
        (own / "fr.po").write_text(HEADING % "Chat manqué", "utf-8")
        (tmp_path / "rules.yaml").write_text(f"{IN_FRENCH}\n", "utf-8")
        while (await rules_state(relay))["problems_of_the_saved_file"]:
            pass
        await until_posted(relay, room, "Chat manqué: ", 1)


async def test_a_relay_starts_with_a_broken_catalogue_and_speaks_english_instead(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    mail, room = receiving_servers
    (tmp_path / "mine/_translations").mkdir(parents=True)
    (tmp_path / "mine/_translations/fr.po").write_text("no catalogue at all\n", "utf-8")
    async with running_relay(
        tmp_path, smtp=mail.port, http=room.port, rules=IN_FRENCH, RELAY_TEMPLATES=str(tmp_path / "mine")
    ) as relay:  # fmt: skip
        said = await until_posted(relay, room, "Missed chat: ", 1)
        assert "template broken" not in said
