"""What is taken out of texts that somebody sees: the relay's secrets, whole and in part, and what looks like one."""

import base64
import html
import json
import string
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.redaction import KnownSecrets, Redactor, may_hold_secret, redact_answer, redact_line

FLOW = (
    "https://default0a1b2c3d.4e.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/"
    "5f6e7d8c9b0a4f1e8d7c6b5a49382716/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0"
    "&sig=Qx7LmN3pRt_vW9yZ2bC4dF6gH8jK0nP-sU5wX1aE3iO"
)
SLACK = "https://hooks.slack.com/services/T01ABCDEF2/B03GHIJKL4/mN5oP6qR7sT8uV9wX0yZ1aB2"
PASSWORD = "Tr0ub4dor&3 horse/staple"
SECRETS = (FLOW, SLACK, PASSWORD)
INNERMOST = (
    "5f6e7d8c9b0a4f1e8d7c6b5a49382716",
    "Qx7LmN3pRt_vW9yZ2bC4dF6gH8jK0nP-sU5wX1aE3iO",
    "T01ABCDEF2/B03GHIJKL4/mN5oP6qR7sT8uV9wX0yZ1aB2",
    PASSWORD,
)
"""What lets somebody in."""


def parts(text: str) -> set[str]:
    return {text[start : start + 8] for start in range(len(text) - 7)}


@given(st.data())
def test_no_part_of_a_secret_of_8_characters_passes(data: st.DataObject) -> None:
    secret = data.draw(st.sampled_from(INNERMOST))
    start = data.draw(st.integers(0, len(secret) - 8))
    part = secret[start : data.draw(st.integers(start + 8, len(secret)))]
    around = st.text(string.ascii_letters + " :/.", max_size=9)
    said = data.draw(around) + part + data.draw(around)
    assert not parts(redact_answer(said, SECRETS)) & parts(part), said


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "spell",
    [
        str,
        str.lower,
        str.upper,
        quote,
        quote_plus,
        lambda text: quote(text, safe=""),
        lambda text: quote(quote(text, safe=""), safe=""),
        html.escape,
        json.dumps,
        lambda text: json.dumps(text).replace("/", "\\/"),
        lambda text: base64.b64encode(text.encode()).decode(),
        "\u200b".join,
        "\u2060".join,
    ],
)
def test_a_secret_is_known_however_it_is_said_back(secret: str, spell: object) -> None:
    assert callable(spell)
    said = spell(secret)
    for text in (said, said[len(said) // 3 :], said[: 2 * len(said) // 3]):
        masked = redact_answer(f"no: {text}.", SECRETS).casefold()
        for innermost in INNERMOST:
            for plain in (innermost, spell(innermost).strip('"')):
                assert not parts(masked) & parts(plain.casefold()), masked


@pytest.mark.parametrize(
    "said",
    [
        "The workflow 'manual' has been disabled. Direct API authorization is required. Trigger conditions not met.",
        "Error from token exchange: invoke the triggers of the workflow by paths/invoke, api-version 2016-06-01",
        "invalid_token, no_service, channel_not_found, action_prohibited",
        "services unavailable, environment api down",
        "password login is not allowed; bearer authentication or basic authentication needed",
        "5.7.8 Username and Password not accepted. For more information, go to support",
        "Your horse is stable; the staples are elsewhere",
    ],
)
def test_what_servers_say_stays_readable(said: str) -> None:
    assert redact_answer(said, SECRETS) == said
    redact = Redactor()
    redact.add(SECRETS)
    assert redact(said) == said


@pytest.mark.parametrize(
    ("secret", "said", "shown"),
    [
        ("pass", "password login refused", "password login refused"),
        ("pass", "the pass is pass.", "the *** is ***."),
        ("login", "relogin, login_x: login", "relogin, login_x: ***"),
        ("a", "a login", "a login"),
        ("hunter2", "HUNTER2 or hunter22", "*** or hunter22"),
        ("p@ss", "p%40ss and p@ss", "*** and ***"),
        ("hunter22", "xhunter22x", "x***x"),
    ],
)
def test_a_short_secret_is_taken_out_only_where_it_stands_alone(
    secret: str, said: str, shown: str
) -> None:
    assert redact_answer(said, (secret,)) == shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("ok", "ok"),
        ("see https://hooks.slack.com/services/T0/B0/x for more", "see https://*** for more"),
        ("HTTP://10.0.0.1:8080/a?b=c#d", "HTTP://***"),
        (f"a relay_{'aB3' * 16}x, relay_test", "a relay_***, relay_test"),
        ("token xoxb-12-34-ab and xoxe.xoxb-1-x", "token xoxb-*** and xoxe.xoxb-***"),
        ("xapp-1-A0-b%2Dc", "xapp-***"),
        ("xoxb%2D12%2D34", "xoxb%2D***"),
        ("Authorization: Bearer abc.DEF123ghi", "Authorization: Bearer ***"),
        ("Authorization: Basic bWU6cGFzcw==", "Authorization: Basic ***"),
        (
            '{"access_token": "abc", "refresh_token":"d.e"}',
            '{"access_token": "***", "refresh_token":"***"}',
        ),
        ("client_secret=a~b&x=1", "client_secret=***&x=1"),
        ("/x?token=abc&y=1&Sig=d%2Fe", "/x?token=***&y=1&Sig=***"),
        ("postgresql://me:pw@host/relay", "postgresql://me:***@host/relay"),
        ('{"password": "abc"}', '{"password": "***"}'),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_unknown_as_it_is(said: str, shown: str) -> None:
    assert redact_answer(said) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            "  room: {slack: {webhook: https://hooks.slack.com/services/T0/B0/x}}",
            "  room: {slack: {webhook: https://hooks.slack.com/****************}}",
        ),
        ("token: xoxb-12-34", "token: xoxb-*****"),
        ("key: 0123456789abcdef0123456789abcdef", "key: ********************************"),
        ("to: https://me:pw@x.example/abc", "to: https://me:**@x.example/***"),
        ("name: Missed chats", "name: Missed chats"),
        ("  crm: {password: hunter2, to: a}", "  crm: {password: *******, to: a}"),
        ("  secret: $CRM_SECRET", "  secret: $CRM_SECRET"),
        ('  api_key: "k 1"', "  api_key: *****"),
    ],
)
def test_columns_of_a_line_stay_what_they_are(line: str, shown: str) -> None:
    assert redact_line(line) == shown


@given(
    st.lists(st.text(min_size=8, max_size=40), max_size=3),
    st.text(max_size=60),
    st.text(max_size=60),
)
def test_whatever_a_secret_holds_it_is_found_whole(
    secrets: list[str], one: str, other: str
) -> None:
    for secret in secrets:
        assert secret not in KnownSecrets(secrets).mask(f"{one}{secret}{other}") or "://" in secret


@pytest.mark.parametrize(
    "value",
    [
        SLACK,
        "smtps://me:pw@mail",
        "me@example.com",
        "xoxb-1",
        "Xw4rZ8n2Qv6tLk1s",
        "0123456789abcdef01234567",
    ],
)
def test_a_value_that_may_be_a_secret_is_known(value: str) -> None:
    assert may_hold_secret(value)


@pytest.mark.parametrize(
    "value",
    [
        "127.0.0.1:8000",
        "xml",
        "maybe",
        "/etc/relay/rules.yaml",
        "8000",
        "a-longer-word-with-hyphens",
    ],
)
def test_an_ordinary_value_is_none(value: str) -> None:
    assert not may_hold_secret(value)
