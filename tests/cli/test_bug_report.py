"""A command that ends by an exception nobody expected: here of a library that is broken."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import DEADLINE

PASSWORD = "correct-horse-battery"
TOKEN = "a-token-that-nobody-must-see"


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """An environment with two secrets, and a YAML library that says them as it fails."""
    broken, reports, secret = tmp_path / "broken", tmp_path / "reports", tmp_path / "token"
    broken.mkdir()
    reports.mkdir()
    (broken / "yaml.py").write_text(
        f"raise LookupError('of {PASSWORD}, quoted {PASSWORD[:10]}... and {TOKEN}')"
    )
    secret.write_text(f"{TOKEN}\n")
    return {
        "PYTHONPATH": str(broken),
        "TMPDIR": str(reports),
        "CRM_PASSWORD": PASSWORD,
        "RELAY_HOOK_TOKENS_FILE": str(secret),
    }


def check(variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """`relay check`, which imports everything anew."""
    command = [sys.executable, "-m", "relay", "check"]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=DEADLINE)


def test_it_ends_in_three_lines_and_a_file_that_only_its_owner_reads(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    ended = check(variables)
    [report] = (tmp_path / "reports").iterdir()
    happened, details, ask = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "`relay` failed because of a fault in the relay itself (LookupError)" in happened
    assert str(report) in details
    assert "Report a fault" in ask
    assert report.stat().st_mode & 0o777 == 0o600
    text = report.read_text()
    assert "Traceback" in text
    assert "yaml.py" in text
    assert "\nPython 3" in text
    assert "click " in text


def test_no_secret_of_the_environment_is_in_it(tmp_path: Path, variables: dict[str, str]) -> None:
    ended = check(variables)
    [report] = (tmp_path / "reports").iterdir()
    said = ended.stderr + report.read_text()
    assert "LookupError: of ***, quoted ***" in said
    assert PASSWORD not in said
    assert PASSWORD[:10] not in said
    assert TOKEN not in said
