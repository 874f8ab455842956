"""The servers of the tests themselves: code that blocks may use them too."""

import smtplib
import urllib.request

from tests.servers import HttpAnswer, HttpServer, SmtpServer, call, in_thread


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
