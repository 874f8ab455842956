"""`relay post`: a chat to a running relay, as Smartsupp would send it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.cli.running import relay
from tests.running import TOKEN, RelayProcess, relay_process, rows, settings
from tests.servers import HttpAnswer, HttpServer, in_thread

WRONG = "a-wrong-token-0123456789"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("relay")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[RelayProcess]:
    with relay_process(settings(folder)) as process:
        yield process


def here(running: RelayProcess, **more: str) -> dict[str, str]:
    """The settings of the running relay, as somebody beside it has them."""
    return {
        "RELAY_LISTEN": running.url.removeprefix("http://"),
        "RELAY_HOOK_TOKENS": TOKEN,
        **more,
    }


def test_a_chat_is_posted_where_the_settings_say(
    running: RelayProcess, tmp_path: Path, folder: Path
) -> None:
    file = tmp_path / "chat.json"
    file.write_bytes(a_hook(101))
    ran = relay("post", str(file), variables=here(running))
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f'{file}: 202 {{"chat":"208/101","deliveries":0}}\n'
    assert rows(folder / "relay.db", "SELECT count(*) FROM chats WHERE chat = '101'") == [(1,)]


def test_several_chats_are_each_told_of(running: RelayProcess, tmp_path: Path) -> None:
    for number in (201, 202):
        (tmp_path / f"{number}.json").write_bytes(a_hook(number))
    files = [str(tmp_path / f"{number}.json") for number in (201, 202, 201)]
    ran = relay("post", *files, variables=here(running))
    assert [line.split(": ")[1][:3] for line in ran.out.splitlines()] == ["202", "202", "200"]
    assert ran.status == 0


def test_standard_input_is_a_chat_too(running: RelayProcess) -> None:
    ran = relay("post", "-", given=a_hook(301), variables=here(running))
    assert ran.status == 0
    assert json.loads(ran.out.split(" ", 2)[2]) == {"chat": "208/301", "deliveries": 0}


def test_a_url_of_its_own_goes_before_the_settings(running: RelayProcess) -> None:
    ran = relay("post", "--url", running.hook_url, "-", given=a_hook(302))
    assert (ran.status, ran.err) == (0, "")


def test_a_token_that_the_relay_made_is_found_beside_its_database(
    running: RelayProcess, tmp_path: Path
) -> None:
    (tmp_path / "relay.db.token").write_text(f"{TOKEN}\n")
    variables = here(running, RELAY_DATABASE=f"sqlite:///{tmp_path}/relay.db")
    del variables["RELAY_HOOK_TOKENS"]
    assert relay("post", "-", given=a_hook(303), variables=variables).status == 0


def test_what_the_relay_refuses_is_told_on_stderr_with_status_1(
    running: RelayProcess, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(a_hook(401))
    bad.write_bytes(b"[]")
    ran = relay("post", str(bad), str(good), variables=here(running))
    assert ran.status == 1
    assert ran.out.startswith(f"{good}: 202 ")
    assert ran.err.startswith(f'{bad}: 400 {{"error":"expected a JSON object, got a list')


def test_a_wrong_token_is_refused_and_not_shown(running: RelayProcess) -> None:
    ran = relay("post", "-", given=a_hook(), variables=here(running, RELAY_HOOK_TOKENS=WRONG))
    assert (ran.status, ran.out) == (1, "")
    first, hint = ran.err.splitlines()
    assert first == '<stdin>: 404 {"error":"not found"}'
    assert "does not know this token" in hint
    assert WRONG not in ran.err


def test_nobody_there_is_said_with_status_2_and_without_the_token() -> None:
    variables = {"RELAY_LISTEN": "127.0.0.1:9", "RELAY_HOOK_TOKENS": TOKEN}
    ran = relay("post", "-", given=a_hook(), variables=variables)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        "the relay at 127.0.0.1 could not be reached: nothing listens on this port (127.0.0.1 port 9); is `relay serve` running?\n"
    )
    assert TOKEN not in ran.err


def test_without_any_token_it_says_what_to_give(tmp_path: Path) -> None:
    ran = relay("post", "-", variables={"RELAY_DATABASE": f"sqlite:///{tmp_path}/relay.db"})
    assert (ran.status, ran.out) == (2, "")
    assert "no token: RELAY_HOOK_TOKENS is not set" in ran.err
    assert "--url" in ran.err


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["missing.json"], {}, "missing.json"),
        (["--url", "ftp://relay/x", "-"], {}, "the hook's address is not a web address"),
        (["-"], {"RELAY_LISTEN": "8000"}, "RELAY_LISTEN: '8000' is not an address to listen on"),
    ],
)
def test_what_can_not_be_done_ends_with_status_2(
    arguments: list[str], variables: dict[str, str], words: str
) -> None:
    ran = relay("post", *arguments, variables=variables)
    assert (ran.status, ran.out) == (2, "")
    assert words in ran.err
    assert "Traceback" not in ran.err


# -- whatever answers there ------------------------------------------------------------------------------------

PAGE = b"<html><title>Log in</title></html>"


@pytest.fixture
def elsewhere() -> Iterator[HttpServer]:
    with in_thread(HttpServer()) as server:
        yield server


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HttpAnswer(status=200, body=PAGE), "200 this is not an answer of the relay: a web page"),
        (HttpAnswer(status=200, body=b"ok"), "200 this is not an answer of the relay: ok"),
        (
            HttpAnswer(status=202, body=b"[" * 200_000),
            "202 this is not an answer of the relay: [[[",
        ),
        (HttpAnswer(status=202, body=b""), "202 this is not an answer of the relay: nothing"),
        (HttpAnswer(status=404, body=PAGE), "404 this is not an answer of the relay: a web page"),
        (HttpAnswer(status=502, body=PAGE), "502 this is not an answer of the relay: a web page"),
        (HttpAnswer(status=500, body=b'{"error": "\\u001b[2J"}'), '500 {"error": "\\u001b'),
    ],
)
def test_an_answer_of_something_else_is_told_in_one_sentence(
    elsewhere: HttpServer, answer: HttpAnswer, words: str
) -> None:
    elsewhere.steps.append(answer)
    ran = relay("post", "--url", elsewhere.url(f"/hooks/smartsupp/{TOKEN}"), "-", given=a_hook())
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(f"<stdin>: {words}")
    assert len(ran.err.splitlines()) == 1
    assert "\x1b" not in ran.err


@pytest.mark.parametrize("words", ['{"error": "no %s"}', "Cannot POST %s", '{"detail": "%s"}'])
def test_a_token_that_comes_back_is_not_shown(elsewhere: HttpServer, words: str) -> None:
    elsewhere.steps.append(HttpAnswer(status=404, body=(words % f"/in/{TOKEN}").encode()))
    ran = relay("post", "--url", elsewhere.url(f"/in/{TOKEN}/"), "-", given=a_hook())
    assert ran.status == 1
    assert TOKEN not in ran.out + ran.err


def test_a_redirect_is_not_followed(elsewhere: HttpServer) -> None:
    target = elsewhere.url("/elsewhere")
    elsewhere.steps.append(HttpAnswer(status=307, headers={"Location": target}))
    ran = relay("post", "--url", elsewhere.url(f"/hooks/smartsupp/{TOKEN}/"), "-", given=a_hook())
    assert (ran.status, ran.out) == (2, "")
    assert "answered 307, a redirect to another address; those are never followed" in ran.err
    assert TOKEN not in ran.err
    assert len(elsewhere.requests) == 1


def test_a_proxy_of_the_environment_is_asked_nothing(elsewhere: HttpServer) -> None:
    proxy = elsewhere.url().rstrip("/")
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    url = f"http://localhost:9/hooks/smartsupp/{TOKEN}"
    ran = relay("post", "--url", url, "-", given=a_hook(), variables=dict.fromkeys(names, proxy))
    assert ran.status == 2
    assert elsewhere.requests == []
