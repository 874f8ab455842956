"""The servers of the tests themselves: code that blocks may use them too."""

import asyncio
import gc
import random
import smtplib
import socket
import urllib.request
from collections.abc import Callable

import pytest

from tests.servers import HttpAnswer, HttpServer, SmtpServer, call, in_thread
from tests.tcp import Proxy, free_port


def test_a_mail_server_runs_beside_code_that_blocks() -> None:
    with in_thread(SmtpServer().at("rcpt", "450 4.2.0 later")) as server:
        with smtplib.SMTP("127.0.0.1", server.port, timeout=60) as client:
            refused = client.docmd("MAIL", "FROM:<a@example.org>"), client.docmd("RCPT", "TO:<b@x>")
            client.rset()
            client.sendmail("a@example.org", ["b@example.com"], "Subject: Hello\r\n\r\n.dot\r\n")
        (mail,) = call(server, server.received(1))
    assert [code for code, _ in refused] == [250, 450]
    assert (mail.sender, mail.recipients) == ("a@example.org", ("b@example.com",))
    assert mail.message["Subject"] == "Hello"
    assert mail.data.endswith(b"\r\n.dot\r\n")


def test_a_web_server_runs_beside_code_that_blocks() -> None:
    with in_thread(HttpServer(HttpAnswer(body="first"))) as server:
        for body in (b"first", b"ok"):
            with urllib.request.urlopen(server.url("/x?y=1"), data=b"{}", timeout=60) as answer:
                assert answer.read() == body
        first, _ = call(server, server.received(2))
    assert (first.method, first.target, first.body) == ("POST", "/x?y=1", b"{}")


@pytest.mark.parametrize("server", [HttpServer, SmtpServer, lambda: Proxy(9)])
async def test_what_connects_just_before_a_server_ends_is_closed(
    server: Callable[[], HttpServer | SmtpServer | Proxy],
) -> None:
    """Else the warning of it is a failure of whatever test runs then."""
    gc.freeze()  # what other tests have left is not ours
    for turns in range(4):
        async with server() as running:
            with socket.create_connection(("127.0.0.1", running.port)):
                for _ in range(turns):
                    await asyncio.sleep(0)
        await asyncio.sleep(0)
    gc.collect()
    gc.unfreeze()


def test_no_port_is_given_away_twice_while_nobody_listens_there_yet() -> None:
    drawn = random.getstate()
    port = free_port()
    random.setstate(drawn)
    assert free_port() != port
