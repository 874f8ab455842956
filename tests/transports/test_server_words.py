"""Words and waits of servers: fit to be shown, fit to be kept."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.transports import clean_answer
from relay.transports.http import wait_asked
from tests.transports.examples import NOON, TEXTS

DEFAULT = timedelta(seconds=30)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("0", timedelta(seconds=1)),
        ("1", timedelta(seconds=1)),
        (" 45 ", timedelta(seconds=45)),
        ("1.5", timedelta(seconds=1.5)),
        ("3599", timedelta(seconds=3599)),
        ("3600", HOUR),
        ("1000000000", HOUR),
        ("1e400", HOUR),
        ("9" * 5_000, HOUR),
        ("inf", HOUR),
        ("nan", DEFAULT),
        ("-1", DEFAULT),
        ("", DEFAULT),
        ("soon", DEFAULT),
        ("Sun, 22 Nov 2026 12:00:20 GMT", timedelta(seconds=20)),
        ("Sun, 22 Nov 2026 12:00:20 -0000", timedelta(seconds=20)),
        ("Sun, 22 Nov 2026 13:00:20 +0100", timedelta(seconds=20)),
        ("Sun, 22 Nov 2026 11:59:00 GMT", DEFAULT),
        ("Mon, 22 Nov 2027 12:00:00 GMT", HOUR),
        ("Mon, 99 Nov 2027 12:00:00 GMT", DEFAULT),
        (None, DEFAULT),
    ],
)
def test_retry_after_in_all_its_forms(header: str | None, wait: timedelta) -> None:
    headers = {} if header is None else {"Retry-after": header}
    assert wait_asked(headers, NOON, DEFAULT) == wait


@given(st.text())
def test_any_header_gives_a_wait_between_a_second_and_an_hour(header: str) -> None:
    assert timedelta(seconds=1) <= wait_asked({"retry-after": header}, NOON, DEFAULT) <= HOUR


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("ok", "ok"),
        (" two\r\nlines\t", "two lines"),
        ("see https://hooks.slack.com/services/T0/B0/x for more", "see https://*** for more"),
        ("HTTP://10.0.0.1:8080/a?b=c#d", "HTTP://***"),
        ("token xoxb-12-34-ab and xoxe.xoxb-1-x", "token xoxb-*** and xoxe.xoxb-***"),
        ("\x1b[31mred\u202e", "[31mred"),
        ("the password is hunter22!", "the password is ***!"),
    ],
)
def test_what_is_shown_of_a_servers_words(said: str, shown: str) -> None:
    assert clean_answer(said, ("hunter22",)) == shown


@pytest.mark.parametrize(
    "said",
    [
        "/T0/a+b=c&d",
        "%2FT0%2Fa%2Bb%3Dc%26d",
        "%2fT0%2fa%2bb%3dc%26d",
        "/T0/a%2Bb%3Dc%26d",
        "%252FT0%252Fa%252Bb%253Dc%2526d",
        "\\/T0\\/a+b=c&d",
        "/T0/a+b=c&amp;d",
        "/T0/a+b\0=c&d",
        "/T0/a+\u200eb=c&d",
    ],
)
def test_a_secret_is_known_in_whatever_it_is_said_back(said: str) -> None:
    assert clean_answer(f"no: {said}.", ("/T0/a+b=c&d",)) == "no: ***."


def test_long_words_are_cut() -> None:
    assert len(clean_answer("word " * 10_000)) == 300


@given(TEXTS, st.sampled_from(("hunter22", "correct horse", "T0000001/B0000002")))
def test_no_text_brings_a_secret_through(text: str, secret: str) -> None:
    assert secret not in clean_answer(f"{text}{secret}{text}", (secret,))
