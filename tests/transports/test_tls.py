"""Certificates and connections: the cause of a failure in words, and authorities of one's own."""

import errno
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from relay.outbox.postgres.postgres_store import conninfo
from relay.settings.database import PostgresServer
from relay.settings.smtp import SmtpTls as Tls
from relay.settings.table import Settings, SettingsError, read_settings
from relay.transports.outcome import unreachable
from relay.transports.registry import cure_of
from relay.transports.tls import trusting
from tests.cli.test_send_test import relay
from tests.servers import HttpServer, SmtpServer
from tests.tcp import free_port

NOW = datetime.now(UTC)


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def trusted(authority: trustme.CA, folder: Path) -> Path:
    file = folder / "our-ca.pem"
    authority.cert_pem.write_to_path(file)
    return file


async def connected(tmp_path: Path, own: str, **more: str) -> str:
    """What `relay check --connect` says of a file with these destinations."""
    (tmp_path / "rules.yaml").write_text(
        f"destinations: {own}\nrules: [{{name: All, when: always, send_to: [one]}}]\n", "utf-8"
    )
    variables = {
        "RELAY_RULES": str(tmp_path / "rules.yaml"),
        "RELAY_MAIL_FROM": "relay@example.org",
        "RELAY_ALLOW_PRIVATE_WEBHOOKS": "yes",
        **more,
    }
    return (await relay(variables, "check", "--connect")).out


MAIL = "{one: {email: {to: a@example.com}}}"


async def test_a_mail_server_of_ones_own_authority_is_trusted_by_a_setting(tmp_path: Path) -> None:
    authority = trustme.CA()
    async with SmtpServer(tls=serving(authority.issue_cert("127.0.0.1")), implicit=True) as server:
        url = f"smtps://127.0.0.1:{server.port}"
        without = await connected(tmp_path, MAIL, RELAY_SMTP_URL=url)
        assert "certificate that can't be trusted: its issuer is not known here (" in without
        assert "put its certificate into the file of RELAY_CA_FILE" in without
        own = str(trusted(authority, tmp_path))
        told = await connected(tmp_path, MAIL, RELAY_SMTP_URL=url, RELAY_CA_FILE=own)
        assert "one (email): ok" in told


@pytest.mark.parametrize("transport", ["slack", "teams"])
async def test_a_webhook_of_ones_own_authority_is_trusted_by_a_setting(
    tmp_path: Path, transport: str
) -> None:
    authority = trustme.CA()
    async with HttpServer(tls=serving(authority.issue_cert("127.0.0.1"))) as server:
        rules = f"{{one: {{{transport}: {{webhook: $HOOK}}}}}}"
        hook = f"https://127.0.0.1:{server.port}/services/x-of-a-test?sig=0123456789abcdef"
        without = await connected(tmp_path, rules, HOOK=hook)
        assert "certificate that can't be trusted: its issuer is not known here (" in without
        assert "RELAY_CA_FILE" in without
        own = str(trusted(authority, tmp_path))
        told = await connected(tmp_path, rules, HOOK=hook, RELAY_CA_FILE=own)
        assert f"one ({transport}): ok" in told


@pytest.mark.parametrize(
    ("name", "before", "after", "cause", "cure"),
    [
        ("127.0.0.1", -9, -1, "it has expired (", "has expired"),
        ("127.0.0.1", 1, 9, "it is not valid yet (", "clock"),
        ("mail.example.com", -1, 9, "it is for another host name (", "write the name"),
    ],
)
@pytest.mark.parametrize("tls", [Tls.IMPLICIT, Tls.STARTTLS])
async def test_a_certificate_is_refused_with_its_cause(
    tmp_path: Path, name: str, before: int, after: int, cause: str, cure: str, tls: Tls
) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert(
        name, not_before=NOW + timedelta(days=before), not_after=NOW + timedelta(days=after)
    )
    implicit = tls is Tls.IMPLICIT
    async with SmtpServer(tls=serving(leaf), implicit=implicit) as server:
        told = await connected(
            tmp_path,
            MAIL,
            RELAY_SMTP_URL=f"{tls.value}://127.0.0.1:{server.port}",
            RELAY_CA_FILE=str(trusted(authority, tmp_path)),
        )
    assert f"certificate that can't be trusted: {cause}" in told
    assert cure in told


async def test_a_port_where_nothing_listens_is_said_so(tmp_path: Path) -> None:
    told = await connected(tmp_path, MAIL, RELAY_SMTP_URL=f"smtp://127.0.0.1:{free_port()}")
    assert "127.0.0.1 could not be reached: nothing listens on this port (" in told
    assert "No mail server listens there" in told


async def test_a_port_without_tls_is_said_so_for_a_webhook_too(tmp_path: Path) -> None:
    async with SmtpServer() as server:
        hook = f"https://127.0.0.1:{server.port}/services/x-of-a-test"
        told = await connected(tmp_path, "{one: {slack: {webhook: $HOOK}}}", HOOK=hook)
    assert "Slack could not be reached: this port does not encrypt (" in told


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "nothing listens on this port ("),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "no way leads there ("),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no way leads there ("),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "there is no host of this name ("),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "its name can't be looked up now ("),
        (UnicodeError("label too long"), "this is no host name ("),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("service", ["Slack", "Teams", "mail.example.com"])
def test_the_cause_of_no_connection_is_said_in_words(
    error: Exception, words: str, service: str
) -> None:
    said = f"{service} {unreachable(error)}"
    assert said.startswith(f"{service} could not be reached: {words}")
    assert cure_of(said) is not None


def test_a_file_without_certificates_is_refused_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    for content, words in ((None, "can't be read: No such file"), (b"-", "no certificate in PEM")):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SettingsError, match=words):
            read_settings({"RELAY_CA_FILE": str(file)})


def test_the_systems_authorities_stay_trusted(tmp_path: Path) -> None:
    own = trusting(trusted(trustme.CA(), tmp_path))
    usual = trusting(None)
    assert own.cert_store_stats()["x509_ca"] == usual.cert_store_stats()["x509_ca"] + 1
    assert own.check_hostname
    assert own.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ("?sslmode=verify-full", True),
        ("?sslmode=verify-ca", True),
        ("?sslmode=require", False),
        ("", False),
        ("?sslmode=verify-full&sslrootcert=system", False),
    ],
)
def test_a_postgresql_server_is_checked_by_them_where_its_url_asks_for_a_check(
    tmp_path: Path, options: str, given: bool
) -> None:
    file = trusted(trustme.CA(), tmp_path)
    read: Settings = read_settings(
        {
            "RELAY_DATABASE": f"postgresql://db.example.com/relay{options}",
            "RELAY_CA_FILE": str(file),
        }
    )
    assert isinstance(read.database, PostgresServer)
    assert (f"sslrootcert={file}" in conninfo(read.database)) is given
