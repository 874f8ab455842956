"""The front door, over real HTTP: every row of the status table, and nothing lost."""

import asyncio
import gzip
import json
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings

from relay.web.app import Deadlines
from relay.web.hook import WRONG_TOKENS_AT_ONCE
from relay.web.request_body import MAX_BODY
from tests.builders import a_hook
from tests.running import TOKEN, RunningRelay, running_relay
from tests.servers import HttpServer, SmtpServer
from tests.test_smartsupp import mutated_hooks

pytestmark = pytest.mark.usefixtures("each_store_at_length")


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RunningRelay]:
    async with running_relay(tmp_path) as running:
        yield running


async def talk(relay: RunningRelay, sent: bytes, *, until_closed: bool = True) -> bytes:
    """What comes back for these very bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(sent)
    await writer.drain()
    answer = await reader.read() if until_closed else await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return answer


def head(relay: RunningRelay, *headers: str) -> bytes:
    path = relay.hook_url.removeprefix(relay.url)
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: relay", *headers, "", ""]).encode()


async def test_a_new_chat_is_answered_202_with_its_name_and_what_is_queued(tmp_path: Path) -> None:
    async with (
        SmtpServer() as mail,
        HttpServer() as room,
        running_relay(tmp_path, smtp=mail.port, http=room.port) as relay,
    ):
        answer = await relay.post(a_hook(7, missed=True))
        assert (answer.status, answer.json) == (202, {"chat": "208/7", "deliveries": 2})
        await mail.received(1)
        await room.received(1)


async def test_the_same_hook_again_is_answered_200_and_queues_nothing(relay: RunningRelay) -> None:
    await relay.post(a_hook(7, missed=True))
    again = await relay.post(a_hook(7, missed=True))
    assert (again.status, again.json) == (200, {"chat": "208/7", "deliveries": 0})


async def test_chats_whose_ids_differ_are_each_told(relay: RunningRelay) -> None:
    ids = [f"{'x' * 99}1", f"{'x' * 99}2", "a b", "a  b"]
    answers = [await relay.post(a_hook(each, missed=True)) for each in ids]
    assert [(answer.status, answer.json["deliveries"]) for answer in answers] == [(202, 2)] * 4
    assert len({answer.json["chat"] for answer in answers}) == 4


async def test_a_chat_that_no_rule_asks_for_is_kept_all_the_same(relay: RunningRelay) -> None:
    answer = await relay.post(a_hook(8))
    assert (answer.status, answer.json) == (202, {"chat": "208/8", "deliveries": 0})
    ((stored,),) = relay.rows("SELECT body FROM hook_bodies")
    assert zlib.decompress(stored) == a_hook(8)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "", None],
)
async def test_the_content_type_is_not_relied_upon(
    relay: RunningRelay, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert (await relay.post(a_hook(), headers=headers)).status == 202


async def test_a_chat_whose_shape_changed_is_kept_and_answered_202(relay: RunningRelay) -> None:
    answer = await relay.post(b'{"channel": [], "somethingNew": {"missed": true}}')
    assert answer.status == 202
    assert relay.rows("SELECT count(*) FROM hooks") == [(1,)]


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b"[]", b"null", b'{"a": NaN}', b'{"a": "\xff"}', b'{"a":' * 100_000],
)
@pytest.mark.long
async def test_what_is_no_chat_is_answered_400_and_kept_aside(
    relay: RunningRelay, body: bytes
) -> None:
    answer = await relay.post(body)
    assert answer.status == 400
    assert answer.json["error"].endswith("; the post is kept as unreadable")
    ((reason, stored),) = relay.rows("SELECT reason, body FROM set_aside")
    assert zlib.decompress(stored) == body
    assert answer.json["error"].startswith(reason)


async def test_all_that_is_json_is_a_chat_and_what_is_none_is_refused(relay: RunningRelay) -> None:
    """IN-07: the public suite for readers of JSON, each case within a hook."""
    grammar = Path(__file__).parents[1] / "corpora" / "json_grammar.json"
    cases = json.loads(grammar.read_text("utf-8"))
    hooks = (
        f'{{"channel": {{"id": "{name}"}}, "new": {text}}}'.encode("utf-8", "surrogatepass")
        for name, text in cases.items()
    )
    answers = await asyncio.gather(*map(relay.post, hooks))
    may_be = {"y": {202}, "n": {400}, "i": {202, 400}}
    wrong = {
        name: answer.status
        for name, answer in zip(cases, answers, strict=True)
        if answer.status not in may_be[name[0]]
    }
    assert wrong == {}
    assert len(cases) == 291


@given(hook=mutated_hooks())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_whatever_was_changed_in_a_hook_it_is_taken_and_kept_as_it_was_sent(
    relay: RunningRelay, hook: bytes
) -> None:
    """IN-24."""
    assert (await relay.post(hook)).status in {200, 202}
    assert hook in {zlib.decompress(one) for (one,) in relay.rows("SELECT body FROM hook_bodies")}


async def test_the_name_that_a_caller_gives_the_relay_is_used_for_nothing(
    tmp_path: Path,
) -> None:
    """AU-25: neither for what is found where, nor in what is sent."""
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "ftp"}
    async with (
        SmtpServer() as mail,
        HttpServer() as room,
        running_relay(tmp_path, smtp=mail.port, http=room.port) as relay,
    ):
        assert (await relay.post(a_hook(missed=True), headers=evil)).status == 202
        path = relay.hook_url.removeprefix(relay.url)
        whole = f"POST http://evil.example{path} HTTP/1.1\r\nHost: evil.example\r\n"
        body = a_hook(2, missed=True)
        sent = f"{whole}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        assert (await talk(relay, sent)).startswith(b"HTTP/1.1 202 ")
        await room.received(2)
        await mail.received(2)
    told = [post.body for post in room.requests] + mail.bodies
    assert not any(b"evil.example" in one for one in told)


@pytest.mark.parametrize(
    "path", ["wrong", "", "a-token-for-tests-012345678", "x" * 5000, "%ff%00", "a/b"]
)
async def test_an_unknown_token_looks_like_an_unknown_path(relay: RunningRelay, path: str) -> None:
    def seen(answer: bytes) -> list[bytes]:
        return sorted(line for line in answer.split(b"\r\n") if not line.startswith(b"date:"))

    body = b"Host: relay\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    token = await talk(relay, b"POST /hooks/smartsupp/" + path.encode() + b" HTTP/1.1\r\n" + body)
    unknown = await talk(relay, b"POST /nothing/here HTTP/1.1\r\n" + body)
    assert token.startswith(b"HTTP/1.1 404 ")
    assert seen(token) == seen(unknown)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/hooks/smartsupp/{}/", 202),
        ("//hooks/smartsupp/{}", 202),
        ("/hooks//smartsupp///{}//", 202),
        ("/hooks/smartsupp/{}?from=smartsupp", 202),
        ("/hooks/smartsupp%2f{}", 202),
        ("/hooks/smartsupp/%61{1}", 202),
        ("/hooks/smartsupp", 404),
        ("/hooks/smartsupp{}", 404),
        ("/hooks/{}", 404),
        ("/{}", 404),
        ("/hooks/smartsupp/{}/more", 404),
        ("/hooks/smartsupp/x/../{}", 404),
        ("/Hooks/Smartsupp/{}", 404),
        ("hooks/smartsupp/{}", 400),
        ("*", 404),
    ],
)
async def test_a_slash_more_or_an_escape_in_the_path_changes_nothing(
    relay: RunningRelay, path: str, status: int
) -> None:
    asked = path.format(TOKEN, TOKEN[1:])
    head = f"POST {asked} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n"
    answer = await talk(relay, f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


async def test_a_second_token_is_taken_beside_the_first(tmp_path: Path) -> None:
    tokens = "a-token-for-tests-0123456789, the-new-token-0123456789"
    async with running_relay(tmp_path, RELAY_HOOK_TOKENS=tokens) as relay:
        first = await relay.post(a_hook(1))
        second = await relay.ask(
            "POST", "/hooks/smartsupp/the-new-token-0123456789", data=a_hook(2)
        )
        assert (first.status, second.status) == (202, 202)
    async with running_relay(tmp_path, RELAY_HOOK_TOKENS="the-new-token-0123456789") as relay:
        assert (await relay.post(a_hook(3))).status == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
async def test_only_post_is_a_hook(relay: RunningRelay, method: str) -> None:
    answer = await relay.ask(method, relay.hook_url)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_a_body_of_the_largest_size_is_taken(relay: RunningRelay) -> None:
    filling = MAX_BODY - len(a_hook(1, filling=""))
    largest = a_hook(1, filling="x" * filling)
    assert len(largest) == MAX_BODY
    assert (await relay.post(largest)).status == 202
    ((stored,),) = relay.rows("SELECT body FROM hook_bodies")
    assert zlib.decompress(stored) == largest


async def test_one_byte_more_is_refused_with_413(relay: RunningRelay) -> None:
    filling = MAX_BODY + 1 - len(a_hook(1, filling=""))
    assert (await relay.post(a_hook(1, filling="x" * filling))).status == 413
    assert relay.rows("SELECT count(*) FROM hooks") == [(0,)]


async def test_a_size_beyond_the_limit_is_refused_before_the_body_is_sent(
    relay: RunningRelay,
) -> None:
    answer = await talk(relay, head(relay, "Content-Length: 1000000000000"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


async def test_who_goes_on_sending_what_was_refused_still_gets_the_answer(
    relay: RunningRelay,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(head(relay, f"Content-Length: {3 * MAX_BODY}") + b"x")
    answer = await reader.read()
    for _ in range(3):
        writer.write(b"x" * MAX_BODY)
        await writer.drain()
    writer.close()
    await writer.wait_closed()  # raises ConnectionResetError where the relay no longer reads
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_chunks_of_one_byte_more_are_refused_with_413(relay: RunningRelay) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 65536):
            yield b"x" * 65536
        yield b"x"

    assert (await relay.ask("POST", relay.hook_url, data=chunks())).status == 413


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_an_encoded_body_is_refused_with_415(relay: RunningRelay, encoding: str) -> None:
    answer = await relay.post(gzip.compress(a_hook()), headers={"Content-Encoding": encoding})
    assert answer.status == 415


async def test_a_body_that_never_comes_ends_with_408(tmp_path: Path) -> None:
    async with running_relay(tmp_path, deadlines=Deadlines(body=0.2)) as relay:
        answer = await talk(relay, head(relay, "Content-Length: 100") + b'{"acc')
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer


async def test_a_sender_that_goes_away_in_the_middle_harms_nobody(relay: RunningRelay) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(head(relay, "Content-Length: 100") + b'{"acc')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await relay.post(a_hook())).status == 202
    assert relay.rows("SELECT count(*) FROM hooks") == [(1,)]


async def test_guessing_tokens_is_slowed_down_but_the_true_one_is_not(relay: RunningRelay) -> None:
    guesses: list[int] = []
    while 429 not in guesses:  # each few seconds one more is let through
        path = f"/hooks/smartsupp/guess-{len(guesses)}"
        guesses.append((await relay.ask("POST", path, data=b"{}")).status)
    assert {*guesses[:-1]} == {404}
    assert len(guesses) > WRONG_TOKENS_AT_ONCE
    assert (await relay.post(a_hook())).status == 202


@pytest.mark.parametrize(
    ("comes_from", "last"), [("127.0.0.1", 404), ("127.0.0.2", 429)], ids=["a proxy", "a stranger"]
)
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is nobody")
async def test_only_a_proxy_on_the_same_box_is_believed_who_the_caller_is(
    relay: RunningRelay, comes_from: str, last: int
) -> None:
    """AU-04, AU-26."""
    there = aiohttp.TCPConnector(local_addr=(comes_from, 0))
    async with aiohttp.ClientSession(connector=there) as client:
        status, guesses = 0, 0
        # Of a stranger one more is let through each few seconds.
        while status != 429 and (last == 429 or guesses < WRONG_TOKENS_AT_ONCE + 3):
            says = {"X-Forwarded-For": f"198.51.100.{guesses % 256}"}
            guess = client.post(f"{relay.url}/hooks/smartsupp/guess", data=b"{}", headers=says)
            async with guess as answer:
                status, guesses = answer.status, guesses + 1
    assert status == last


async def test_a_hundred_hooks_at_once_are_each_kept(relay: RunningRelay) -> None:
    answers = await asyncio.gather(*(relay.post(a_hook(chat)) for chat in range(100)))
    assert {answer.status for answer in answers} == {202}
    assert relay.rows("SELECT count(*) FROM chats") == [(100,)]


async def test_the_same_hook_a_hundred_times_at_once_is_one_chat(relay: RunningRelay) -> None:
    answers = await asyncio.gather(*(relay.post(a_hook(missed=True)) for _ in range(100)))
    assert sorted(answer.status for answer in answers) == [200] * 99 + [202]
    assert relay.rows("SELECT count(*) FROM deliveries") == [(2,)]
