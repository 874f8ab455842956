"""The log: one line per record, and nothing in it that is a secret or does something to a terminal."""

import io
import json
import logging
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import logs
from relay.redaction import Redactor
from relay.settings.parsers import LogFormat

CANARY = "CANARY-0123456789"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


def written(log_format: LogFormat, *records: object, error: Exception | None = None) -> str:
    """What stands in the log after these were logged."""
    stream, redact = io.StringIO(), Redactor()
    redact.add([CANARY])
    logs.set_up(log_format, redact, stream)
    logging.getLogger("relay.somewhere").error(*records, exc_info=error)
    return stream.getvalue()


def raised(words: str) -> Exception:
    """With a traceback, as only an exception has that was raised."""
    try:
        int(words)
    except ValueError as error:
        error.args = (words,)
        return error
    raise AssertionError


anything = st.text(st.characters(exclude_categories=()), max_size=40)


@given(anything)
def test_a_record_is_one_line_whatever_it_says(text: str) -> None:
    stream = io.StringIO()
    logs.set_up(LogFormat.TEXT, Redactor(), stream)
    logging.getLogger("relay.somewhere").info("said %s", text)
    (line,) = stream.getvalue().splitlines()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO relay\.somewhere said ", line)


@given(anything)
def test_nothing_in_the_log_makes_a_terminal_do_something(text: str) -> None:
    line = written(LogFormat.TEXT, "said %s", text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", line)


def test_controls_are_shown_and_not_left_out() -> None:
    line = written(LogFormat.TEXT, "a\r\nb\x1b[31m\x9bc\u2028d\u202ee")
    assert line.endswith(r"a\r\nb\x1b[31m\x9bc\u2028d\u202ee" + "\n")


@given(anything)
def test_a_json_record_is_one_line_that_can_be_read_back(text: str) -> None:
    line = written(LogFormat.JSON, "said %s", text)
    assert line.count("\n") == 1
    entry = json.loads(line)
    assert entry.keys() == {"time", "level", "logger", "message"}
    assert (entry["level"], entry["logger"]) == ("error", "relay.somewhere")
    assert entry["message"] == f"said {text}"


def test_a_traceback_follows_indented_so_that_it_can_not_pass_for_a_record() -> None:
    error = raised("first\n2026-11-22T09:30:00.000Z INFO relay.web all is well")
    first, *others = written(LogFormat.TEXT, "it failed", error=error).splitlines()
    assert first.endswith("ERROR relay.somewhere it failed")
    assert others[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in others)


def test_a_json_record_carries_its_traceback() -> None:
    error = raised(f"no {CANARY}\nhere")
    entry = json.loads(written(LogFormat.JSON, "it failed", error=error))
    assert entry["message"] == "it failed"
    assert entry["traceback"].endswith("ValueError: no ***\nhere")
    assert CANARY not in entry["traceback"]


def test_a_secret_in_a_traceback_is_taken_out() -> None:
    error = raised(f"no {CANARY} here")
    text = written(LogFormat.TEXT, "%s failed", CANARY, error=error)
    assert "ValueError: no *** here" in text
    assert CANARY not in text


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_record_whose_arguments_do_not_fit_is_written_without_its_secrets(
    log_format: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    text = written(log_format, "two of %s and %d", CANARY)
    assert "two of %s and %d" in text
    assert CANARY not in text + "".join(capsys.readouterr())


# -- what is taken out -----------------------------------------------------------------------------------------

secrets = st.text(string.ascii_letters + string.digits + "._~-/%+=&?", min_size=8, max_size=12)


@given(st.lists(secrets, min_size=1, max_size=4), st.data())
def test_a_known_secret_never_passes(known: list[str], data: st.DataObject) -> None:
    pieces = (
        st.sampled_from(known) | st.text(max_size=5) | st.sampled_from([one[:4] for one in known])
    )
    text = "".join(data.draw(st.lists(pieces, max_size=12)))
    redact = Redactor()
    redact.add(known)
    assert not [secret for secret in known if secret in redact(text)]


def test_a_secret_of_the_rules_before_a_reload_stays_known() -> None:
    redact = Redactor()
    redact.add(["the-old-webhook"])
    redact.add(["the-new-webhook"])
    assert redact("the-old-webhook, then the-new-webhook") == "***, then ***"


@given(st.text(string.ascii_letters + " .,:;()'é日\n", max_size=60))
def test_ordinary_words_stay_as_they_are(text: str) -> None:
    redact = Redactor()
    redact.add([CANARY])
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("POST /hooks/smartsupp/abc?x=1 404", "POST /hooks/smartsupp/***?x=1 404"),
        ("POST /hooks/smartsupp/*** 202", "POST /hooks/smartsupp/*** 202"),
        (
            "to https://hooks.slack.com/services/T0/B0/xyz failed",
            "to https://hooks.slack.com/services/*** failed",
        ),
        (
            "'https://hooks.slack.com/workflows/T0/A0/1/xyz'",
            "'https://hooks.slack.com/workflows/***'",
        ),
        (
            "https://x.example/invoke?api=1&sig=abc_d&v=2",
            "https://x.example/invoke?api=1&sig=***&v=2",
        ),
        ("Authorization: Bearer xoxb-12-34-aBc", "Authorization: Bearer xoxb-***"),
        ("smtps://me:pa%40ss@mail.example.com", "smtps://me:***@mail.example.com"),
        ("postgresql://me:pw@host/relay", "postgresql://me:***@host/relay"),
        ("smtp://mail.example.com:25", "smtp://mail.example.com:25"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_unknown_as_it_is(text: str, shown: str) -> None:
    assert Redactor()(text) == shown


def test_the_words_of_libraries_are_kept_out_where_they_tell_addresses() -> None:
    stream = io.StringIO()
    logs.set_up(LogFormat.TEXT, Redactor(), stream)
    for name in ("slack_sdk.web", "aiohttp.client", "aiosmtplib.protocol", "uvicorn.access"):
        logging.getLogger(name).info("said something")
    assert stream.getvalue() == ""


def test_setting_up_twice_does_not_write_twice() -> None:
    stream = io.StringIO()
    logs.set_up(LogFormat.TEXT, Redactor(), io.StringIO())
    logs.set_up(LogFormat.TEXT, Redactor(), stream)
    logging.getLogger("relay").info("once")
    assert stream.getvalue().count("once") == 1


def test_lines_never_get_into_what_is_opened_after_the_stream_was_closed(tmp_path: Path) -> None:
    log, database = tmp_path / "log", tmp_path / "database"
    with log.open("w", encoding="utf-8") as stream:
        logs.set_up(LogFormat.TEXT, Redactor(), stream)
    with database.open("w", encoding="utf-8"):  # the system gives it the number that the log had
        logging.getLogger("relay").info("said late")
    assert database.read_text(encoding="utf-8") == ""
    assert "said late" in log.read_text(encoding="utf-8")
