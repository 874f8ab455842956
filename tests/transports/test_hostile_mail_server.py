"""Mail servers that are broken, odd or up to no good: bounded, sorted by the table, and nothing out of step."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest

from relay.delivery.attempt import LONGEST_ATTEMPT
from relay.outbox.leases import LEASE
from relay.settings.smtp import SmtpTls
from relay.transports import Ending
from relay.transports.email.pool import PoolLimits
from relay.transports.email.smtp_client import SmtpTimeouts
from tests.servers import (
    DROP,
    HANG,
    PATIENCE,
    Certificates,
    Dripping,
    Endless,
    Late,
    Midway,
    SmtpStep,
)
from tests.transports.contract import a_black_hole, names_lead_to
from tests.transports.examples import MISSED, saying, typed
from tests.transports.test_email import PASSWORD, mail_bench

LATER, REFUSED = Ending.LATER, Ending.REFUSED
BROKEN, MAYBE = Ending.DESTINATION_BROKEN, Ending.MAYBE_DELIVERED

OFFERS = ((), ("PIPELINING",))
WAYS = ("one by one", "at once")
STAGES = ("greeting", "ehlo", "auth", "mail", "rcpt", "data", "body")


def unsure_at(stage: str) -> Ending:
    """How an attempt ends whose answer can't be used there."""
    return MAYBE if stage == "body" else LATER


# -- answers without end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "step",
    [Endless("250-and more\r\n"), Endless("250-and more"), "250-" + "x" * 1_000_000],
    ids=["lines without end", "a line without end", "a line of a megabyte"],
)
async def test_an_answer_without_end_is_cut_off(stage: str, step: SmtpStep) -> None:
    async with mail_bench(users={"relay": PASSWORD}) as bench:
        bench.server.at(stage, step)
        outcome = await bench.send()
        assert outcome.ending is unsure_at(stage), outcome
        assert len(outcome.detail) <= 300
        await bench.server.until(lambda: bench.server.open_connections == 0)
        assert (await bench.send()).ending is Ending.DELIVERED


@pytest.mark.parametrize("stage", STAGES)
async def test_an_answer_that_comes_byte_by_byte_is_waited_for_no_longer_than_any_other(
    stage: str,
) -> None:
    async with mail_bench(users={"relay": PASSWORD}, hurried=True) as bench:
        bench.server.at(stage, Dripping("250-"))
        outcome = await bench.send()
        assert outcome.ending is unsure_at(stage), outcome
        assert "within 20 s" in outcome.detail
        assert (await bench.send()).ending is Ending.DELIVERED


async def test_a_server_that_reads_nothing_of_a_large_mail_may_have_it() -> None:
    async with mail_bench(hurried=True, offers=()) as bench:
        bench.server.at("reading", HANG)
        outcome = await bench.send(saying("long " * 1_000, times=4_000))
        assert outcome.ending is MAYBE
        await bench.server.until(lambda: bench.server.open_connections == 0)


async def test_a_yes_before_the_whole_mail_was_read_is_none() -> None:
    async with mail_bench(offers=()) as bench:
        bench.server.at("reading", Midway("250 2.0.0 queued"))
        outcome = await bench.send(saying("long " * 1_000, times=4_000))
        assert outcome.ending is MAYBE
        assert "before it had the whole mail" in outcome.detail
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.connections == 2


async def test_nothing_more_of_a_mail_goes_out_after_it_was_refused() -> None:
    """A server that has stopped reading it would take what a visitor wrote for commands."""
    async with mail_bench(offers=()) as bench:
        bench.server.at("reading", Midway("552 5.3.4 too large"))
        outcome = await bench.send(saying("long " * 1_000, times=4_000))
        assert (outcome.ending, outcome.shorten) == (REFUSED, True)
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.connections == 2


@pytest.mark.parametrize("more", ["421 4.4.2 idle for too long", "250 2.0.0 queued", "hello"])
async def test_a_server_that_goes_on_talking_is_left_though_it_has_taken_the_mail(
    more: str,
) -> None:
    async with mail_bench() as bench:
        bench.server.at("body", f"250 2.0.0 queued\r\n{more}")
        assert (await bench.send()).ending is Ending.DELIVERED
        await bench.server.until(lambda: bench.server.open_connections == 0)
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.connections == 2


async def test_a_refusal_in_the_middle_of_a_mail_is_that_refusal() -> None:
    async with mail_bench() as bench:
        bench.server.at("reading", "552 5.3.4 too large")
        outcome = await bench.send()
        assert (outcome.ending, outcome.shorten) == (REFUSED, True)


# -- odd answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "step", "ending"),
    [
        ("greeting", "220", Ending.DELIVERED),
        ("greeting", "SSH-2.0-OpenSSH_9.6", LATER),
        ("greeting", "\udcff\udcfe\udcfd", LATER),
        ("greeting", "354 go on", LATER),
        ("greeting", "220 one\r\n220 two", LATER),
        ("ehlo", "450 4.3.2 not now", LATER),
        ("auth", "500 5.5.2 what?", BROKEN),
        ("auth", "334 ", LATER),
        ("auth", "nonsense", LATER),
        ("mail", "999 what", LATER),
        ("mail", "-42 what", LATER),
        ("mail", "250 ok\r\n250 ok", LATER),
        ("rcpt", "550-5.1.1 no\r\n250 yes", LATER),
        ("mail", "550 5.7.30 basic authentication is not supported", BROKEN),
        ("rcpt", "550 5.7.30 basic authentication is not supported", BROKEN),
        ("rcpt", "550 5.7.57 client not authenticated", BROKEN),
        ("rcpt", "550 5.4.5 daily limit", LATER),
        ("rcpt", "501 5.1.3 bad address", REFUSED),
        ("data", "535 5.7.139 basic authentication is off", BROKEN),
        ("data", "354-go\r\n354 on", Ending.DELIVERED),
        ("data", "354 go on\r\n354 go on", LATER),
        ("data", "354 go on\r\n250 2.0.0 queued", LATER),
        ("data", "354 go on\r\n451 4.3.0 later", LATER),
        ("data", "354 go on\r\n550 5.7.1 no", REFUSED),
        ("body", "250", Ending.DELIVERED),
        ("body", "250-well\r\n250 2.0.0 done", Ending.DELIVERED),
        ("body", "550 5.1.1 caf\udce9", REFUSED),
        ("body", "550 5.4.5 daily limit", LATER),
        ("body", "550 5.7.30 basic authentication is not supported", BROKEN),
        ("body", "354 go on", MAYBE),
        ("body", "99", MAYBE),
        ("body", "999 what", MAYBE),
        ("body", "2500 what", MAYBE),
        ("body", "+250 what", MAYBE),
        ("body", "550-5.7.1 no\r\n250 2.0.0 queued", MAYBE),
        ("body", "250-2.0.0 queued\r\n550 5.7.1 no", MAYBE),
    ],
)
@pytest.mark.parametrize("offers", OFFERS, ids=WAYS)
async def test_odd_answers_are_sorted_too(
    offers: tuple[str, ...], stage: str, step: str, ending: Ending
) -> None:
    async with mail_bench(users={"relay": PASSWORD}, offers=offers) as bench:
        bench.server.at(stage, step, times=None)
        outcome = await bench.send()
        assert outcome.ending is ending, outcome
        outcome.detail.encode()  # no half of a letter, which no database takes
        assert outcome.detail.isprintable()


@pytest.mark.parametrize(
    "reply",
    [
        "450 4.2.0 <anna@example.com>: Recipient address rejected: Greylisted, see http://x",
        "451 4.7.1 Greylisting in action, please come back later",
        "450 graylisted for 300 seconds",
        "421 4.7.0 try again later",
        "451 4.7.500 server busy",
    ],
)
async def test_every_form_of_greylisting_waits_for_five_minutes(reply: str) -> None:
    async with mail_bench() as bench:
        bench.server.at("rcpt", reply)
        outcome = await bench.send()
        assert (outcome.ending, outcome.after) == (LATER, timedelta(minutes=5))


@pytest.mark.parametrize("step", [DROP, HANG, "421 4.3.2 closing", "nonsense"])
async def test_whatever_a_server_does_at_the_goodbye_it_has_the_mail(step: SmtpStep) -> None:
    async with mail_bench(limits=PoolLimits(mails=1), hurried=step is HANG) as bench:
        bench.server.at("quit", step, times=None)
        assert [(await bench.send()).ending for _ in range(2)] == [Ending.DELIVERED] * 2
        assert len(bench.server.mails) == 2
        await bench.server.until(lambda: bench.server.open_connections == 0)


@pytest.mark.parametrize("reply", ["502 5.5.1 what?", "421 4.3.2 closing", DROP])
async def test_a_server_that_takes_neither_greeting_gets_no_mail_for_now(reply: SmtpStep) -> None:
    async with mail_bench() as bench:
        bench.server.at("ehlo", "502 5.5.1 what?").at("helo", reply)
        assert (await bench.send()).ending is LATER
        assert bench.server.verbs() == ["EHLO", "HELO"]


async def test_a_server_that_can_do_nothing_but_ascii_gets_every_letter() -> None:
    async with mail_bench(offers=()) as bench:
        await bench.send(typed("Příliš žluťoučký kůň 🐴 Где мой заказ?"))
        (mail,) = bench.server.mails
        assert mail.data.isascii()
        assert max(map(len, mail.data.split(b"\r\n"))) <= 998
        assert "Příliš žluťoučký kůň 🐴 Где мой заказ?" in mail.part("plain")
        assert [line for _, line in bench.server.commands if "BODY=" in line] == []


# -- slow servers ------------------------------------------------------------------------------------------


def test_a_server_has_the_time_that_the_standard_gives_it() -> None:
    """RFC 5321 4.5.3.2. And an attempt that takes the longest is over before it is cut off or taken back."""
    times, limits = SmtpTimeouts(), PoolLimits()
    assert (times.greeting, times.command, times.data, times.end_of_data) == (300, 300, 120, 600)
    assert timedelta(seconds=limits.begin + times.end_of_data) < LONGEST_ATTEMPT < LEASE
    one_mail = times.connect + times.greeting + 3 * times.command + times.data
    assert one_mail < limits.begin


@pytest.mark.parametrize(
    ("stage", "time"),
    [
        ("greeting", "greeting"),
        ("ehlo", "command"),
        ("auth", "command"),
        ("mail", "command"),
        ("rcpt", "command"),
        ("data", "data"),
        ("body", "end_of_data"),
    ],
)
async def test_each_answer_has_a_time_of_its_own(stage: str, time: str) -> None:
    """It is waited for as long as that, and no other time ends it."""
    changed: dict[str, Any] = {time: PATIENCE}
    limits = SmtpTimeouts(**changed)
    async with mail_bench(users={"relay": PASSWORD}, timeouts=limits, hurried=True) as bench:
        bench.server.at(stage, HANG)
        outcome = await bench.send()
        assert outcome.ending is unsure_at(stage)
        assert "within 20 s" in outcome.detail


@pytest.mark.parametrize("stage", ["greeting", "mail", "rcpt", "data", "body"])
async def test_an_answer_may_take_longer_than_a_connection(stage: str) -> None:
    go_on = asyncio.Event()
    async with mail_bench(timeouts=SmtpTimeouts(connect=PATIENCE), hurried=True) as bench:
        bench.server.at(stage, Late(go_on))
        mail = asyncio.create_task(bench.send())
        await bench.server.until(lambda: bench.server.hung == 1)
        assert bench.server.clock is not None
        bench.server.clock.forward(2 * PATIENCE)
        done, _ = await asyncio.wait([mail], timeout=0.1)
        assert not done
        go_on.set()
        assert (await mail).ending is Ending.DELIVERED


async def test_a_mail_that_could_not_be_begun_in_all_its_time_is_surely_not_sent() -> None:
    limits = PoolLimits(begin=PATIENCE, connections=1)
    async with mail_bench(limits=limits, hurried=True) as bench:
        bench.server.at("rcpt", HANG, times=2)
        outcomes = await asyncio.gather(bench.send(), bench.send())
        assert {outcome.ending for outcome in outcomes} == {LATER}
        assert "was not ready for the mail within" in outcomes[1].detail
        await bench.server.until(lambda: bench.server.open_connections == 0)
        bench.server.as_usual()
        assert (await bench.send()).ending is Ending.DELIVERED


async def test_the_time_for_the_beginning_does_not_end_the_wait_for_the_last_answer() -> None:
    go_on = asyncio.Event()
    limits, timeouts = PoolLimits(begin=PATIENCE), SmtpTimeouts()
    async with mail_bench(limits=limits, timeouts=timeouts, hurried=True) as bench:
        await bench.send()
        bench.server.at("body", Late(go_on))
        mail = asyncio.create_task(bench.send())
        await bench.server.until(lambda: bench.server.hung == 1)
        assert bench.server.clock is not None
        bench.server.clock.forward(3 * PATIENCE)
        done, _ = await asyncio.wait([mail], timeout=0.1)
        assert not done
        go_on.set()
        assert (await mail).ending is Ending.DELIVERED


async def test_the_commonest_mistake_is_told_after_seconds() -> None:
    """Port 465 without encryption from the first byte: nobody ever greets there."""
    certificates = Certificates()
    async with mail_bench(
        SmtpTls.STARTTLS,
        certificates,
        tls=certificates.server,
        implicit=True,
        timeouts=SmtpTimeouts(connect=3),  # the connection itself has to be made within
        is_encrypted_port=True,
    ) as bench:
        outcome = await bench.send()
        assert outcome.ending is LATER
        assert "smtps://" in outcome.detail


# -- encryption and login ----------------------------------------------------------------------------------


async def test_what_is_slipped_in_before_the_encryption_is_not_believed() -> None:
    certificates = Certificates()
    injected = "\r\n250-test\r\n250-SIZE 10\r\n250 AUTH XOAUTH2"
    async with mail_bench(
        SmtpTls.STARTTLS,
        certificates,
        tls=certificates.server,
        users={"relay": PASSWORD},
        injected=injected,
    ) as bench:
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.mails[0].encrypted


async def test_what_a_server_offers_is_read_though_it_says_no_name() -> None:
    certificates = Certificates()
    async with mail_bench(SmtpTls.STARTTLS, certificates, tls=certificates.server) as bench:
        bench.server.at("ehlo", "250-\r\n250 STARTTLS")
        assert (await bench.send()).ending is Ending.DELIVERED


async def test_what_was_offered_in_clear_text_does_not_count_after_the_encryption() -> None:
    certificates = Certificates()
    async with mail_bench(
        SmtpTls.STARTTLS, certificates, tls=certificates.server, offers=("SIZE 10",)
    ) as bench:
        bench.server.at("ehlo", "250-test\r\n250-SIZE 10\r\n250 STARTTLS", "502 5.5.1 what?")
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.verbs()[:4] == ["EHLO", "STARTTLS", "EHLO", "HELO"]


async def test_encryption_from_the_first_byte_with_a_server_that_has_none_breaks_the_destination() -> (
    None
):
    async with mail_bench(SmtpTls.IMPLICIT, Certificates()) as bench:
        outcome = await bench.send()
        assert outcome.ending is BROKEN
        assert "smtp+starttls://" in outcome.detail


async def test_a_server_that_drops_the_line_instead_of_encrypting_it_is_told_of() -> None:
    async with mail_bench(SmtpTls.IMPLICIT, Certificates()) as bench:
        bench.server.at("greeting", DROP)
        outcome = await bench.send()
        assert outcome.ending is LATER
        assert re.fullmatch(r"127\.0\.0\.1 could not be reached: \w.+", outcome.detail)


async def test_a_server_that_waits_for_encryption_is_told_of_by_a_hint() -> None:
    certificates = Certificates()
    async with mail_bench(
        SmtpTls.STARTTLS,
        certificates,
        tls=certificates.server,
        implicit=True,
        timeouts=SmtpTimeouts(greeting=0.3),
    ) as bench:
        outcome = await bench.send()
        assert outcome.ending is LATER
        assert "smtps://" in outcome.detail


async def test_a_password_in_any_letters_is_understood() -> None:
    async with mail_bench(users={"relay": "žluťoučký 🐴"}, password="žluťoučký 🐴") as bench:
        assert (await bench.send()).ending is Ending.DELIVERED


async def test_many_mails_with_a_wrong_password_are_one_login() -> None:
    async with mail_bench(users={"relay": "another"}, limits=PoolLimits()) as bench:
        outcomes = await asyncio.gather(*(bench.send() for _ in range(8)))
        assert {outcome.ending for outcome in outcomes} == {BROKEN}
        assert {outcome.detail for outcome in outcomes} == {
            "127.0.0.1 answered the login with 535 5.7.8 wrong user name or password"
        }
        assert bench.server.verbs().count("AUTH") == 1


async def test_a_refused_login_is_not_tried_again_for_a_minute_by_any_destination() -> None:
    now = [1000.0]
    async with mail_bench(
        users={"relay": "another"}, limits=PoolLimits(), clock=lambda: now[0]
    ) as bench:
        await bench.send()
        now[0] += 59
        assert (await bench.send()).ending is BROKEN
        assert bench.server.verbs().count("AUTH") == 1
        now[0] += 2
        await bench.send()
        assert bench.server.verbs().count("AUTH") == 2
        bench.server.users["relay"] = PASSWORD
        now[0] += 61
        assert (await bench.send()).ending is Ending.DELIVERED


@pytest.mark.parametrize("reply", ["454 4.7.0 not now", "421 4.3.2 closing"])
async def test_a_login_put_off_is_tried_again_by_the_next_mail(reply: str) -> None:
    async with mail_bench(users={"relay": PASSWORD}) as bench:
        bench.server.at("auth", reply)
        assert (await bench.send()).ending is LATER
        assert (await bench.send()).ending is Ending.DELIVERED


# -- connections -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offers", OFFERS, ids=WAYS)
@pytest.mark.parametrize("stage", STAGES)
async def test_a_connection_that_was_cancelled_at_any_stage_is_left_and_never_used_again(
    stage: str, offers: tuple[str, ...]
) -> None:
    async with mail_bench(users={"relay": PASSWORD}, offers=offers) as bench:
        bench.server.at(stage, HANG)
        attempt = asyncio.create_task(bench.send())
        await bench.server.until(lambda: bench.server.hung == 1)
        attempt.cancel()
        await asyncio.wait([attempt])
        assert attempt.cancelled()
        await bench.server.until(lambda: bench.server.open_connections == 0)
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.connections == 2
        assert [mail.connection for mail in bench.server.mails] == [2]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_connection_that_was_waited_for_in_vain_is_left_and_never_used_again(
    stage: str,
) -> None:
    async with mail_bench(users={"relay": PASSWORD}, hurried=True) as bench:
        bench.server.at(stage, HANG)
        assert (await bench.send()).ending is unsure_at(stage)
        await bench.server.until(lambda: bench.server.open_connections == 0)
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.connections == 2


@pytest.mark.parametrize(
    ("stage", "reply"), [("mail", "354 go on"), ("rcpt", "354 go on"), ("body", "354 go on")]
)
async def test_a_server_that_seems_to_wait_for_a_mail_hears_nothing_more(
    stage: str, reply: str
) -> None:
    async with mail_bench() as bench:
        bench.server.at(stage, reply)
        assert (await bench.send()).ending is unsure_at(stage)
        await bench.server.until(lambda: bench.server.open_connections == 0)
        assert (await bench.send()).ending is Ending.DELIVERED
        assert bench.server.connections == 2


@pytest.mark.parametrize("turned_away", ["421 4.7.0 too many", "554 5.7.0 too many", DROP])
async def test_however_a_server_turns_the_second_connection_away_all_mails_arrive(
    turned_away: SmtpStep,
) -> None:
    async with mail_bench(most_connections=1, turned_away=turned_away) as bench:
        outcomes = await asyncio.gather(*(bench.send() for _ in range(10)))
        assert {outcome.ending for outcome in outcomes} == {Ending.DELIVERED}
        assert len(bench.server.mails) == 10


async def test_a_server_that_turns_the_second_connection_away_at_the_login_gets_all_mails() -> None:
    async with mail_bench(users={"relay": PASSWORD}) as bench:
        await bench.send()
        bench.server.at("auth", "421 4.7.0 too many sessions", times=None)
        outcomes = await asyncio.gather(*(bench.send() for _ in range(6)))
        assert {outcome.ending for outcome in outcomes} == {Ending.DELIVERED}


async def test_an_outage_is_told_to_all_that_wait_at_once() -> None:
    async with mail_bench() as bench:
        bench.server.at("greeting", "421 4.3.2 closing", times=None)
        outcomes = await asyncio.gather(*(bench.send() for _ in range(8)))
        assert {outcome.ending for outcome in outcomes} == {LATER}
        bench.server._always.clear()
        assert (await bench.send()).ending is Ending.DELIVERED


async def test_a_name_that_no_dns_knows_is_for_later() -> None:
    async with mail_bench(host="mail.nowhere.invalid") as bench:
        outcome = await bench.send()
        assert outcome.ending is LATER
        assert outcome.detail.startswith("mail.nowhere.invalid could not be reached: ")


async def test_a_server_that_takes_no_connection_and_refuses_none_is_for_later() -> None:
    async with mail_bench(host="127.0.0.2", timeouts=SmtpTimeouts(connect=0.3)) as bench:
        with a_black_hole("127.0.0.2", bench.server.port):
            outcome = await bench.send()
        assert (outcome.ending, outcome.detail) == (
            LATER,
            "127.0.0.2 could not be reached in time",
        )


async def test_an_address_that_swallows_connections_does_not_hide_the_servers_other_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with mail_bench(host="mail.example.com") as bench:
        port = bench.server.port

        names_lead_to(monkeypatch, ("127.0.0.2", port), ("127.0.0.1", port))
        with a_black_hole("127.0.0.2", port):
            outcome = await asyncio.wait_for(bench.send(MISSED), 10)
        assert outcome.ending is Ending.DELIVERED
