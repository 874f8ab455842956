"""What a refusal (5yz) is about, by the replies of real mail servers: us, one recipient, or one mail."""

from datetime import timedelta

import pytest

from relay.transports import Ending
from tests.transports.test_email import mail_bench

US = [
    # Postfix
    "554 5.7.1 <anna@example.com>: Relay access denied",
    "554 <anna@example.com>: Relay access denied",
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://www.spamhaus.org/sbl",
    "554 Service unavailable; Client host [192.0.2.1] blocked using bl.spamcop.net",
    "554 5.7.1 <relay>: Helo command rejected: Access denied",
    "504 5.5.2 <relay>: Helo command rejected: need fully-qualified hostname",
    "550 5.7.1 <relay>: Helo command rejected: Host not found",
    "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
    "550 5.7.25 Client host rejected: cannot find your reverse hostname, [192.0.2.1]",
    "553 5.7.1 <relay@example.org>: Sender address rejected: not owned by user relay",
    "553 5.7.1 <relay@example.org>: Sender address rejected: not logged in",
    "550 5.1.8 <relay@example.org>: Sender address rejected: Domain not found",
    "550 5.7.1 <relay@example.org>: Sender address rejected: undeliverable address: no such user",
    "550 5.7.23 <anna@example.com>: Recipient address rejected: Message rejected due to: SPF fail - not authorized",
    # Exim
    "550 relay not permitted",
    "550-Verification failed for <relay@example.org>\r\n550-No Such User Here\r\n550 Sender verify failed",
    "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
    "550-rejected because 192.0.2.1 is in a black list at zen.spamhaus.org\r\n550 https://www.spamhaus.org/query",
    "550-Please turn on SMTP Authentication in your mail client.\r\n550 relay.example.org is not permitted to relay",
    "550 Administrative prohibition",
    "550 authentication required",
    # Exchange, Microsoft 365, Outlook.com
    "550 5.7.1 Unable to relay",
    "550 5.7.1 Unable to relay for anna@example.com",
    "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
    "550 5.7.64 TenantAttribution; Relay Access Denied SMTP [x.eurprd01.prod.outlook.com]",
    "550 5.7.1 Client was not authenticated",
    "550 5.7.1 Client does not have permissions to send as this sender",
    "550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal from this list please visit x",
    "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP",
    "550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Spamhaus. To request removal see x (S3130)",
    "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Your IP is on our block list (S3150)",
    # Gmail
    "550-5.7.1 [192.0.2.1] The IP you're using to send mail is not authorized to\r\n550 5.7.1 send email directly",
    "550-5.7.0 Mail relay denied [192.0.2.1]. Please visit\r\n550 5.7.0 https://support.google.com/a/answer/6140680",
    "550-5.7.26 This mail has been blocked because the sender is unauthenticated.\r\n550 5.7.26 SPF and DKIM",
    # Sendmail
    "550 5.7.1 <anna@example.com>... Relaying denied. Proper authentication required.",
    "550 5.7.1 <anna@example.com>... Relaying denied. IP name lookup failed [192.0.2.1]",
    "553 5.1.8 <relay@example.org>... Domain of sender address relay@example.org does not exist",
    "550 5.7.1 Rejected: 192.0.2.1 listed at sbl-xbl.spamhaus.org",
    "553 5.3.0 <relay@example.org>... Mail from 192.0.2.1 refused by blackhole site",
    # qmail
    "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
    "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)",
    "553 sorry, your mailserver [192.0.2.1] is rejected by blocklist (#5.7.1)",
    # Others
    "513 Relaying denied.",
    "550 Relaying is prohibited",
    "550 we do not relay",
    "551 5.7.1 This system is not configured to relay mail",
    "554 5.7.1 Relay rejected for policy reasons",
    "550 5.7.1 access denied",
    "550 You must authenticate first",
    "503 5.7.0 Must log in first",
    "535 5.7.0 log in first",
    "530 5.7.0 Must issue a STARTTLS command first",
    "550 5.7.1 Mail from IP 192.0.2.1 was rejected due to listing in Spamhaus PBL",
    "553 5.7.1 [BL21] Connections not accepted from servers on Spamhaus PBL",
    "550 5.7.1 Your account has been suspended from sending",
    "550 5.7.0 denied by policy",
    "503 AUTH first (#5.5.1)",
    "503 5.5.4 Error: send AUTH command first",
    "550 The domain mg.example.org is not verified",
    # Amazon SES
    "554 Message rejected: Email address is not verified. The following identities failed the check: relay@example.org",
    "554 Transaction failed: Sending paused for this account.",
]

RECIPIENT = [
    "550 5.1.1 <anna@example.com>: Recipient address rejected: User unknown in virtual mailbox table",
    "550 5.1.1 <anna@example.com>: Recipient address rejected: User unknown in relay recipient table",
    "550 <anna@example.com>: Recipient address rejected: User unknown in relay recipient table",
    "554 5.7.1 <anna@example.com>: Recipient address rejected: Access denied",
    "550 5.2.1 The email account that you tried to reach is disabled",
    "552 5.2.2 mailbox full",
    "550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n550 5.1.1 double-checking",
    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient anna@example.com not found by SMTP address lookup",
    "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)",
    "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required",
    "550 5.7.124 Sender not in allowed-senders list",
    "550 5.7.1 RESOLVER.RST.NotAuthorized; not authorized",
    "550 5.1.1 <anna@example.com>... User unknown",
    "550 Unrouteable address",
    "550 No such user here",
    "550 Requested action not taken: mailbox unavailable",
    "553 Requested action not taken: mailbox name not allowed",
    "551 User not local; please try <anna@example.net>",
    "550 sorry, no mailbox here by that name. (#5.1.1 - chkusr)",
    "511 sorry, no mailbox here by that name (#5.1.1 - chkuser)",
    "550 #5.1.0 Address rejected.",
    "550 5.5.0 Requested action not taken: mailbox unavailable",
    "554 delivery error: dd This user doesn't have a yahoo.com account",
    "550 invalid recipient",
    "550 5.7.1 <anna@example.com>: user unknown",
    "550 5.7.17 Mailbox owner has changed",
    "554 User anna (anna@example.com) not listed in public Name & Address Book",
    "550 no",
]

MAIL = [
    "550 5.7.1 spam",
    "554 5.7.1 Spam message rejected",
    "554 5.7.1 Message rejected due to content restrictions",
    "550 5.7.1 Message content rejected, UBE, id=1",
    "550-5.7.1 [192.0.2.1 12] Our system has detected that this message is\r\n550 5.7.1 likely unsolicited mail",
    "554 5.7.1 Message contains a URL blocked using multi.surbl.org",
    "554 5.7.1 virus found",
    "554 5.7.1 [CS01] Message rejected due to local policy",
    "554 5.7.9 Message not accepted for policy reasons",
    "554 Transaction failed",
    "550 Administrative prohibition",
    "550 High probability of spam",
    "571 5.7.1 Message refused",
]

US_AFTER_THE_MAIL = [
    "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
    "554 5.2.252 SendAsDenied; relay@example.org not allowed to send as anna@example.org",
    "550 5.7.26 Unauthenticated email from example.org is not accepted due to domain's DMARC policy",
    "550 5.7.509 Access denied, sending domain example.org does not pass DMARC verification",
    "550-5.7.1 [192.0.2.1] Our system has detected an unusual rate of\r\n550 5.7.1 unsolicited mail from your IP address",
    "550 5.7.1 This message does not meet IPv6 sending guidelines regarding PTR records",
    "550 5.7.1 very low reputation of the sending domain",
    "554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org",
    "550 5.7.1 Relaying denied",
    "554 5.7.1 Sender address rejected: not owned by user",
    "554 Message rejected: Email address is not verified. The following identities failed the check: relay@example.org",
    "554 Transaction failed: Sending paused for this account.",
]

SIZE = [
    "552 too large",
    "550 Message size exceeds fixed maximum message size",
    "554 5.7.1 Message too big for system",
    "552 5.3.4 Message size exceeds file system imposed limit",
    "523 the message size exceeds the recipient's limit",
]

LIMIT = [
    "550 5.4.5 Daily user sending limit exceeded",
    "550 5.4.5 Daily SMTP relay limit exceeded",
    "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
    "550 You have exceeded your hourly sending quota",
    "554 5.7.1 You have exceeded your sending limit",
    "550 5.2.0 Message sending quota exceeded",
    "550 You have reached your monthly limit",
    "552 5.2.2 Quota exceeded for sender relay@example.org",
    "550 Outgoing message limit reached",
    "550 5.7.1 Rate limit exceeded",
    "554 Too many recipients today",
    "550 5.7.1 Too many mails in 24 hours",
]


async def ending(stage: str, reply: str) -> tuple[Ending, bool, timedelta | None]:
    async with mail_bench() as bench:
        bench.server.at(stage, reply, times=None)
        outcome = await bench.send()
        return outcome.ending, outcome.shorten, outcome.after


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("reply", US)
async def test_a_refusal_about_us_breaks_the_destination_at_any_stage(
    reply: str, stage: str
) -> None:
    assert (await ending(stage, reply))[0] is Ending.DESTINATION_BROKEN


@pytest.mark.parametrize("reply", US_AFTER_THE_MAIL)
async def test_a_refusal_about_us_breaks_the_destination_though_it_comes_after_the_mail(
    reply: str,
) -> None:
    assert (await ending("body", reply))[0] is Ending.DESTINATION_BROKEN


@pytest.mark.parametrize("reply", RECIPIENT)
@pytest.mark.parametrize("stage", ["rcpt", "data"])
async def test_a_refusal_about_a_recipient_fails_that_delivery(stage: str, reply: str) -> None:
    assert await ending(stage, reply) == (Ending.REFUSED, False, None)


@pytest.mark.parametrize("reply", MAIL)
async def test_a_refusal_about_a_mail_fails_that_delivery(reply: str) -> None:
    assert await ending("body", reply) == (Ending.REFUSED, False, None)


@pytest.mark.parametrize("stage", ["mail", "body"])
@pytest.mark.parametrize("reply", SIZE)
async def test_a_refusal_about_size_asks_for_the_short_form(stage: str, reply: str) -> None:
    assert await ending(stage, reply) == (Ending.REFUSED, True, None)


@pytest.mark.parametrize("stage", ["mail", "rcpt", "body"])
@pytest.mark.parametrize("reply", LIMIT)
async def test_a_limit_of_a_day_or_an_hour_is_waited_for(stage: str, reply: str) -> None:
    assert await ending(stage, reply) == (Ending.LATER, False, timedelta(hours=1))


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
@pytest.mark.parametrize(
    "reply",
    ["554 5.3.2 system not accepting messages", "554 5.7.1 too many connections from your host"],
)
async def test_a_refusal_about_the_moment_is_for_later(stage: str, reply: str) -> None:
    assert await ending(stage, reply) == (Ending.LATER, False, None)


@pytest.mark.parametrize("stage", ["greeting", "ehlo"])
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("554 5.7.1 192.0.2.1 is on a blocklist", Ending.DESTINATION_BROKEN),
        (
            "554 Connection refused, your IP is listed at zen.spamhaus.org",
            Ending.DESTINATION_BROKEN,
        ),
        ("550 5.7.1 access denied", Ending.DESTINATION_BROKEN),
        ("554 5.7.0 too many connections from your host", Ending.LATER),
        ("554 mail.example.com ESMTP not accepting messages", Ending.LATER),
        ("554 No SMTP service here", Ending.LATER),
        ("554 5.3.2 try again later", Ending.LATER),
    ],
)
async def test_a_server_that_turns_us_away_says_whether_it_is_about_us(
    stage: str, reply: str, expected: Ending
) -> None:
    async with mail_bench() as bench:
        bench.server.at(stage, reply, times=None).at("helo", reply, times=None)
        assert (await bench.send()).ending is expected


US_FOR_NOW = [
    "450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]",
    "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]",
    "450 4.7.1 <relay>: Helo command rejected: Host not found",
    "454 4.7.1 <anna@example.com>: Relay access denied",
    "454 Relay access denied",
    "450 4.1.8 <relay@example.org>: Sender address rejected: Domain not found",
    "450 4.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
    "421 4.7.1 Your IP [192.0.2.1] is on our blocklist",
    "421-4.7.26 This mail has been rate limited because it is unauthenticated.\r\n421 4.7.26 SPF and DKIM",
    "450 4.7.23 SPF fails for example.org",
    "451 4.7.0 Mail relay denied [192.0.2.1]",
]
NOBODYS_FAULT = [
    "450 4.7.1 <anna@example.com>: Recipient address rejected: Greylisted",
    "450 4.2.0 <anna@example.com>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help",
    "451 4.7.1 Greylisting in action, please come back in 00:05:00",
    "451 4.7.1 Please try again later",
    "451 4.7.1 Client host [192.0.2.1] deferred, try again",
    "451 Temporary local problem - please try later",
    "451 Requested action aborted",
    "451 4.7.500 Server busy. Please try again later from [192.0.2.1]",
    "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation",
    "421 4.7.0 Try again later, closing connection",
    "421-4.7.28 unusual rate of unsolicited mail originating from your IP address\r\n421 4.7.28 rate limited",
    "421 4.7.0 too many connections from your host",
    "450 4.7.24 SPF validation error",
    "451 4.4.3 Temporary lookup failure",
    "450 4.1.1 <anna@example.com>: Recipient address rejected: unverified address",
    "450 4.7.1 <anna@example.com>: Recipient address rejected: Access denied",
    "452 4.2.2 Mailbox full",
    "450 4.1.7 <relay@example.org>: Sender address rejected: unverified address: Address lookup timed out",
]  # fmt: skip


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("reply", US_FOR_NOW)
async def test_a_refusal_about_us_breaks_the_destination_though_its_code_is_for_now(
    reply: str, stage: str
) -> None:
    assert (await ending(stage, reply))[0] is Ending.DESTINATION_BROKEN


@pytest.mark.parametrize("stage", ["mail", "rcpt", "body"])
@pytest.mark.parametrize("reply", NOBODYS_FAULT)
async def test_what_passes_by_itself_is_for_later(reply: str, stage: str) -> None:
    assert (await ending(stage, reply))[0] is Ending.LATER
