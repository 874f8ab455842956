"""Certificates and connections: the cause of a failure in words, and authorities of one's own."""

import errno
import ipaddress
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay.outbox.delivery_types import StorageRefused
from relay.outbox.postgres.postgres_store import conninfo
from relay.settings.database import PostgresServer
from relay.settings.smtp import SmtpTls as Tls
from relay.settings.table import Settings, SettingsError, read_settings
from relay.transports import unreachable
from relay.transports.registry import cure_of
from relay.transports.tls import trusting
from tests.builders import a_hook
from tests.cli import commands
from tests.cli.test_send_test import relay
from tests.postgres import PostgresCluster, postgres_cluster
from tests.running import running_relay, settings
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


def self_signed(folder: Path, *, is_authority: bool) -> tuple[Path, Path]:
    """Certificate and key: as `openssl req -x509` makes them, or as Debian's own (snakeoil), which is no authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(identifier, critical=False)
    )
    certificate, private = folder / "self.pem", folder / "self.key"
    signed = builder.sign(key, hashes.SHA256())
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


@pytest.mark.parametrize("is_authority", [True, False])
@pytest.mark.parametrize("tls", [Tls.IMPLICIT, Tls.STARTTLS])
async def test_a_mail_server_with_a_self_signed_certificate_is_trusted_by_a_setting(
    tmp_path: Path, is_authority: bool, tls: Tls
) -> None:
    certificate, private = self_signed(tmp_path, is_authority=is_authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    async with SmtpServer(tls=context, implicit=tls is Tls.IMPLICIT) as server:
        url = f"{tls.value}://127.0.0.1:{server.port}"
        without = await connected(tmp_path, MAIL, RELAY_SMTP_URL=url)
        assert "certificate that can't be trusted: it is self-signed (" in without
        assert "put its certificate into the file of RELAY_CA_FILE" in without
        told = await connected(tmp_path, MAIL, RELAY_SMTP_URL=url, RELAY_CA_FILE=str(certificate))
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
        (
            OSError(errno.ECONNREFUSED, "[Errno 111] Connect call failed ('::1', 25, 0, 0), [Errno 111] Connect call failed ('127.0.0.1', 25)"),
            "nothing listens on this port (::1 port 25, 127.0.0.1 port 25)",
        ),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "no way leads there ("),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no way leads there ("),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "there is no host of this name ("),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "its name can't be looked up now ("),
        (UnicodeError("label too long"), "this is not a host name ("),
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


@pytest.fixture(scope="module")
def behind_tls() -> Iterator[tuple[PostgresCluster, Path]]:
    """A server whose certificate is for 127.0.0.1, and the file of the authority that issued it."""
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    # Not in pytest's folder: that is for its owner alone, and the server is another user.
    with tempfile.TemporaryDirectory(prefix="relay-pg-tls-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        key, chain = folder / "server.key", folder / "server.pem"
        leaf.private_key_pem.write_to_path(key)
        leaf.cert_chain_pems[0].write_to_path(chain)
        key.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(key, "nobody")
        files = {"ssl_cert_file": str(chain), "ssl_key_file": str(key)}
        with postgres_cluster(ssl="on", **files) as cluster:
            yield cluster, trusted(authority, folder)


async def refused(folder: Path, url: str, **more: str) -> str:
    """What a command says that needs the database."""
    said = await commands.relay({**settings(folder), "RELAY_DATABASE": url, **more}, "deliveries")
    assert said.status == 2
    return said.err


@pytest.mark.long
async def test_a_postgresql_server_of_ones_own_authority_is_trusted_by_a_setting(
    tmp_path: Path, behind_tls: tuple[PostgresCluster, Path]
) -> None:
    cluster, own = behind_tls
    url = f"{cluster.url(cluster.new_database())}?sslmode=verify-full"
    async with running_relay(tmp_path, RELAY_DATABASE=url, RELAY_CA_FILE=str(own)) as relay:
        assert (await relay.post(a_hook(7, missed=True))).status == 202
    listed = await commands.relay(
        settings(tmp_path, RELAY_DATABASE=url, RELAY_CA_FILE=str(own)), "deliveries", "--json"
    )
    assert [each["chat"] for each in listed.json] == ["208/7", "208/7"]


@pytest.mark.long
async def test_a_postgresql_server_that_is_not_trusted_is_refused_with_cause_and_cure(
    tmp_path: Path, behind_tls: tuple[PostgresCluster, Path]
) -> None:
    cluster, _ = behind_tls
    url = f"{cluster.url(cluster.new_database())}?sslmode=verify-full"
    without = await refused(tmp_path, url, HOME=str(tmp_path))
    assert "root certificate file" in without
    assert "name a file with the certificates of your own authority in RELAY_CA_FILE" in without
    other = str(trusted(trustme.CA(), tmp_path))
    told = await refused(tmp_path, url, RELAY_CA_FILE=other)
    assert (
        "its certificate can't be trusted, as its issuer is not known here: put the issuer" in told
    )
    with pytest.raises(StorageRefused, match="put the issuer's certificate"):
        async with running_relay(tmp_path, RELAY_DATABASE=url, RELAY_CA_FILE=other):
            pass


@pytest.mark.long
async def test_a_postgresql_server_of_another_name_is_refused_with_the_cure(
    tmp_path: Path, behind_tls: tuple[PostgresCluster, Path]
) -> None:
    cluster, own = behind_tls
    url = cluster.url(cluster.new_database()).replace("127.0.0.1", "localhost")
    told = await refused(tmp_path, f"{url}?sslmode=verify-full", RELAY_CA_FILE=str(own))
    assert (
        "its certificate is for another host name: write the name that the certificate holds"
        in told
    )


@pytest.mark.long
async def test_a_postgresql_server_that_does_not_encrypt_is_refused_with_the_cure(
    tmp_path: Path, cluster: PostgresCluster
) -> None:
    told = await refused(tmp_path, f"{cluster.url()}?sslmode=require")
    assert "the server does not encrypt: set ssl = on there" in told


async def test_a_port_without_a_postgresql_server_is_said_so(tmp_path: Path) -> None:
    told = await refused(tmp_path, f"postgresql://me:geheim@127.0.0.1:{free_port()}/relay")
    assert "nothing listens there: check host and port in RELAY_DATABASE" in told
    assert "geheim" not in told
