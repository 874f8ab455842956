"""The OpenAPI document: it is the code's, and the relay answers as it says whatever is asked."""

import asyncio
import json
import re
import shlex
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from relay.console.json_api import SUBJECTS, api_document
from tests.console.test_chats import post
from tests.console.visiting import PASSWORD, Program, a_program
from tests.running import RunningRelay, running_relay

DOCS = Path(__file__).parents[2] / "docs"
in_one_loop = pytest.mark.asyncio(loop_scope="module")
beside_a_relay = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strat")
"""The relay in the other thread takes random numbers while hypothesis makes an example, which takes them for its own."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def program(relay: RunningRelay) -> Program:
    return await a_program(relay)


def explore(program: Program, examples: int) -> int:
    """Ask each operation so often with what the document allows, and with what it does not; count the answers."""
    document = schemathesis.openapi.from_dict(without_bounds_of_bodies(json.loads(api_document())))
    session, asked = requests.Session(), 0
    given_headers = {"Authorization": f"Bearer {program.token}"}

    def ask(case: Any) -> None:
        nonlocal asked
        answer = case.call(
            base_url=f"{program.relay.url}/api/v1", headers=given_headers, session=session
        )
        # A cursor is a text, and still not every text is one.
        checks = [positive_data_acceptance]
        # Refusals of the document that schemathesis does not know: of a long body, and of a Host header that it made up.
        if answer.status_code in {
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.MISDIRECTED_REQUEST,
        }:
            checks.append(negative_data_rejection)
        case.validate_response(answer, excluded_checks=checks)
        asked += 1

    operations: list[APIOperation[Any, Any, Any, Any]] = [
        found.ok()  # type: ignore[union-attr]
        for found in document.get_all_operations()
    ]
    # Last what may end the token that asks.
    for operation in sorted(operations, key=lambda one: (one.method == "delete", one.path)):
        is_asked_anything = bool({"parameters", "requestBody"} & operation.definition.raw.keys())
        for mode in GenerationMode if is_asked_anything else [GenerationMode.POSITIVE]:
            cases = operation.as_strategy(generation_mode=mode)
            count = examples if is_asked_anything else 1
            often = settings(max_examples=count, suppress_health_check=list(HealthCheck))
            often(given(case=cases)(ask))()
    session.close()
    return asked


def without_bounds_of_bodies(document: Any) -> Any:
    """The document without bounds on texts as long as a body may be: beyond them the server closes the connection while it is written to."""
    if isinstance(document, list):
        return [without_bounds_of_bodies(each) for each in document]
    if not isinstance(document, dict):
        return document
    return {
        name: without_bounds_of_bodies(value)
        for name, value in document.items()
        if name != "maxLength" or value < 10_000
    }


async def explored(folder: Path, examples: int) -> int:
    """A relay of its own: the calls end tokens and remove users."""
    async with running_relay(folder, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        await post(relay, missed=True)
        await post(relay, rating=1)
        return await asyncio.to_thread(explore, await a_program(relay), examples)


@beside_a_relay
async def test_the_relay_answers_as_its_document_says(tmp_path: Path) -> None:
    assert await explored(tmp_path, 1) > 40


@beside_a_relay
@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("each_store")
async def test_the_relay_answers_as_its_document_says_for_long(
    tmp_path: Path, is_long: bool
) -> None:
    assert await explored(tmp_path, 200 if is_long else 4) > 150


def test_every_field_and_parameter_is_described() -> None:
    document = json.loads(api_document())
    described = {
        (name, field): about.get("description")
        for name, schema in document["components"]["schemas"].items()
        for field, about in schema.get("properties", {}).items()
    }
    described |= {
        (each["operationId"], one["name"]): one.get("description")
        for methods in document["paths"].values()
        for each in methods.values()
        for one in each.get("parameters", ())
    }
    assert len(described) > 400
    assert [place for place, words in described.items() if not words or "None" in words] == []


CHANGES_NOTHING = {
    *("begin_backtest", "begin_mute_trial", "begin_word_search", "check_rules", "export_chat"),
    "merge_rules",
    *("preview_template", "preview_wording", "show_hook_url", "test_rules", "try_rules"),
    "write_rule",
}
"""By POST, since a text is sent, or something is told that the log of acts has."""


def test_a_request_that_acts_can_be_sent_again() -> None:
    for each in (one for subject in SUBJECTS for one in subject.all):
        if each.method == "POST" and each.name not in CHANGES_NOTHING:
            assert each.once or each.if_match, each.name
        if each.method == "PUT":
            assert each.if_match, each.name


@in_one_loop
async def test_the_relay_serves_the_document(program: Program) -> None:
    got = await program.get("/openapi.json")
    assert (got.status, got.json) == (200, json.loads(api_document()))
    assert got.json["openapi"] == "3.1.0"


COMMANDS = re.findall(
    r"^```sh\n(curl .*?)^```", (DOCS / "api.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
)


def test_the_page_shows_commands() -> None:
    assert len(COMMANDS) >= 5


@in_one_loop
@pytest.mark.parametrize("command", COMMANDS)
async def test_the_commands_of_the_page_are_answered(program: Program, command: str) -> None:
    got = await as_curl(program, command)
    assert 200 <= got < 300, command


async def as_curl(program: Program, command: str) -> int:
    """The status that a command of curl gets."""
    text = command.replace("$TOKEN", program.token).replace("$RELAY", program.relay.url)
    _, *words = shlex.split(text.replace("\\\n", " "))
    method, headers, body, url = "GET", {}, b"", ""
    while words:
        match words:
            case ["-H", header, *words]:
                name, _, value = header.partition(":")
                headers[name.strip()] = value.strip()
            case ["-X", method, *words]:
                pass
            case ["-D", "-", *words]:
                pass
            case ["--json", data, *words]:
                method, body = "POST" if method == "GET" else method, data.encode()
                headers["Content-Type"] = "application/json"
            case [url, *words]:
                assert url.startswith(program.relay.url), url
    return (await program.ask(method, url.removeprefix(program.relay.url), headers, body)).status
