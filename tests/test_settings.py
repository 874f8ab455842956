"""The environment: every form that a setting takes, and every refusal word for word."""

import re
import string
from dataclasses import fields
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from relay.mail_address import MailAddress
from relay.outbox.postgres.postgres_store import conninfo
from relay.settings.database import PARAMETERS, PostgresServer, read_database
from relay.settings.environment import Environment, SecretValue
from relay.settings.parsers import LogFormat
from relay.settings.proxy import NoProxy, Proxy
from relay.settings.smtp import SmtpOAuth, SmtpServer, SmtpTls
from relay.settings.table import (
    LATER_SETTINGS,
    SETTINGS,
    Settings,
    SettingsError,
    likely_typos,
    read_settings,
)

IN_PASSWORDS = "in a password, write / as %2F, # as %23, ? as %3F, @ as %40, % as %25"
SMTP_OPTIONS = (
    "only insecure=yes and helo=relay.example.org (a host name, or an address as [192.0.2.1]) "
    f"may follow a question mark, with & between them; {IN_PASSWORDS}"
)
SMTP_FORMS = (
    "write smtps://user:password@host, smtp+starttls://user:password@host:587 "
    "or smtp://host for a server without login"
)
LOGIN = "in the user name or password, write"
TOKEN_FORM = "a token has at least 16 characters, of A-Z a-z 0-9 . _ ~ -"
DATABASE_FORM = (
    "write sqlite:///relay.db for a file in this folder, sqlite:////data/relay.db for /data, "
    "postgresql://user:password@host/name for a server"
)


def changed(**variables: str) -> dict[str, Any]:
    """What differs from a relay whose environment is empty."""
    found, plain = read_settings(variables), Settings()
    names = [one.name for one in fields(Settings)]
    return {
        name: getattr(found, name) for name in names if getattr(found, name) != getattr(plain, name)
    }


def problems(**variables: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        read_settings(variables)
    return refused.value.problems


PROXY = f"write http://proxy.example.com:3128, or http://name:password@proxy.example.com:3128; {IN_PASSWORDS}"


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}) == Settings()
    assert read_settings(dict.fromkeys(SETTINGS, "  ")) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("RELAY_RULES", " ours.yaml\n", {"rules": Path("ours.yaml")}),
        ("RELAY_TEMPLATES", "/", {"templates": Path("/")}),
        ("RELAY_DATABASE", "sqlite:///here.db", {"database": Path("here.db")}),
        ("RELAY_DATABASE", "sqlite:////data/relay.db", {"database": Path("/data/relay.db")}),
        ("RELAY_LISTEN", "0.0.0.0:80", {"host": "0.0.0.0", "port": 80}),
        ("RELAY_LISTEN", "[::1]:0", {"host": "::1", "port": 0}),
        ("RELAY_LISTEN", "localhost:9000", {"host": "localhost", "port": 9000}),
        ("RELAY_PUBLIC_URL", "https://example.com/r/", {"public_url": "https://example.com/r"}),
        ("RELAY_SLACK_TOKEN", "xoxb-1-2-a", {"slack_token": SecretValue("xoxb-1-2-a")}),
        ("RELAY_SLACK_TOKEN", "xoxe.xoxb-1-a", {"slack_token": SecretValue("xoxe.xoxb-1-a")}),
        ("RELAY_SLACK_API_URL", "http://slack.test", {"slack_api_url": "http://slack.test/"}),
        ("RELAY_ALLOW_PRIVATE_WEBHOOKS", "Yes", {"allow_private_webhooks": True}),
        ("RELAY_ALLOW_PRIVATE_WEBHOOKS", "true", {"allow_private_webhooks": True}),
        ("RELAY_ALLOW_PRIVATE_WEBHOOKS", "1", {"allow_private_webhooks": True}),
        ("RELAY_ALLOW_PRIVATE_WEBHOOKS", "no", {}),
        ("RELAY_ALLOW_PRIVATE_WEBHOOKS", "FALSE", {}),
        ("RELAY_ALLOW_PRIVATE_WEBHOOKS", "0", {}),
        (
            "RELAY_HTTPS_PROXY",
            "http://me:p%40ss@proxy.example.com:3128/",
            {"proxy": Proxy(SecretValue("http://me:p%40ss@proxy.example.com:3128/"))},
        ),
        ("RELAY_NO_PROXY", "example.com", {}),
        ("RELAY_LOG_FORMAT", "JSON", {"log_format": LogFormat.JSON}),
        ("RELAY_LOG_FORMAT", "text", {}),
        ("RELAY_MAIL_PER_HOUR", "500", {"mail_per_hour": 500}),
        ("RELAY_MAIL_PER_HOUR", "Unlimited", {"mail_per_hour": 0}),
        ("RELAY_RETENTION_DAYS", "30", {"retention": timedelta(days=30)}),
        ("RELAY_RETENTION_DAYS", "Forever", {"retention": None}),
        ("RELAY_HOOK_SECRETS_FILE", "/x", {"unused": ("RELAY_HOOK_SECRETS",)}),
    ],
)
def test_a_setting_takes_this_form(name: str, value: str, expected: dict[str, Any]) -> None:
    assert changed(**{name: value}) == expected


def test_hosts_beside_the_proxy_are_named_as_for_other_programs() -> None:
    read = read_settings(
        {
            "RELAY_HTTPS_PROXY": "http://proxy:3128",
            "RELAY_NO_PROXY": ".example.com, *.example.org intranet,10.1.2.3/8, [::1],",
        }
    )
    assert read.proxy is not None
    assert read.proxy.exceptions == NoProxy(
        names=("example.com", "example.org", "intranet"),
        networks=(ip_network("10.0.0.0/8"), ip_network("::1")),
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("smtp://mail", SmtpServer(host="mail", port=25, tls=SmtpTls.NONE)),
        ("smtp://[::1]:2525", SmtpServer(host="::1", port=2525, tls=SmtpTls.NONE)),
        (
            "smtps://me:pass%40word@mail",
            SmtpServer(
                host="mail",
                port=465,
                tls=SmtpTls.IMPLICIT,
                username="me",
                password=SecretValue("pass@word"),
            ),
        ),
        (
            "smtp+starttls://me%40example.com:pw@mail",
            SmtpServer(
                host="mail",
                port=587,
                tls=SmtpTls.STARTTLS,
                username="me@example.com",
                password=SecretValue("pw"),
            ),
        ),
        (
            "smtp://me:pw@mail:26?insecure=YES",
            SmtpServer(
                host="mail",
                port=26,
                tls=SmtpTls.NONE,
                username="me",
                password=SecretValue("pw"),
            ),
        ),
        (
            "smtps://mail?helo=relay.example.org",
            SmtpServer(host="mail", port=465, tls=SmtpTls.IMPLICIT, helo="relay.example.org"),
        ),
        (
            "smtp://me:pw@mail?helo=[192.0.2.1]&insecure=yes",
            SmtpServer(
                host="mail",
                port=25,
                tls=SmtpTls.NONE,
                username="me",
                password=SecretValue("pw"),
                helo="[192.0.2.1]",
            ),
        ),
        (
            "smtp://mail?helo=%5BIPv6:2001:db8::1%5D",
            SmtpServer(host="mail", port=25, tls=SmtpTls.NONE, helo="[IPv6:2001:db8::1]"),
        ),
    ],
)
def test_a_mail_server_is_written_as_a_url(value: str, expected: SmtpServer) -> None:
    assert changed(RELAY_SMTP_URL=value) == {"smtp": expected}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("relay@example.com", MailAddress("", "relay@example.com")),
        ("<relay@example.com>", MailAddress("", "relay@example.com")),
        ("The relay <relay@example.com>", MailAddress("The relay", "relay@example.com")),
        ('"Relay, ours" <relay@example.com>', MailAddress("Relay, ours", "relay@example.com")),
        ("relay@háčky.example", MailAddress("", "relay@xn--hky-ela4t.example")),
    ],
)
def test_the_sender_is_an_address_with_or_without_a_name(value: str, expected: MailAddress) -> None:
    assert changed(RELAY_MAIL_FROM=value) == {"mail_from": expected}
    assert expected.domain == expected.address.split("@")[1]


@pytest.mark.parametrize("between", [",", ", ", " ", "\n", " ,\n "])
def test_several_tokens_are_taken_so_that_they_can_be_changed(between: str) -> None:
    tokens = ["a" * 16, "b.c_d~e-" * 2]
    expected = tuple(map(SecretValue, tokens))
    assert changed(RELAY_HOOK_TOKENS=between.join([*tokens, tokens[0]])) == {
        "hook_tokens": expected
    }


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "RELAY_TEMPLATES",
            "/nowhere",
            "there is no folder /nowhere; make it by `relay translate` or `relay template`",
        ),
        ("RELAY_DATABASE", "relay.db", DATABASE_FORM),
        ("RELAY_DATABASE", "sqlite:///", DATABASE_FORM),
        ("RELAY_DATABASE", "mysql://me:pw@host/relay", DATABASE_FORM),
        ("RELAY_LISTEN", "8000", "'8000' is not an address to listen on; write 127.0.0.1:8000"),
        (
            "RELAY_LISTEN",
            "127.0.0.1:65536",
            "'127.0.0.1:65536' is not an address to listen on; write 127.0.0.1:8000",
        ),
        (
            "RELAY_LISTEN",
            "relay.example.com:80",
            "'relay.example.com' is not an IP address; write 127.0.0.1:8000 or 0.0.0.0:8000",
        ),
        (
            "RELAY_PUBLIC_URL",
            "example.com",
            "this is not a web address; it starts with https:// or http://",
        ),
        ("RELAY_PUBLIC_URL", "https://[x", "this is not a URL"),
        *(
            (
                name,
                f"https://{url}",
                "write it without user name, password, ? and #: they would be shown",
            )
            for name in ("RELAY_PUBLIC_URL", "RELAY_SLACK_API_URL")
            for url in (
                "me:pw@relay.example.com",
                "me@relay.example.com",
                "x.example/?token=1",
                "x.example#1",
            )
        ),
        (
            "RELAY_PUBLIC_URL",
            "https://relay.example.com/hooks/smartsupp/a-token-for-tests",
            "write it without the hook's path and token: https://relay.example.com",
        ),
        (
            "RELAY_SLACK_API_URL",
            "ftp://slack.com",
            "this is not a web address; it starts with https:// or http://",
        ),
        (
            "RELAY_HTTPS_PROXY",
            "proxy.example.com:3128",
            f"this is not a URL; {PROXY}",
        ),
        (
            "RELAY_HTTPS_PROXY",
            "https://proxy:3128",
            f"this is not the address of an http:// proxy; {PROXY}",
        ),
        ("RELAY_HTTPS_PROXY", "http://me:pa/ss@proxy:3128", f"{LOGIN} / as %2F; {PROXY}"),
        (
            "RELAY_HTTPS_PROXY",
            "http://pro xy:3128",
            f"what stands behind :// is not a host with a port; a user name and password end with an @ before the host; {PROXY}",
        ),
        ("RELAY_HTTPS_PROXY", "http://proxy:3128/x", f"nothing may follow the port; {PROXY}"),
        (
            "RELAY_NO_PROXY",
            "example.com, https://x",
            "this is neither a host name nor an address; write intranet.example.com, 10.0.0.0/8",
        ),
        ("RELAY_HOOK_TOKENS", "secret", f"token 1 of 1 can't be used; {TOKEN_FORM}"),
        ("RELAY_HOOK_TOKENS", f"{'a' * 16} b/c", f"token 2 of 2 can't be used; {TOKEN_FORM}"),
        ("RELAY_HOOK_TOKENS", ", ,", f"token 1 of 1 can't be used; {TOKEN_FORM}"),
        ("RELAY_SMTP_URL", "mail.example.com", SMTP_FORMS),
        ("RELAY_SMTP_URL", "https://mail.example.com", SMTP_FORMS),
        ("RELAY_SMTP_URL", "smtps://me:pa/ss@mail", f"{LOGIN} / as %2F"),
        ("RELAY_SMTP_URL", "smtps://me:12/ss@mail", f"{LOGIN} / as %2F"),
        ("RELAY_SMTP_URL", "smtps://me:pa#ss@mail", f"{LOGIN} # as %23"),
        ("RELAY_SMTP_URL", "smtps://me:1?2=3@mail", f"{LOGIN} ? as %3F"),
        (
            "RELAY_SMTP_URL",
            "smtps://me:/#?@x@mail",
            f"{LOGIN} / as %2F, # as %23, ? as %3F and @ as %40",
        ),
        ("RELAY_SMTP_URL", "smtps://me:100%@mail", f"{LOGIN} % as %25"),
        ("RELAY_SMTP_URL", "smtps://me:pa ss@mail", f"{LOGIN} a space as %20"),
        ("RELAY_SMTP_URL", "smtps://me:[x]/@mail", f"{LOGIN} / as %2F, [ as %5B and ] as %5D"),
        ("RELAY_SMTP_URL", "smtps://me@example.com:a%2Fb/@mail", f"{LOGIN} / as %2F and @ as %40"),
        (
            "RELAY_SMTP_URL",
            "smtps://me:password",
            "what stands behind :// is not a host with a port; a user name and password end with an @ before the host",
        ),
        (
            "RELAY_SMTP_URL",
            "smtps://me:pw@mail:x",
            "what stands behind the @ is not a host with a port",
        ),
        (
            "RELAY_SMTP_URL",
            "smtps://me:pw@mail:65536",
            "what stands behind the @ is not a host with a port",
        ),
        (
            "RELAY_SMTP_URL",
            "smtps://me:12/3",
            f"nothing may follow the host and its port; {IN_PASSWORDS}",
        ),
        ("RELAY_DATABASE", "postgresql://relay:pass?word@host/db", f"{LOGIN} ? as %3F"),
        ("RELAY_DATABASE", "postgres://relay:pass/word@host/db", f"{LOGIN} / as %2F"),
        ("RELAY_DATABASE", "postgresql://relay:pass#word@host/db", f"{LOGIN} # as %23"),
        ("RELAY_DATABASE", "postgresql://relay:pass@word@host/db", f"{LOGIN} @ as %40"),
        ("RELAY_DATABASE", "postgresql://relay:pa%ss@host/db", f"{LOGIN} % as %25"),
        (
            "RELAY_DATABASE",
            "postgresql://relay:password/db",
            "what stands behind :// is not a host with a port; a user name and password end with an @ before the host",
        ),
        (
            "RELAY_DATABASE",
            "postgresql://relay/pass/db",
            f"a database's name has no / in it; {DATABASE_FORM}",
        ),
        (
            "RELAY_DATABASE",
            "postgresql://host/db?password",
            "an option after the question mark is written name=value, with & between two",
        ),
        ("RELAY_DATABASE", "sqlite:///https://me:pw@host/db", DATABASE_FORM),
        (
            "RELAY_RULES",
            "https://hooks.slack.com/services/T/B/X",
            "this is not a path of a file or a folder",
        ),
        ("RELAY_TEMPLATES", "xoxb-1-2", "this is not a path of a file or a folder"),
        (
            "RELAY_LISTEN",
            "smtps://me:pw@mail:25",
            "this is not an IP address; write 127.0.0.1:8000 or 0.0.0.0:8000",
        ),
        ("RELAY_LOG_FORMAT", "Xw4rZ8n2Qv6tLk1s", "this is not a log format; there are: text, json"),
        ("RELAY_SLACK_TOKEN", "'xoxb-1'", "holds quotes around the value; write it without them"),
        (
            "RELAY_SLACK_TOKEN",
            "xoxb-\u200b1",
            "holds a character that can't be seen (U+200B); type the value again",
        ),
        ("RELAY_SMTP_URL", "smtp://me:pw@mail?insecure=maybe", SMTP_OPTIONS),
        ("RELAY_SMTP_URL", "smtp://mail?helo=", SMTP_OPTIONS),
        ("RELAY_SMTP_URL", "smtp://mail?helo=two%20words", SMTP_OPTIONS),
        ("RELAY_SMTP_URL", "smtp://mail?helo=a%0D%0ARSET", SMTP_OPTIONS),
        ("RELAY_SMTP_URL", "smtp://mail?helo=háčky.example", SMTP_OPTIONS),
        ("RELAY_SMTP_URL", f"smtp://mail?helo={'a' * 300}", SMTP_OPTIONS),
        (
            "RELAY_SMTP_URL",
            "smtp://me:pw@mail",
            (
                "the password would cross the network in clear text; use smtps:// or smtp+starttls://, "
                "or add ?insecure=yes if the network is your own"
            ),
        ),
        (
            "RELAY_SMTP_URL",
            "smtps://me@mail",
            "a user name needs a password and the other way round: user:password@host",
        ),
        (
            "RELAY_SMTP_URL",
            "smtps://:pw@mail",
            "a user name needs a password and the other way round: user:password@host",
        ),
        (
            "RELAY_MAIL_FROM",
            "Relay",
            (
                "'Relay' is not an email address (An email address must have an @-sign); "
                "write Relay <relay@example.com>"
            ),
        ),
        (
            "RELAY_MAIL_FROM",
            "žluť@example.com",
            (
                "this has letters before the @ that not every mail server takes; "
                "write Relay <relay@example.com>"
            ),
        ),
        ("RELAY_SLACK_TOKEN", "xoxp-1-2", "a bot token starts with xoxb-; this one does not"),
        ("RELAY_ALLOW_PRIVATE_WEBHOOKS", "si", "'si' is neither yes nor no"),
        ("RELAY_LOG_FORMAT", "xml", "'xml' is not a log format; there are: text, json"),
        *(
            (
                "RELAY_MAIL_PER_HOUR",
                text,
                f"{text!r} is not a number of mails in an hour; write 200, or unlimited",
            )
            for text in ("0", "-1", "200/h", "many", "1e3")
        ),
    ],
)
def test_what_can_not_be_used_is_refused_in_these_words(name: str, value: str, words: str) -> None:
    (problem,) = problems(**{name: value})
    assert problem in {f"{name}: {words}", f"{name} {words}"}


def test_all_that_is_wrong_is_said_at_once() -> None:
    found = problems(
        RELAY_LISTEN="8000", RELAY_DATABASE="relay.db", RELAY_LOG_FORMAT="xml", RELAY_RULES="ok"
    )
    assert [one.partition(":")[0] for one in found] == [
        "RELAY_DATABASE",
        "RELAY_LISTEN",
        "RELAY_LOG_FORMAT",
    ]


# -- files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RELAY_HOOK_TOKENS", "a-token-for-tests"),
        ("RELAY_SMTP_URL", "smtps://me:pw@mail"),
        ("RELAY_SLACK_TOKEN", "xoxb-1"),
        ("RELAY_MAIL_FROM", "relay@example.com"),
        ("RELAY_LISTEN", "127.0.0.1:1"),
    ],
)
def test_a_setting_may_stand_in_a_file(tmp_path: Path, name: str, value: str) -> None:
    file = tmp_path / "secret"
    file.write_text(f"  {value}\n")
    assert changed(**{f"{name}_FILE": str(file)}) == changed(**{name: value})


def test_a_setting_in_a_file_and_beside_it_is_refused(tmp_path: Path) -> None:
    assert problems(RELAY_SLACK_TOKEN="xoxb-1", RELAY_SLACK_TOKEN_FILE="/x") == [
        "RELAY_SLACK_TOKEN and RELAY_SLACK_TOKEN_FILE are both set; keep one of them"
    ]


def test_a_file_that_can_not_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for path, reason in (
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path, "it is a folder, not a file"),
        (binary, "it is not UTF-8 text"),
    ):
        assert problems(RELAY_SMTP_URL_FILE=str(path)) == [
            f"RELAY_SMTP_URL_FILE names {path}, which can't be read: {reason}"
        ]


@pytest.mark.parametrize(
    "secret",
    [
        "https://hooks.slack.com/services/T0/B0/CANARY",
        "smtps://me:CANARY@mail",
        "xoxb-CANARY",
        "me@CANARY",
        "CANARY",
        "CANARY/x+y=",
        "/CANARY@x",
    ],
)
def test_a_secret_in_place_of_its_files_name_is_not_shown(secret: str) -> None:
    (problem,) = problems(RELAY_SLACK_TOKEN_FILE=secret)
    assert problem.startswith("RELAY_SLACK_TOKEN_FILE names ")
    assert "CANARY" not in problem


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfxoxb-1", b"xoxb-1\r\n", b"\xef\xbb\xbf  xoxb-1\n\r\n"]
)
def test_what_an_editor_leaves_around_a_value_is_no_part_of_it(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    assert changed(RELAY_SLACK_TOKEN_FILE=str(file)) == changed(RELAY_SLACK_TOKEN="xoxb-1")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("xoxb-1\n2", "holds more than one line; write the value on one line"),
        ("xoxb-1\r\nxoxb-2", "holds more than one line; write the value on one line"),
        ("xoxb-1\u20282", "holds more than one line; write the value on one line"),
        ("xoxb-\ufeff1", "holds a character that can't be seen (U+FEFF); type the value again"),
        ('"xoxb-1"', "holds quotes around the value; write it without them"),
    ],
)
def test_what_no_value_has_is_named(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content.encode())
    assert problems(RELAY_SLACK_TOKEN_FILE=str(file)) == [
        f"RELAY_SLACK_TOKEN_FILE: the file {words}"
    ]


def test_a_secret_of_the_rules_file_is_looked_up_the_same_way(tmp_path: Path) -> None:
    file = tmp_path / "webhook"
    file.write_text("https://hooks.example.com/x\n")
    environment = Environment({"PLAIN": " one ", "BOXED_FILE": str(file), "EMPTY": " "})
    assert environment.secret("PLAIN") == SecretValue("one")
    assert environment.secret("BOXED") == SecretValue("https://hooks.example.com/x")
    assert environment.secret("EMPTY") is None
    assert environment.secret("MISSING") is None


# -- secrets -------------------------------------------------------------------------------------------------


def test_a_secret_does_not_show_itself() -> None:
    secret = SecretValue("s3cret-value")
    server = SmtpServer(host="mail", port=25, tls=SmtpTls.NONE, password=secret)
    for shown in (repr(secret), str(secret), f"{secret}", repr(server), repr([secret])):
        assert "s3cret" not in shown
    assert secret.reveal() == "s3cret-value"
    assert secret == SecretValue("s3cret-value")
    assert hash(secret) == hash(SecretValue("s3cret-value"))
    assert secret != SecretValue("other")
    assert secret != "s3cret-value"


awkward = st.text(st.sampled_from(string.punctuation + "1"), max_size=6)
LOGIN_SETTINGS = (
    ("RELAY_SMTP_URL", "smtps"),
    ("RELAY_SMTP_URL", "smtp"),
    ("RELAY_SMTP_URL", "smtp+starttls"),
    ("RELAY_SMTP_URL", "https"),
    ("RELAY_HTTPS_PROXY", "http"),
    ("RELAY_DATABASE", "postgresql"),
    ("RELAY_DATABASE", "postgres"),
)


@example("@", "", ("RELAY_DATABASE", "postgresql"), "")
@given(
    awkward,
    awkward,
    st.sampled_from(LOGIN_SETTINGS),
    st.sampled_from(["@mail.example.com", "@mail.example.com/x", "", "/x", "@"]),
)
def test_no_password_is_shown_nor_taken_for_a_host_however_it_is_written(
    before: str, after: str, setting: tuple[str, str], end: str
) -> None:
    # me:1@CANARY without a host behind it is the URL of a host CANARY, and me:CANARY@1 that of a host 1.
    assume(end.startswith("@") or "@" not in before.lstrip("@") + after.rstrip("@"))
    name, scheme = setting
    url = f"{scheme}://me:{before}CANARY{after}{end}"
    try:
        read = read_settings({name: url})
    except SettingsError as refused:
        assert "CANARY" not in str(refused)
        return
    assert "CANARY" not in f"{read!r} {read.database}"
    assert read.smtp is None or read.smtp.host == "mail.example.com"


@given(st.text(min_size=1, max_size=12), st.sampled_from(["smtps", "postgresql"]))
def test_a_password_written_as_urls_want_it_is_read_as_it_is(password: str, scheme: str) -> None:
    url = f"{scheme}://me:{quote(password, safe='')}@mail.example.com"
    name = "RELAY_SMTP_URL" if scheme == "smtps" else "RELAY_DATABASE"
    read = read_settings({name: url})
    of = read.smtp if scheme == "smtps" else read.database
    assert isinstance(of, SmtpServer | PostgresServer)
    assert of.password == SecretValue(password)


@pytest.mark.parametrize(
    "secret",
    [
        "https://hooks.slack.com/services/T0/B0/CANARY",
        "smtps://me:CANARY@mail.example.com",
        "me:CANARY@mail.example.com:25",
        "xoxb-CANARY",
        "CANARY@example.com, x",
        "CANARYxyz0123456789",
        "hooks.slack.com/services/T0/B0/CANARY",
        "https%3A%2F%2Fhooks.example.com%2FCANARY",
        "//me:CANARY@mail.example.com",
        "x.example.com/workflows/1?sp=2&sig=CANARY",
    ],
)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_secret_in_the_wrong_variable_is_not_shown(name: str, secret: str) -> None:
    for variable in (name, f"{name}_FILE"):
        try:
            read_settings({variable: secret})
        except SettingsError as refused:
            assert "canary" not in str(refused).lower()


@pytest.mark.parametrize("name", ["RELAY_HOOK_TOKENS", "RELAY_SLACK_TOKEN"])
def test_no_refusal_shows_a_token(name: str) -> None:
    assert "CANARY" not in str(problems(**{name: "CANARY/canary-0123456789"}))


# -- typing mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RELAY_HOOK_TOKEN", "RELAY_HOOK_TOKENS"),
        ("RELAY_SMPT_URL_FILE", "RELAY_SMTP_URL"),
        ("RELAY_MAILFROM", "RELAY_MAIL_FROM"),
        ("RELAY_HOOK_SECRET", "RELAY_HOOK_SECRETS"),
    ],
)
def test_a_name_close_to_a_settings_is_pointed_out(name: str, meant: str) -> None:
    assert likely_typos({name: "x"}) == [f"{name} is not a setting; did you mean {meant}?"]


def test_other_names_are_left_alone() -> None:
    of_kubernetes = {"RELAY_PORT": "tcp://10.0.0.1:80", "RELAY_SERVICE_HOST": "10.0.0.1"}
    ours = dict.fromkeys([*SETTINGS, *LATER_SETTINGS, "RELAY_SMTP_URL_FILE"], "x")
    assert likely_typos({**of_kubernetes, **ours, "HOOK_TOKENS": "x"}) == []


# -- logging in with OAuth -----------------------------------------------------------------------------------

OAUTH = {
    "RELAY_SMTP_URL": "smtp+starttls://relay%40example.com@smtp.example.com",
    "RELAY_SMTP_OAUTH_TOKEN_URL": "https://login.example.com/t/oauth2/v2.0/token",
    "RELAY_SMTP_OAUTH_CLIENT_ID": "client-1",
    "RELAY_SMTP_OAUTH_CLIENT_SECRET": "CANARY-secret",
    "RELAY_SMTP_OAUTH_SCOPE": "https://outlook.office365.com/.default",
}
NO_PASSWORD = (
    "with RELAY_SMTP_OAUTH_..., it has a user name and no password: "
    "smtp+starttls://relay%40example.com@host:587"
)


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in OAUTH.items() if name not in names}


def test_the_client_itself_may_log_in() -> None:
    server = read_settings(OAUTH).smtp
    assert server is not None
    assert (server.username, server.password) == ("relay@example.com", SecretValue(""))
    assert server.oauth == SmtpOAuth(
        token_url="https://login.example.com/t/oauth2/v2.0/token",
        client_id="client-1",
        client_secret=SecretValue("CANARY-secret"),
        scope="https://outlook.office365.com/.default",
    )
    assert "CANARY" not in repr(server)


def test_a_mailbox_may_lend_its_refresh_token_also_to_a_client_without_a_secret() -> None:
    token = "CANARY-refresh"
    variables = without("RELAY_SMTP_OAUTH_CLIENT_SECRET", "RELAY_SMTP_OAUTH_SCOPE")
    server = read_settings({**variables, "RELAY_SMTP_OAUTH_REFRESH_TOKEN": token}).smtp
    assert server is not None
    assert server.oauth is not None
    assert server.oauth.refresh_token == SecretValue(token)
    assert "CANARY" not in repr(server)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            without("RELAY_SMTP_OAUTH_TOKEN_URL"),
            ["RELAY_SMTP_OAUTH_TOKEN_URL: needed to log in with OAuth"],
        ),
        (
            without("RELAY_SMTP_OAUTH_TOKEN_URL", "RELAY_SMTP_OAUTH_CLIENT_ID"),
            [
                "RELAY_SMTP_OAUTH_TOKEN_URL: needed to log in with OAuth",
                "RELAY_SMTP_OAUTH_CLIENT_ID: needed to log in with OAuth",
            ],
        ),
        (
            without("RELAY_SMTP_OAUTH_CLIENT_SECRET"),
            [
                (
                    "RELAY_SMTP_OAUTH_CLIENT_SECRET: needed to log in with OAuth, "
                    "unless RELAY_SMTP_OAUTH_REFRESH_TOKEN is set"
                )
            ],
        ),
        (
            OAUTH | {"RELAY_SMTP_URL": "smtps://me:pw@mail"},
            [f"RELAY_SMTP_URL: {NO_PASSWORD}"],
        ),
        (OAUTH | {"RELAY_SMTP_URL": "smtps://mail"}, [f"RELAY_SMTP_URL: {NO_PASSWORD}"]),
        (
            OAUTH | {"RELAY_SMTP_OAUTH_TOKEN_URL": "http://login.example.com/token"},
            [
                (
                    "RELAY_SMTP_OAUTH_TOKEN_URL: starts with http://, which sends the secret in clear text;"
                    " write https://"
                )
            ],
        ),
        (
            OAUTH | {"RELAY_SMTP_OAUTH_TOKEN_URL": "login.example.com"},
            ["RELAY_SMTP_OAUTH_TOKEN_URL: this is not a web address; it starts with https://"],
        ),
    ],
)
def test_half_of_oauth_is_refused_with_the_rest_named(
    variables: dict[str, str], words: list[str]
) -> None:
    assert problems(**variables) == words


def test_a_token_endpoint_without_tls_is_fine_in_ones_own_network() -> None:
    variables = OAUTH | {"RELAY_SMTP_OAUTH_TOKEN_URL": "http://127.0.0.1:8/token"}
    assert read_settings({**variables, "RELAY_ALLOW_PRIVATE_WEBHOOKS": "yes"}).smtp is not None


def test_a_server_is_called_by_its_host_and_name_and_by_nothing_that_may_be_secret() -> None:
    url = "postgresql://relay:canary@db.example.com/relay?sslmode=require&password=canary"
    server = read_database(url)
    assert str(server) == "postgresql://db.example.com/relay"
    assert isinstance(server, PostgresServer)
    assert server.url.reveal() == url


def test_the_short_name_that_hosting_providers_write_for_postgresql_is_taken() -> None:
    server = read_database("postgres://relay:secret@db.example.com/relay")
    assert isinstance(server, PostgresServer)
    assert server.url.reveal() == "postgresql://relay:secret@db.example.com/relay"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("passwort=x", "did you mean password?"),
        ("sslmod=require", "did you mean sslmode?"),
        ("ssl_ca=/etc/ca.pem", "did you mean sslrootcert?"),
        ("schema=relay", "did you mean options=-csearch_path%3Drelay?"),
        ("sslmode=require&zzz=1", "there are sslmode, sslrootcert, connect_timeout, options and"),
        ("replication=database", "none of PostgreSQL's"),
        (
            "sslmode=bogus",
            "sslmode takes disable, allow, prefer, require, verify-ca or verify-full",
        ),
        ("sslmode=Require", "sslmode takes disable"),
        ("sslmode=", "sslmode takes disable"),
        ("sslm%6Fde=bogus", "sslmode takes disable"),
        ("target_session_attrs=standby", "target_session_attrs takes any, read-write or primary"),
        ("connect_timeout=5s", "connect_timeout takes a whole number"),
        ("connect_timeout=\u0665", "connect_timeout takes a whole number"),
        ("keepalives=yes", "keepalives takes 0 or 1"),
        ("client_encoding=LATIN1", "client_encoding takes UTF8"),
        ("sslrootcert=/nowhere/ca.pem", "sslrootcert names a file that is not there"),
        ("sslmode=require&&ssl=true", "is written name=value, with & between two"),
        ("password=ge&heim=1", "an option after the question mark is none of PostgreSQL's"),
    ],
)
def test_what_libpq_could_not_use_is_refused_with_what_may_stand_there(
    options: str, words: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)) as refused:
        read_settings({"RELAY_DATABASE": f"postgresql://me:geheim@host/db?{options}"})
    assert "heim" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    ["sslmode=verify-full&sslrootcert=system", "ssl=true", "client_encoding=utf8", "connect_timeout=10",
     "options=-csearch_path%3Drelay", "application_name=relay%20of%20desk", "host=/var/run/postgresql", "sslmode=require&"],
)  # fmt: skip
def test_what_libpq_can_use_is_taken(options: str) -> None:
    read: Settings = read_settings({"RELAY_DATABASE": f"postgresql://me@host/db?{options}"})
    assert isinstance(read.database, PostgresServer)
    assert conninfo(read.database)


def test_every_parameter_of_libpq_is_known_but_one() -> None:
    """`ssl=true` is what a URL may hold besides; by a replication connection no table can be used."""
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    assert known - {"replication"} <= PARAMETERS
