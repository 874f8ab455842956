"""What to do about an answer: found again by the words in which the outcome is kept, for every answer there is."""

import re
import ssl
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import aiohttp
import msgspec
import pytest
from aiohttp.client_reqrep import ConnectionKey
from aiosmtplib.response import SMTPResponse
from hypothesis import given
from hypothesis import strategies as st

from relay.alerts.alert_text import alert_notification
from relay.alerts.problem_detection import Kind
from relay.alerts.stored_alert import Alert
from relay.transports import Ending
from relay.transports.cures import HTTP, Row
from relay.transports.email import answers
from relay.transports.email.failure import Cause, SmtpFailure, Stage
from relay.transports.http import PrivateAddressError, RedirectError, without_answer
from relay.transports.registry import REGISTRATIONS, cure_in_words, cure_of
from relay.transports.slack import answers as slack
from relay.transports.teams import answers as teams
from relay.transports.webhook import answers as webhook
from tests.transports import test_refusals as refusals

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
WEBHOOK_ERRORS = st.text(st.characters(codec="utf-8"), max_size=400)


def by_mail(line: str, stage: Stage) -> tuple[Ending, Row | None]:
    """How a mail ends that is answered so, and the cure by the words that are kept of it."""
    code, _, text = line.replace(f"\r\n{line[:3]} ", "\n").partition(line[3])
    reply = SMTPResponse(int(code), text)
    outcome = answers.sort(SmtpFailure(stage, Cause.REFUSED, "", reply), "mail.example.com")
    return outcome.ending, cure_of(outcome.detail)


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        *((line, Stage.RCPT) for line in (*refusals.US, *refusals.RECIPIENT)),
        *((line, Stage.BODY) for line in (*refusals.MAIL, *refusals.US_AFTER_THE_MAIL)),
        *((line, Stage.BODY) for line in (*refusals.SIZE, *refusals.LIMIT)),
    ],
)
def test_each_known_refusal_of_a_mail_has_a_cure_that_fits_its_outcome(
    line: str, stage: Stage
) -> None:
    ending, row = by_mail(line, stage)
    assert row is not None
    assert row.ending is ending


@pytest.mark.parametrize(
    ("line", "stage", "cure"),
    [
        ("535 5.7.8 Username and Password not accepted", Stage.LOGIN, "The login is refused"),
        ("535 5.7.3 Authentication unsuccessful", Stage.LOGIN, "The login is refused"),
        ("535 authentication failed: basic authentication is disabled", Stage.LOGIN, "OAuth"),
        ("535 5.7.139 Authentication unsuccessful", Stage.LOGIN, "OAuth"),
        ("550 5.7.30 Basic authentication is not supported", Stage.LOGIN, "OAuth"),
        ("454 4.7.0 Temporary authentication failure", Stage.LOGIN, "can't check the login"),
        ("530 5.7.0 Must issue a STARTTLS command first", Stage.MAIL, "wants a login"),
        ("530 5.7.57 Client not authenticated", Stage.MAIL, "wants a login"),
        ("554 5.7.1 <a@example.com>: Relay access denied", Stage.RCPT, "no mail for other domains"),
        ("550 5.7.64 TenantAttribution", Stage.RCPT, "no mail for other domains"),
        ("550 5.7.60 SMTP; Client does not have permissions to send as", Stage.BODY, "may not send as"),
        ("553 5.7.1 Sender address rejected: not owned by user relay", Stage.MAIL, "may not send as"),
        ("553 5.1.8 Sender address rejected: Domain not found", Stage.MAIL, "accept the sender"),
        ("550 5.7.26 blocked because the sender is unauthenticated", Stage.BODY, "SPF"),
        ("550 5.7.1 SPF fail", Stage.MAIL, "SPF"),
        ("550 5.7.25 Client host rejected: cannot find your reverse hostname", Stage.RCPT, "reverse DNS"),
        ("550 5.7.1 <relay>: Helo command rejected: Host not found", Stage.RCPT, "?helo="),
        ("554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org", Stage.RCPT, "IP address"),
        ("550 5.7.1 The IP you're using is not authorized to send email", Stage.RCPT, "IP address"),
        ("550 5.1.1 User unknown", Stage.RCPT, "this recipient"),
        ("552 5.2.2 mailbox full", Stage.RCPT, "mailbox is full"),
        ("452 4.2.2 mailbox full", Stage.RCPT, "mailbox is full"),
        ("452 The user is over quota", Stage.RCPT, "mailbox is full"),
        ("550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup", Stage.RCPT, "some senders only"),
        ("554 5.7.1 Spam message rejected", Stage.BODY, "spam filter"),
        ("552 5.3.4 Message size exceeds limit", Stage.BODY, "too large"),
        ("550 5.4.5 Daily user sending limit exceeded", Stage.BODY, "as many mails as it may"),
        ("451 4.7.1 Greylisting in action", Stage.RCPT, "comes back by itself"),
        ("421 4.3.2 Service shutting down", Stage.GREETING, "comes back by itself"),
        ("250 what", Stage.GREETING, "not a mail server"),
    ],
)  # fmt: skip
def test_a_refusal_of_a_mail_has_its_own_cure(line: str, stage: Stage, cure: str) -> None:
    _, row = by_mail(line, stage)
    assert row is not None
    assert cure in row.cure


def words(row: Row) -> list[str]:
    """The words by which a row of Slack's table is called."""
    return [word.strip("`").replace("*", "_of_a_kind") for word in row.answers.split(", ")]


@pytest.mark.parametrize(
    ("word", "row"),
    [
        (word, row)
        for row in slack.ROWS
        if row.answers.startswith("`") and "no word" not in row.answers
        for word in words(row)
    ],
)
def test_each_word_of_slack_ends_as_its_row_says_and_finds_it_again(word: str, row: Row) -> None:
    for answer in (
        slack.webhook_answer(404, f"{word}\n", {}),
        slack.api_answer(200, {"ok": False, "error": word, "needed": "chat:write"}, {}),
    ):
        outcome = slack.sort(answer, NOON)
        assert outcome.ending is row.ending
        assert cure_of(outcome.detail) is row


SAYS_THAT_IT_RETRIES = re.compile(r"the relay (?:tries|waits|comes|sends)")


def test_a_cure_for_what_is_sent_once_does_not_say_that_the_relay_retries() -> None:
    for row in (*HTTP, *(row for each in REGISTRATIONS.values() for row in each.answers)):
        assert not SAYS_THAT_IT_RETRIES.search(row.advice(is_retried=False)), row
        assert bool(row.once) is bool(SAYS_THAT_IT_RETRIES.search(row.cure)), row


@given(st.sampled_from([*range(100, 200), *range(400, 600)]), WEBHOOK_ERRORS)
def test_whatever_a_webhook_answers_has_a_cure_that_fits_its_outcome(
    status: int, body: str
) -> None:
    for outcome in (
        slack.sort(slack.webhook_answer(status, body, {}), NOON),
        teams.sort(status, body, {}, NOON),
        webhook.sort(status, body, {}, NOON),
    ):
        row = cure_of(outcome.detail)
        assert row is not None
        assert row.ending is outcome.ending


@pytest.mark.parametrize(
    ("status", "body", "cure"),
    [
        (401, "", "Who can trigger the flow?"),
        (404, "", "The flow is gone"),
        (400, '{"error":{"code":"WorkflowTriggerIsNotEnabled"}}', "turn it on"),
        (404, '{"error":{"code":"WorkflowTriggerIsNotEnabled"}}', "turn it on"),
        (200, "Webhook message delivery failed with error: HTTP error 403", "Who can trigger"),
        (502, "", "run history"),
        (503, "", "look in the channel"),
    ],
)
def test_an_answer_of_teams_has_its_own_cure(status: int, body: str, cure: str) -> None:
    row = cure_of(teams.sort(status, body, {}, NOON).detail)
    assert row is not None
    assert cure in row.cure


KEY = ConnectionKey(
    "hooks.slack.com",
    443,
    is_ssl=True,
    ssl=True,
    proxy=None,
    proxy_auth=None,
    proxy_headers_hash=None,
)


@pytest.mark.parametrize(
    "error",
    [
        RedirectError(302),
        aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("expired")),
        aiohttp.ClientConnectorError(KEY, PrivateAddressError()),
        aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "Connection refused")),
        aiohttp.ClientProxyConnectionError(KEY, ConnectionRefusedError(111, "Connection refused")),
        aiohttp.ConnectionTimeoutError(),
        TimeoutError(),
        aiohttp.ServerDisconnectedError(),
        ValueError("a bad name"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("service", ["Slack", "Teams", webhook.SERVICE])
def test_no_answer_of_a_webhook_has_a_cure_too(error: Exception, service: str) -> None:
    outcome = without_answer(error, service)
    row = cure_of(outcome.detail)
    assert row in HTTP
    assert row.ending is outcome.ending
    assert cure_of(f"given up after 24 hours: {outcome.detail}") is row


def test_a_secret_that_can_not_sign_has_a_cure() -> None:
    assert cure_of("what $S holds is empty; write whsec_ and the Base64 of") is webhook.SECRET
    assert cure_of("what $S holds is a web address, not a secret; are") is webhook.SECRET
    assert cure_of("what $URL holds is not a web address") is not webhook.SECRET


def test_an_unknown_failure_has_none() -> None:
    assert cure_of("the relay itself failed; its log says how") is None
    assert cure_in_words("the relay itself failed; its log says how", "room") == ""


def test_the_command_can_be_pasted_whatever_the_destination_is_called() -> None:
    told = cure_in_words("Slack answered 200 not_in_channel", "the room; rm -rf")
    assert told == (
        ". The bot is not in the channel: write /invite and its name there."
        " Then run: relay resume 'the room; rm -rf'"
    )


def an_alert(why: str, kind: Kind = Kind.BROKEN) -> Alert:
    return Alert(kind=kind, subject="room", since=NOON, why=why, waiting=1)


@pytest.mark.parametrize(
    ("language", "label", "cure"),
    [
        ("en", "What to do", "The channel is archived"),
        ("de", "Was zu tun ist", "Der Kanal ist archiviert"),
        ("es", "Qué hacer", "El canal está archivado"),
        ("cs", "Co udělat", "Kanál je archivovaný"),
    ],
)
def test_an_alert_says_the_cure_in_its_language(language: str, label: str, cure: str) -> None:
    told = alert_notification(
        an_alert("Slack answered 200 is_archived"), zone=ZoneInfo("UTC"), language=language
    )
    facts = {fact.label: fact.value for fact in told.facts}
    assert facts[label].startswith(cure)
    assert "relay resume room" in facts.values()


def test_an_alert_about_anything_but_a_destination_says_no_cure() -> None:
    told = alert_notification(an_alert("dropped the line", Kind.STORAGE), zone=ZoneInfo("UTC"))
    assert "What to do" not in told.text


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Kind.STORAGE, "the disk is nearly full"),
        (Kind.STORAGE, "the database file was moved, deleted or replaced"),
        (Kind.STORAGE, "the database does not answer"),
        (Kind.DATABASE, "the log has the server's words"),
    ],
)
@pytest.mark.parametrize("language", ["de", "es", "cs"])
def test_the_relays_own_reasons_are_said_in_the_alerts_language(
    kind: Kind, why: str, language: str
) -> None:
    told = alert_notification(an_alert(why, kind), zone=ZoneInfo("UTC"), language=language)
    assert told.facts[0].value not in {"", why}


def test_an_alert_about_a_mute_counts_what_it_held_back() -> None:
    one = alert_notification(an_alert("Anna: spam", Kind.MUTED), zone=ZoneInfo("UTC"))
    assert one.summary.startswith("1 notification was held back so far.")
    two = alert_notification(
        msgspec.structs.replace(an_alert("Anna: spam", Kind.MUTED), waiting=2),
        zone=ZoneInfo("UTC"),
        language="cs",
    )
    assert two.subject == "Stále ztlumeno: room"
    assert two.summary.startswith("Zatím byla zadržena 2 oznámení.")
