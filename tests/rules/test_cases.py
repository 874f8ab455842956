"""`relay test`: what a test file may say, what is told of one that fails, and of one that can't be read."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.rules.commands import relay

ROOT = Path(__file__).parents[2]

_RULES = """\
timezone: Europe/Prague
recipient_domains: [example.com]
schedules: {office: {days: mon-fri, hours: 08:00-17:00, except: [2026-12-24]}}
destinations:
  desk: {email: {to: [desk@example.com, Anna@example.com]}}
  owner: {email: {to: "{{ visitor.variables.owner }}"}}
  room: {slack: {webhook: $ROOM}}
rules:
  - {name: Missed, when: {missed: true}, send_to: [desk, room]}
  - {name: At night, when: {began: {outside: office}}, send_to: room}
  - {name: Lonely, when: {unanswered: true}, send_to: desk}
  - {name: Owned, when: {visitor.variables.owner: {empty: false}}, send_to: owner, stop: true}
  - {name: Rated, when: {rating: {at_most: 2}}, send_to: desk}
  - {name: Off, when: always, send_to: desk, enabled: false}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(_RULES, "utf-8")
    return tmp_path


def try_case(folder: Path, case: str) -> tuple[int, str]:
    """The exit code and what is told of a test file with this one case."""
    path = folder / "rules.test.yaml"
    path.write_text(f"cases:\n  - {{name: It, {case}}}\n", "utf-8")
    result = relay("test", path)
    return result.exit_code, result.output.replace(f"{folder}/", "")


@pytest.mark.parametrize(
    "case",
    [
        "chat: {}, expect: nothing",
        "chat: {missed: true}, expect: Missed",
        "chat: {missed: true}, expect: [Missed]",
        "chat: {missed: true}, expect: {Missed: [room, desk]}",
        "chat: {missed: true}, expect: {Missed: {room: [room], desk: [ANNA@example.com, desk@example.com]}}",
        "chat: {missed: true, rating: 1}, expect: [Rated, {Missed: [desk, room]}]",
        # what is not stated is not so, and follows from who wrote
        "chat: {said: hello}, expect: Lonely",
        "chat: {said: hello, answered: [hi]}, expect: nothing",
        "chat: {said: hello, unanswered: false}, expect: nothing",
        "chat: {unanswered: yes}, expect: Lonely",
        # recipients that the chat names; a rule that stops
        "chat: {visitor.variables.owner: petr@example.com, rating: 1}, expect: {Owned: {owner: petr@example.com}}",
        # time, by the clock of the rules file
        "chat: {}, at: sat 10:00, expect: At night",
        "chat: {}, at: Friday 16:59, expect: nothing",
        "chat: {}, at: fri 17:00, expect: At night",
        "chat: {}, at: 2026-12-24 10:00, expect: At night",
        "chat: {}, at: '2026-12-23T07:30:00Z', expect: nothing",
        "chat: {began: 2026-12-24 10:00}, at: mon 09:00, expect: nothing",
        "chat: {began: 2026-12-24 10:00}, at: 09:00, expect: At night",
    ],
)
def test_a_case_that_holds_is_as_expected(folder: Path, case: str) -> None:
    assert try_case(folder, case)[0] == 0, try_case(folder, case)[1]


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (
            "chat: {missed: true}, expect: nothing",
            """\
  + Missed -> desk
  + Missed -> room
      it matches
        missed: yes
""",
        ),
        (
            "chat: {rating: 3}, expect: Rated",
            """\
  - Rated
      it does not match
        rated 2 or lower: no, it was 3
""",
        ),
        (
            "chat: {missed: true}, expect: {Missed: [owner, room]}",
            """\
  - Missed -> owner
  + Missed -> desk
      it matches, but sends to others than expected
""",
        ),
        (
            "chat: {missed: true}, expect: {Missed: {room: room, desk: desk@example.com}}",
            """\
  - Missed -> desk: desk@example.com
  + Missed -> desk: anna@example.com, desk@example.com
      it matches, but sends to others than expected
""",
        ),
        (
            "chat: {visitor.variables.owner: x@evil.example}, expect: {Owned: owner}",
            """\
  - Owned -> owner
  + Owned -> nobody
      it matches, but sends to others than expected; left out, owner: {{ visitor.variables.owner }} is \
“x@evil.example”, which is outside recipient_domains
""",
        ),
        (
            "chat: {visitor.variables.owner: petr@example.com, rating: 1}, expect: [Owned, Rated]",
            """\
  - Rated
      it was not checked, because “Owned” stops
""",
        ),
        ("chat: {}, expect: Off", "  - Off\n      it is turned off\n"),
        (
            "chat: {missed: true}, expect: Missed, at: sun 00:00",
            """\
  + At night -> room
      it matches
        began outside office: yes, it was Sun 2026-06-07 00:00 (Europe/Prague)
""",
        ),
    ],
)
def test_a_case_that_does_not_hold_is_told_with_what_differs_and_why(
    folder: Path, case: str, told: str
) -> None:
    code, output = try_case(folder, case)
    assert code == 1
    assert output.startswith(f"rules.test.yaml:2:5: not as expected: It\n{told}\n")
    assert "rules.test.yaml: 1 case not as expected\n" in output


def test_a_chat_may_stand_in_a_file_beside_the_cases(folder: Path) -> None:
    (folder / "missed.json").write_bytes(a_hook(missed=True))
    assert (
        try_case(folder, "chat: missed.json, at: mon 09:00, expect: {Missed: [desk, room]}")[0] == 0
    )


def test_rules_that_no_case_expects_are_named(folder: Path) -> None:
    told = try_case(folder, "chat: {missed: true}, expect: Missed")[1]
    assert told == (
        "rules.test.yaml: 1 case as expected\n"
        "  no case expects “At night”, “Lonely”, “Owned”, “Rated”\n"
    )


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        (
            "chat: {mised: true}, expect: nothing",
            "2:23: unknown field 'mised'; did you mean missed?",
        ),
        (
            "chat: {rating: {at_most: 2}}, expect: nothing",
            "2:31: a chat has one value for 'rating', got a mapping; operators belong into the rules file",
        ),
        (
            "chat: {rating: bad}, expect: nothing",
            "2:31: expected a number, got 'bad'",
        ),
        ("chat: {}, expect: Mised", "2:34: no rule is called 'Mised'; did you mean Missed?"),
        (
            "chat: {}, expect: {Missed: rom}",
            "2:43: no destination is called 'rom'; did you mean room?",
        ),
        (
            "chat: {}, expect: [nothing, Missed]",
            "2:35: `nothing` stands alone; write `expect: nothing`",
        ),
        (
            "chat: {}, expect: []",
            "2:34: expected rules, got an empty list; if nothing should be sent, write `nothing`",
        ),
        ("chat: {}", "2:5: a case needs `expect`; write the rules that should match, or `nothing`"),
        (
            "chat: none.json, expect: nothing",
            (
                "2:22: 'none.json' can't be read: No such file or directory; "
                "a chat file is named as seen from this file"
            ),
        ),
        ("chat: rules.yaml, expect: nothing", "2:22: 'rules.yaml' is no chat: not JSON"),
        (
            "chat: {}, at: at night, expect: nothing",
            "2:30: 'at night' is not a time; write 2026-11-21 23:30, sat 23:30 or 23:30",
        ),
        ("chat: {}, at: foo 10:00, expect: nothing", "2:30: 'foo 10:00' is not a time"),
        ("chat: {}, at: '25:00', expect: nothing", "2:30: '25:00' is not a time"),
        (
            "chat: {}, expected: nothing",
            "2:26: unknown key 'expected' in a case; did you mean expect?",
        ),
    ],
)
def test_a_mistake_in_a_case_is_told_with_its_place(folder: Path, case: str, problem: str) -> None:
    code, output = try_case(folder, case)
    assert code == 2
    assert f"rules.test.yaml:{problem}" in output
    assert "      | " in output  # the line is quoted, with a caret


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("", "rules.test.yaml: the file is empty; it begins with `cases:`"),
        ("cases: []", "rules.test.yaml:1:8: `cases:` takes a list, got an empty list"),
        ("case: 1", "rules.test.yaml:1:1: the file has no `cases:`"),
        ("- a", "rules.test.yaml:1:1: expected `cases:`, got a list"),
        ("cases:\n\t- a", "rules.test.yaml:2:1: there is a tab here; indent with spaces"),
        ("cases: [*a]", "is YAML's way to repeat something, which is not allowed here"),
        ("cases: [" + "{name: x}, " * 200 + "]", "there is more; fix these first"),
        ("cases:\n- {name: x}\n- {name: x}", "a case called 'x' stands on line 2 already"),
    ],
)
def test_a_file_that_is_none_is_refused(folder: Path, source: str, problem: str) -> None:
    path = folder / "rules.test.yaml"
    path.write_text(source, "utf-8")
    result = relay("test", path)
    assert result.exit_code == 2
    assert problem in result.output


def test_bad_rules_can_t_be_tested(folder: Path) -> None:
    (folder / "rules.yaml").write_text("rules: 1", "utf-8")
    code, output = try_case(folder, "chat: {}, expect: nothing")
    assert code == 2
    assert "rules.yaml:1:8: `rules:` takes a list, got '1'" in output


def test_the_cases_beside_the_rules_are_found(folder: Path) -> None:
    try_case(folder, "chat: {}, expect: nothing")
    rules = folder / "rules.yaml"
    assert "1 case as expected" in relay("test", RELAY_RULES=str(rules)).output
    assert "1 case as expected" in relay("test", rules).output
    missing = relay("test", RELAY_RULES=str(folder / "other.yaml"))
    assert missing.exit_code == 2
    assert "other.test.yaml: there is no such file" in missing.output


def test_a_file_may_name_its_rules_and_a_person_others(folder: Path) -> None:
    cases = folder / "night.yaml"
    cases.write_text(
        "rules: rules.yaml\ncases: [{name: a, chat: {missed: yes}, expect: Missed}]", "utf-8"
    )
    assert relay("test", cases).exit_code == 0
    edited = folder / "new.yaml"
    edited.write_text(_RULES.replace("{missed: true}", "{offline: true}"), "utf-8")
    assert relay("test", cases, "--rules", edited).exit_code == 1


def test_programs_get_json_and_a_ci_gets_junit(folder: Path) -> None:
    path = folder / "rules.test.yaml"
    path.write_text(
        "cases:\n"
        "  - {name: good, chat: {}, expect: nothing}\n"
        "  - {name: '<bad> & 💥', chat: {missed: yes}, expect: Rated}\n",
        "utf-8",
    )
    report = folder / "report.xml"
    result = relay("test", path, "--json", "--junit", report)
    assert result.exit_code == 1
    (told,) = json.loads(result.stdout)["files"]
    assert [case["passed"] for case in told["cases"]] == [True, False]
    missed, rated = told["cases"][1]["differences"]
    assert missed["surplus"] == ["Missed -> desk", "Missed -> room"]
    assert rated["missing"] == ["Rated"]
    suite = ET.fromstring(report.read_text("utf-8")).find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    good, bad = suite.findall("testcase")
    assert good.find("failure") is None
    assert bad.get("name") == "<bad> & 💥"
    assert bad.get("line") == "3"
    assert "- Rated" in (bad.findtext("failure") or "")


def test_the_example_s_own_cases_are_as_expected() -> None:
    result = relay("test", ROOT / "rules.example.test.yaml")
    assert result.exit_code == 0, result.output
    # Only the rule that is turned off is left without a case.
    assert "no case expects" not in result.output
