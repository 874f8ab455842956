"""Mail: the contract, and what is its own: envelopes, encryption, logins and connections."""

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relay.destination import Destination
from relay.mail_address import MailAddress
from relay.settings.environment import SecretValue
from relay.settings.smtp import SmtpServer, SmtpTls
from relay.settings.table import Settings
from relay.transports import PROGRESS, Ending, Outcome, Progress
from relay.transports.access import Access
from relay.transports.email.pool import PoolLimits
from relay.transports.email.smtp_client import SmtpTimeouts
from relay.transports.registry import open_transport
from tests.servers import DROP, HANG, PATIENCE, Certificates, LoopClock
from tests.servers import SmtpServer as FarEnd
from tests.servers import SmtpStep as Step
from tests.transports.contract import Bench, TransportContract, Weather
from tests.transports.examples import IDENTITY, MISSED, a_notification, saying

PASSWORD = "correct horse battery"
PIPELINING = ("PIPELINING", "SIZE 10485760")
SENDER = MailAddress("Relay", "relay@example.org")
TO = Destination(name="desk", transport="email", options={"to": ("desk@example.com",)})


class MailBench(Bench):
    recipient = "desk@example.com"

    def __init__(self, server: FarEnd, access: Access) -> None:
        self.server = server
        self.access = access
        self.transport = open_transport(TO, access)
        self.secrets = (PASSWORD,)

    def set(self, weather: Weather) -> None:
        self.server._always.clear()
        stages: dict[Weather, tuple[str, Step]] = {
            Weather.FAIR: ("none", DROP),
            Weather.REFUSING: ("rcpt", f"550 5.1.1 no such user, {PASSWORD}"),
            Weather.NOT_NOW: ("body", f"451 4.3.0 try later, {PASSWORD}"),
            Weather.TOO_MANY: ("mail", f"451 4.7.1 too many, {PASSWORD}"),
            Weather.LOCKED: ("mail", f"535 5.7.8 {PASSWORD} is wrong"),
            Weather.TOO_LONG: ("body", f"552 5.3.4 too long {PASSWORD}"),
            Weather.DROPPING: ("body", DROP),
            Weather.SILENT: ("body", HANG),
            Weather.BABBLING: ("body", f"<html>{PASSWORD}</html>"),
        }
        stage, step = stages[weather]
        self.server.at(stage, step, times=None)

    def tries(self) -> int:
        return len(self.server.bodies)

    async def heard(self, count: int) -> None:
        await self.server.until(lambda: self.tries() >= count)

    def taken(self) -> list[bytes]:
        return [mail.data for mail in self.server.mails]

    def shown(self) -> str:
        mail = self.server.mails[-1]
        return f"{mail.message['Subject']}\n{mail.part('plain')}"

    async def leave(self) -> None:
        await self.server.__aexit__(None, None, None)


@asynccontextmanager
async def mail_bench(
    way: SmtpTls = SmtpTls.NONE,
    certificates: Certificates | None = None,
    limits: PoolLimits | None = None,
    host: str = "127.0.0.1",
    password: str = PASSWORD,
    *,
    hurried: bool = False,
    timeouts: SmtpTimeouts | None = None,
    is_encrypted_port: bool = False,
    helo: str = "",
    clock: Callable[[], float] = time.monotonic,
    kind: Callable[..., FarEnd] = FarEnd,
    **server: Any,
) -> AsyncIterator[MailBench]:
    async with kind(**server) as far_end:
        far_end.clock = LoopClock() if hurried else None
        smtp = SmtpServer(
            host=host,
            port=far_end.port,
            tls=way,
            username="relay" if far_end.users else "",
            password=SecretValue(password),
            helo=helo,
        )
        times = timeouts or SmtpTimeouts(
            connect=PATIENCE,
            greeting=PATIENCE,
            command=PATIENCE,
            data=PATIENCE,
            end_of_data=PATIENCE,
            at_once=PATIENCE,
            reset=PATIENCE,
        )
        if is_encrypted_port:
            times = replace(times, encrypted_port=far_end.port)
        access = Access(
            Settings(smtp=smtp, mail_from=SENDER),
            str,
            tls=certificates.client if certificates else None,
            smtp_timeouts=times,
            # A test can't wait for a minute after a refused login.
            pool_limits=limits or PoolLimits(after_refusal=0),
            pool_clock=clock,
        )
        try:
            yield MailBench(far_end, access)
        finally:
            await access.close()


class TestEmail(TransportContract):
    success_says = "250 2.0.0 queued as T"
    rate_limits = False

    open = staticmethod(mail_bench)


class TestPipeliningEmail(TransportContract):
    success_says = "250 2.0.0 queued as T"
    rate_limits = False

    @staticmethod
    def open(*, hurried: bool) -> AbstractAsyncContextManager[MailBench]:
        return mail_bench(hurried=hurried, offers=PIPELINING)


@pytest.mark.parametrize("stage", ["greeting", "ehlo", "mail", "rcpt", "data"])
@pytest.mark.parametrize("offers", [(), PIPELINING])
async def test_a_server_that_hangs_before_the_text_of_a_mail_has_got_nothing_of_it(
    stage: str, offers: tuple[str, ...]
) -> None:
    """A relay that stops meanwhile may give the mail back: it can't have arrived."""
    PROGRESS.set(progress := Progress())
    async with mail_bench(offers=offers) as bench:
        bench.server.at(stage, HANG)
        sending = asyncio.create_task(bench.send())
        await bench.server.until(lambda: bench.server.hung > 0)
        assert not progress.is_sending
        sending.cancel()
        await asyncio.wait([sending])


# -- what is on the wire -----------------------------------------------------------------------------------


async def test_the_envelope_names_our_address_and_one_recipient() -> None:
    async with mail_bench() as bench:
        await bench.transport.send(MISSED, "Anna Nová <anna@bücher.example>", IDENTITY)
        (mail,) = bench.server.mails
    assert mail.sender == "relay@example.org"
    assert mail.recipients == ("anna@xn--bcher-kva.example",)
    assert "EHLO example.org" in [line for _, line in bench.server.commands]


@pytest.mark.parametrize("name", ["relay.example.net", "[192.0.2.1]"])
async def test_the_relay_calls_itself_as_its_settings_say(name: str) -> None:
    async with mail_bench(helo=name) as bench:
        bench.server.at("ehlo", "502 5.5.1 what?")
        assert (await bench.send()).ending is Ending.DELIVERED
        assert [line for _, line in bench.server.commands][:2] == [f"EHLO {name}", f"HELO {name}"]


async def test_an_address_that_is_none_is_refused_before_anything_is_sent() -> None:
    async with mail_bench() as bench:
        for address in ("", "a b@x", "a@x.cz, b@x.cz", "a@x.cz\r\nRCPT TO:<b@x.cz>", "josé@x.cz"):
            outcome = await bench.transport.send(MISSED, address, IDENTITY)
            assert outcome.ending is Ending.REFUSED, address
        assert bench.server.connections == 0


async def test_lines_that_begin_with_a_dot_arrive_as_they_were() -> None:
    async with mail_bench() as bench:
        await bench.send(a_notification(text=".\n..\n.x\nend\n", html=""))
        assert bench.server.mails[0].part("plain") == ".\n..\n.x\nend\n"


async def test_a_server_without_ehlo_gets_mail_too() -> None:
    async with mail_bench() as bench:
        bench.server.at("ehlo", "502 5.5.1 what?", times=None)
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.verbs() == ["EHLO", "HELO", "MAIL", "RCPT", "DATA"]


async def test_a_mail_larger_than_the_server_takes_is_not_begun() -> None:
    async with mail_bench(offers=("SIZE 2000",)) as bench:
        outcome = await bench.send(saying("long ", times=1_000))
        assert (outcome.ending, outcome.shorten) == (Ending.REFUSED, True)
        assert "takes mails of at most 2,000 bytes" in outcome.detail
        assert "MAIL" not in bench.server.verbs()
        assert (await bench.send(saying("long ", times=1_000).short())).ending is Ending.DELIVERED


@pytest.mark.parametrize("offer", ["SIZE", "SIZE 0", "SIZE lots", "SIZE -1", "SIZE " + "9" * 5_000])
async def test_a_server_that_names_no_size_takes_any(offer: str) -> None:
    async with mail_bench(offers=(offer,)) as bench:
        assert (await bench.send()).ending is Ending.DELIVERED


# -- encryption and login ----------------------------------------------------------------------------------


async def test_starttls_comes_before_login_and_mail() -> None:
    certificates = Certificates()
    async with mail_bench(
        SmtpTls.STARTTLS, certificates, tls=certificates.server, users={"relay": PASSWORD}
    ) as bench:
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.verbs() == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"]
        assert bench.server.mails[0].encrypted


async def test_smtps_is_encrypted_from_the_first_byte() -> None:
    certificates = Certificates()
    async with mail_bench(
        SmtpTls.IMPLICIT,
        certificates,
        tls=certificates.server,
        implicit=True,
        users={"relay": PASSWORD},
    ) as bench:
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.mails[0].encrypted
        assert bench.server.mails[0].user == "relay"


async def test_nothing_goes_out_where_starttls_is_not_offered() -> None:
    async with mail_bench(SmtpTls.STARTTLS, Certificates(), users={"relay": PASSWORD}) as bench:
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN
        assert "does not offer STARTTLS" in outcome.detail
        assert bench.server.verbs() == ["EHLO"]


@pytest.mark.parametrize(
    ("step", "ending"),
    [
        ("454 4.7.0 not now", Ending.LATER),
        ("502 5.5.1 never", Ending.DESTINATION_BROKEN),
        ("220 go\r\nthis is no TLS", Ending.LATER),
        ("nonsense", Ending.LATER),
        (DROP, Ending.LATER),
        (HANG, Ending.LATER),
        ("421 4.3.2 closing", Ending.LATER),
    ],
)
async def test_nothing_goes_out_where_starttls_fails(step: Step, ending: Ending) -> None:
    certificates = Certificates()
    async with mail_bench(
        SmtpTls.STARTTLS, certificates, tls=certificates.server, hurried=step is HANG
    ) as bench:
        bench.server.at("starttls", step)
        assert (await bench.send()).ending is ending
        assert set(bench.server.verbs()) <= {"EHLO", "STARTTLS"}


@pytest.mark.parametrize("implicit", [True, False])
async def test_a_certificate_of_an_unknown_authority_breaks_the_destination(
    implicit: bool,
) -> None:
    way = SmtpTls.IMPLICIT if implicit else SmtpTls.STARTTLS
    stranger = Certificates()
    async with mail_bench(way, Certificates(), tls=stranger.server, implicit=implicit) as bench:
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN
        assert "certificate that can't be trusted" in outcome.detail
        assert bench.server.mails == []


async def test_a_certificate_for_another_name_breaks_the_destination() -> None:
    certificates = Certificates()
    other: ssl.SSLContext = certificates.server_for("mail.example.com")
    async with mail_bench(SmtpTls.IMPLICIT, certificates, tls=other, implicit=True) as bench:
        assert (await bench.send()).ending is Ending.DESTINATION_BROKEN


@pytest.mark.parametrize("mechanisms", ["PLAIN LOGIN", "LOGIN CRAM-MD5", "PLAIN"])
async def test_it_logs_in_by_what_the_server_offers(mechanisms: str) -> None:
    async with mail_bench(users={"relay": PASSWORD}, mechanisms=mechanisms) as bench:
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.mails[0].user == "relay"


async def test_a_wrong_password_is_tried_once_per_attempt() -> None:
    async with mail_bench(users={"relay": "another"}, mechanisms="CRAM-MD5 PLAIN LOGIN") as bench:
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN
        assert "the login with 535 5.7.8 wrong user name or password" in outcome.detail
        assert bench.server.verbs().count("AUTH") == 1


def password_tries(bench: MailBench) -> list[str]:
    """The mechanisms that were begun, in their order."""
    return [line.split()[1] for _, line in bench.server.commands if line.startswith("AUTH ")]


@pytest.mark.parametrize(
    "reply",
    [
        "504 5.5.4 Unrecognized authentication type",
        "534 5.7.9 Authentication mechanism is too weak",
        "538 5.7.11 Encryption required for requested authentication mechanism",
        "500 5.5.2 what?",
        "501 5.5.4 cannot decode",
        "502 5.5.1 not implemented",
        "535 5.7.8 Error: authentication failed: no mechanism available",
        "535 unsupported authentication method",
        "550 5.7.1 mechanism PLAIN is disabled",
    ],
)
async def test_a_refused_mechanism_is_followed_by_the_next(reply: str) -> None:
    async with mail_bench(users={"relay": PASSWORD}) as bench:
        bench.server.at("auth", reply)
        assert (await bench.send()).ending is Ending.DELIVERED
        assert password_tries(bench) == ["PLAIN", "LOGIN"]
        assert bench.server.connections == 1


@pytest.mark.parametrize(
    "reply",
    [
        "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6",
        "535 5.7.8 Username and Password not accepted",
        "535 Incorrect authentication data",
        "530 5.7.0 Must issue a STARTTLS command first",
        "550 5.7.30 basic authentication is not supported",
        "454 4.7.0 Temporary authentication failure",
        "421 4.3.2 closing",
    ],
)
async def test_any_other_refusal_of_a_login_is_the_only_one(reply: str) -> None:
    async with mail_bench(users={"relay": PASSWORD}) as bench:
        bench.server.at("auth", reply, times=None)
        await bench.send()
        assert password_tries(bench) == ["PLAIN"]


async def test_where_no_mechanism_is_taken_the_last_refusal_is_told() -> None:
    async with mail_bench(users={"relay": PASSWORD}) as bench:
        bench.server.at("auth", "504 5.5.4 not PLAIN", "535 5.7.8 wrong password")
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN
        assert "535 5.7.8 wrong password" in outcome.detail


async def test_a_server_that_says_the_password_back_is_not_quoted() -> None:
    coded = base64.b64encode(f"\0relay\0{PASSWORD}".encode()).decode()
    async with mail_bench(users={"relay": PASSWORD}) as bench:
        bench.server.at("auth", f"535 5.7.8 bad: AUTH PLAIN {coded} is {PASSWORD}")
        assert (await bench.send()).detail.endswith("bad: AUTH PLAIN *** is ***")


async def test_a_server_that_takes_no_passwords_breaks_the_destination() -> None:
    async with mail_bench(users={"relay": PASSWORD}, mechanisms="XOAUTH2 NTLM") as bench:
        outcome = await bench.send()
        assert outcome.ending is Ending.DESTINATION_BROKEN
        assert "it offers XOAUTH2, NTLM" in outcome.detail
        assert "AUTH" not in bench.server.verbs()


# -- every answer, at every stage --------------------------------------------------------------------------

LATER, REFUSED = Ending.LATER, Ending.REFUSED
BROKEN, MAYBE = Ending.DESTINATION_BROKEN, Ending.MAYBE_DELIVERED
FIVE_MINUTES = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("stage", "step", "ending"),
    [
        ("greeting", "421 4.3.2 closing", LATER),
        ("greeting", "554 5.7.1 your address is on a list", BROKEN),
        ("greeting", "554 no SMTP service here", LATER),
        ("greeting", "hello", LATER),
        ("greeting", DROP, LATER),
        ("greeting", HANG, LATER),
        ("ehlo", "421 4.3.2 closing", LATER),
        ("ehlo", "nonsense", LATER),
        ("ehlo", DROP, LATER),
        ("ehlo", HANG, LATER),
        ("ehlo", "250-" + "x" * 40_000, LATER),
        ("auth", "454 4.7.0 temporary failure", LATER),
        ("auth", "421 4.3.2 closing", LATER),
        ("auth", "530 5.7.0 must issue STARTTLS first", BROKEN),
        ("auth", "534 5.7.9 mechanism too weak", BROKEN),
        ("auth", "535 5.7.8 wrong", BROKEN),
        ("auth", "538 5.7.11 encryption required", BROKEN),
        ("auth", "550 5.7.30 basic authentication is not supported", BROKEN),
        ("auth", DROP, LATER),
        ("auth", HANG, LATER),
        ("mail", "421 4.3.2 closing", LATER),
        ("mail", "451 4.3.0 later", LATER),
        ("mail", "452 4.3.1 disk full", LATER),
        ("mail", "530 5.7.0 log in first", BROKEN),
        ("mail", "550 5.7.1 not your address", BROKEN),
        ("mail", "550 5.4.5 daily limit", LATER),
        ("mail", "nonsense", LATER),
        ("mail", DROP, LATER),
        ("mail", HANG, LATER),
        ("rcpt", "421 4.3.2 closing", LATER),
        ("rcpt", "450 4.2.1 mailbox busy", LATER),
        ("rcpt", "452 4.5.3 too many recipients", LATER),
        ("rcpt", "550 5.1.1 no such user", REFUSED),
        ("rcpt", "551 5.1.6 moved", REFUSED),
        ("rcpt", "552 5.2.2 mailbox full", REFUSED),
        ("body", "552 5.2.2 mailbox full", REFUSED),
        ("rcpt", "553 5.1.3 bad address", REFUSED),
        ("rcpt", "530 5.7.0 log in first", BROKEN),
        ("rcpt", "nonsense", LATER),
        ("rcpt", DROP, LATER),
        ("rcpt", HANG, LATER),
        ("data", "421 4.3.2 closing", LATER),
        ("data", "451 4.3.0 later", LATER),
        ("data", "554 5.5.1 no valid recipients", REFUSED),
        ("data", "250 what?", LATER),
        ("data", "nonsense", LATER),
        ("data", DROP, LATER),
        ("data", HANG, LATER),
        ("body", "421 4.3.2 closing", LATER),
        ("body", "451 4.3.0 later", LATER),
        ("body", "452 4.3.1 disk full", LATER),
        ("body", "550 5.7.1 spam", REFUSED),
        ("body", "554 5.7.1 spam", REFUSED),
        ("body", "550 5.7.60 you may not send as this user", BROKEN),
        ("body", "251 well", MAYBE),
        ("body", "nonsense", MAYBE),
        ("body", DROP, MAYBE),
        ("body", HANG, MAYBE),
    ],
)
@pytest.mark.parametrize("offers", [(), PIPELINING], ids=["one by one", "at once"])
@pytest.mark.long
async def test_each_answer_ends_the_attempt_as_the_table_says(
    offers: tuple[str, ...], stage: str, step: Step, ending: Ending
) -> None:
    async with mail_bench(users={"relay": PASSWORD}, hurried=step is HANG, offers=offers) as bench:
        bench.server.at(stage, step, times=None)
        outcome = await bench.send()
        assert outcome.ending is ending, outcome
        assert outcome.shorten is False
        if isinstance(step, str) and step[:3].isdigit() and len(step) < 100:
            assert step.split(maxsplit=1)[1] in outcome.detail
        bench.server.as_usual()
        assert (await bench.send()).ending is Ending.DELIVERED


@pytest.mark.parametrize(
    ("stage", "reply"),
    [
        ("mail", "552 5.3.4 too large"),
        ("body", "552 too large"),
        ("body", "552 5.3.4 too large"),
        ("body", "554 5.6.0 malformed"),
        ("rcpt", "552 5.3.4 too large for this mailbox"),
    ],
)
async def test_a_mail_refused_for_its_size_or_form_may_be_sent_in_short(
    stage: str, reply: str
) -> None:
    async with mail_bench() as bench:
        bench.server.at(stage, reply)
        outcome = await bench.send()
        assert (outcome.ending, outcome.shorten) == (REFUSED, True)


@pytest.mark.parametrize("stage", ["mail", "rcpt", "body"])
async def test_greylisting_waits_for_minutes(stage: str) -> None:
    async with mail_bench(offers=PIPELINING) as bench:
        bench.server.at(stage, "450 4.7.1 greylisted, come back")
        outcome = await bench.send()
        assert (outcome.ending, outcome.after) == (LATER, FIVE_MINUTES)


@pytest.mark.parametrize(
    ("stage", "reply", "only_this"),
    [
        ("rcpt", "452 4.2.2 mailbox full", True),
        ("rcpt", "450 4.7.1 greylisted", True),
        ("rcpt", "452 4.3.1 disk full", False),
        ("rcpt", "421 4.3.2 closing", False),
        ("mail", "451 4.3.0 later", False),
        ("body", "451 4.3.0 later", False),
    ],
)
async def test_a_mailbox_that_is_not_ready_says_nothing_about_the_others(
    stage: str, reply: str, only_this: bool
) -> None:
    async with mail_bench() as bench:
        bench.server.at(stage, reply)
        assert (await bench.send()).only_this is only_this


# -- connections -------------------------------------------------------------------------------------------


async def test_mails_one_after_another_share_a_connection() -> None:
    async with mail_bench() as bench:
        for _ in range(5):
            await bench.send()
        assert bench.server.connections == 1


async def test_no_more_than_four_connections_are_open_at_a_time() -> None:
    async with mail_bench() as bench:
        await asyncio.gather(*(bench.send() for _ in range(30)))
        assert len(bench.server.mails) == 30
        assert bench.server.connections <= 4


@pytest.mark.parametrize("step", ["421 4.4.2 idle for too long", "451 4.5.0 too many mails", DROP])
async def test_a_kept_connection_that_has_gone_stale_is_replaced_unseen(step: Step) -> None:
    async with mail_bench() as bench:
        await bench.send()
        bench.server.at("mail", step)
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.connections == 2


async def test_a_stale_connection_is_replaced_once_and_no_more() -> None:
    async with mail_bench() as bench:
        await bench.send()
        bench.server.at("mail", "451 4.3.0 later", times=2)
        assert (await bench.send()).ending is LATER
        assert bench.server.connections == 2


async def test_a_connection_that_the_server_closed_is_not_used() -> None:
    async with mail_bench() as bench:
        await bench.send()
        for task in tuple(bench.server._tasks):
            task.cancel()
        await bench.server.until(lambda: bench.server.open_connections == 0)
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.connections == 2


async def test_a_refusal_is_told_though_the_reset_after_it_hangs() -> None:
    async with mail_bench(hurried=True) as bench:
        bench.server.at("rset", HANG, times=None).at("rcpt", "550 5.1.1 no such user")
        outcome = await bench.send()
        assert outcome.ending is REFUSED
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.connections == 2


async def test_a_connection_is_reset_after_a_refusal_and_used_again() -> None:
    async with mail_bench() as bench:
        bench.server.at("rcpt", "550 5.1.1 no such user")
        await bench.send()
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.connections == 1
        assert "RSET" in bench.server.verbs()


@pytest.mark.parametrize(
    "step", [HANG, DROP, "421 4.4.2 idle for too long", "500 5.5.2 what?", "nonsense"]
)
async def test_a_connection_left_for_long_is_asked_before_it_is_used(step: Step) -> None:
    async with mail_bench(limits=PoolLimits(doubtful=0), hurried=step is HANG) as bench:
        await bench.send()
        bench.server.at("rset", step)
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.connections == 2


async def test_a_connection_carries_only_so_many_mails() -> None:
    async with mail_bench(limits=PoolLimits(mails=2)) as bench:
        for _ in range(5):
            await bench.send()
        assert bench.server.connections == 3
        assert bench.server.verbs(1).count("MAIL") == 2


@pytest.mark.parametrize("limits", [PoolLimits(age=0), PoolLimits(idle=0)])
async def test_a_connection_too_old_or_idle_for_too_long_is_left(limits: PoolLimits) -> None:
    async with mail_bench(limits=limits) as bench:
        await bench.send()
        await bench.send()
        assert bench.server.connections == 2


async def test_an_idle_connection_is_left_without_waiting_for_the_next_mail() -> None:
    async with mail_bench(limits=PoolLimits(idle=0.05)) as bench:
        await bench.send()
        await bench.server.until(lambda: bench.server.open_connections == 0)
        assert bench.server.verbs()[-1] == "QUIT"


async def test_a_server_that_takes_one_connection_only_gets_all_mails() -> None:
    async with mail_bench(most_connections=1) as bench:
        outcomes: list[Outcome] = await asyncio.gather(*(bench.send() for _ in range(10)))
        assert {outcome.ending for outcome in outcomes} == {Ending.DELIVERED}
        assert len(bench.server.mails) == 10


async def test_closing_takes_leave_of_the_server() -> None:
    async with mail_bench() as bench:
        await bench.send()
        await bench.access.close()
        await bench.server.until(lambda: bench.server.open_connections == 0)
        assert bench.server.verbs()[-1] == "QUIT"
