"""Every file in bad/ is named for its mistake; the .txt beside it holds what a person is told, word for word."""

from pathlib import Path

import pytest

from relay.rules import RulesError, read_rules
from relay.transports.registry import TRANSPORTS
from tests.rules.books import TEMPLATES, problems_of

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_every_problem_at_its_place(path: Path) -> None:
    expected = path.with_suffix(".txt").read_text("utf-8")
    with pytest.raises(RulesError) as refused:
        read_rules(path.read_bytes(), path.name, transports=TRANSPORTS, templates=TEMPLATES)
    assert f"{refused.value}\n" == expected


def test_no_problem_shows_a_secret() -> None:
    told = (Path(__file__).parent / "bad" / "secrets.txt").read_text("utf-8")
    assert "nobody-may-see-this" not in told
    assert "T0" not in told


@pytest.mark.parametrize(
    "misplaced",
    [
        "destinations: {https://hooks.slack.com/services/T0/B0/hush: {email: {to: a@example.com}}}",
        "timezone: https://hooks.slack.com/services/T0/B0/hush",
        "destinations: {a: {email: {to: https://hooks.slack.com/services/T0/B0/hush}}}",
        "destinations: {a: {slack: {webhok: https://hooks.slack.com/services/T0/B0/hush}}}",
        "destinations: {a: {slack: {channel: xoxb-hush-hush-hush}}}",
        "rules: [{name: a, when: always, send_to: https://hooks.slack.com/services/T0/B0/hush}]",
    ],
)
def test_a_secret_in_a_wrong_place_is_not_repeated(misplaced: str) -> None:
    told = problems_of(misplaced)
    assert told
    assert "hush" not in "".join(told)


def test_all_problems_come_in_the_order_of_the_file() -> None:
    lines = [int(problem.split(":")[0]) for problem in problems_of("a: 1\nb: 2\nc: 3\nrules: 4\n")]
    assert lines == sorted(lines) == [1, 2, 3, 4]


def test_very_many_problems_are_told_in_part() -> None:
    told = problems_of("".join(f"key{number}: 1\n" for number in range(5000)))
    assert len(told) == 101
    assert told[-1] == "there is more; fix these problems first"
