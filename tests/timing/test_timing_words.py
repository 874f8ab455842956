"""When a destination is told, in words: `relay check` and `relay explain`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.timing.timing_words import days_words, span_words, timing_sentence
from tests.builders import a_hook
from tests.rules.books import a_book
from tests.rules.commands import relay

FILE = """\
timezone: Europe/Prague
schedules:
  office: {{days: mon-fri, hours: 08:00-17:00}}
  madrid: {{days: mon-fri, hours: [09:00-14:00, 16:00-18:00], timezone: Europe/London}}
destinations:
  sales: {{email: {{to: sales@example.com}}, {timing}}}
  duty: {{email: {{to: duty@example.com}}}}
rules:
  - {{name: Missed chats, when: {{missed: true}}, send_to: sales}}
  - {{name: Others, when: {{missed: false}}, send_to: duty}}
"""


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        ("hours: office, send: mon-fri 08:00", "sales gets one digest, mon-fri 08:00"),
        ("hours: office, send: [mon-fri 08:00, sun 20:00]", "sales gets one digest, mon-fri 08:00"),
        ("hours: office, send: daily 18:00", "sales gets one digest, mon-fri 08:00"),
        ("send: 07:30", "sales gets one digest, daily 07:30"),
        ("hours: madrid, send: mon,wed 07:00", "sales gets one digest, mon,wed 10:00"),
        ("send: [mon-fri 14:00, sat 10:00]", "sales gets digests, mon-fri 14:00 and sat 10:00"),
        ("send: every 30m", "sales gets a digest 30m after the first chat in it"),
        (
            "hours: office, outside_hours: duty, limit: 5 per hour",
            "sales gets 5 per hour at once within office, the others in a digest; outside its hours duty gets them instead",
        ),
        (
            "hours: office, outside_hours: skip",
            "sales gets each chat at once within office; what comes outside its hours is left out",
        ),
    ],
)
def test_what_the_keys_of_a_destination_mean_together(timing: str, words: str) -> None:
    text = FILE.format(timing=timing.replace("mon,wed 07:00", '"mon,wed 07:00"'))
    assert timing_sentence("sales", a_book(text).destinations["sales"].timing) == words


def test_days_and_spans_are_written_as_the_rules_file_has_them() -> None:
    assert days_words(frozenset({0, 1, 2, 4, 6})) == "mon-wed,fri,sun"
    assert days_words(frozenset({5, 6})) == "sat,sun"
    assert span_words(timedelta(days=1, hours=2, minutes=3)) == "1d2h3m"
    assert span_words(timedelta(seconds=90)) == "1m30s"


def test_relay_explain_says_when_it_is_sent(tmp_path: Path, chat_file: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(FILE.format(timing="hours: office"), "utf-8")
    told = relay("explain", chat_file, rules, "--arrives", "2026-11-27 17:05").stdout
    assert told.endswith(
        "If it comes in on Fri 2026-11-27 17:05:\n"
        "  Missed chats -> sales: waits until Mon 2026-11-30 08:00: outside its hours (office)\n"
    )
    refused = relay("explain", chat_file, rules, "--arrives", "at five")
    assert refused.exit_code == 2
    assert "'at five' is not a time" in refused.output


def test_relay_explain_says_nothing_of_times_where_all_are_told_at_once(
    tmp_path: Path, chat_file: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(FILE.format(timing="language: cs"), "utf-8")
    assert "comes in on" not in relay("explain", chat_file, rules).stdout


def test_relay_check_refuses_hours_that_never_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_SMTP_URL", "smtp://127.0.0.1")
    monkeypatch.setenv("RELAY_MAIL_FROM", "relay@example.com")
    rules, year = tmp_path / "rules.yaml", datetime.now(UTC).year
    text = FILE.format(timing="hours: office")
    rules.write_text(text, "utf-8")
    said = relay("check", rules)
    assert "sales gets each chat at once within office" in said.stdout, said.output
    closed = f"08:00-17:00, except: [{year}-01-01 to {year + 2}-01-01]"
    rules.write_text(text.replace("08:00-17:00", closed), "utf-8")
    said = relay("check", rules)
    assert said.exit_code == 1
    assert f"{rules}:3:3: 'office' does not open within 366 days" in said.output


@pytest.fixture
def chat_file(tmp_path: Path) -> Path:
    path = tmp_path / "chat.json"
    path.write_bytes(a_hook(7, missed=True))
    return path
