"""The page When: its examples can be used, and each recipe does what its cases and stories say."""

import re
from pathlib import Path

import pytest

from tests.rules.books import a_book
from tests.rules.commands import relay

PAGE = (Path(__file__).parents[2] / "docs" / "when.md").read_text("utf-8")
KEYS, _, SECTIONS = PAGE.partition("\n## Recipes\n")
RECIPES = SECTIONS.split("\n### ")[1:]
YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def run(folder: Path, rules: str, cases: str) -> str:
    (folder / "rules.yaml").write_text(rules, "utf-8")
    (folder / "rules.test.yaml").write_text(cases, "utf-8")
    assert a_book(rules).warnings == ()
    return relay("test", folder / "rules.test.yaml").output


def test_there_are_ten_recipes() -> None:
    assert len(RECIPES) == 10


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.splitlines()[0])
def test_a_recipe_does_what_its_cases_say(recipe: str, tmp_path: Path) -> None:
    rules, cases = YAML.findall(recipe)
    output = run(tmp_path, rules, cases)
    assert "not as expected" not in output, output
    assert "as expected\n" in output, output
    assert "no case expects" not in output


def test_the_example_does_what_its_cases_say(tmp_path: Path) -> None:
    rules, cases = YAML.findall(KEYS)
    output = run(tmp_path, rules, cases)
    assert "2 cases as expected\n" in output, output


LUNCH = next(recipe for recipe in RECIPES if recipe.startswith("Lunch"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("digest_of: 3", "digest_of: 2", "- Mon 2026-06-01 16:00 -> room: a digest of 2"),
        ("digest_of: 3", "digest_of: 2", "+ Mon 2026-06-01 16:00 -> room: a digest of 3"),
        ("mon 16:00", "mon 17:00", "- Mon 2026-06-01 17:00 -> room: a digest of 3"),
        ("to: room", "to: rom", "no destination is called 'rom'; did you mean room?"),
        ("at: mon 14:05", "at: later", "'later' is not a time"),
        ("chats: 3", "chats: 0", "expected a whole number, got '0'"),
        ("every: 20m", "evry: 20m", "unknown key 'evry' in a story; did you mean every?"),
        ("missed: true}}", "mised: true}}", "unknown field 'mised'; did you mean missed?"),
    ],
)
def test_a_story_that_is_otherwise_says_so(old: str, new: str, said: str, tmp_path: Path) -> None:
    rules, cases = YAML.findall(LUNCH)
    assert said in run(tmp_path, rules, cases.replace(old, new))


@pytest.mark.parametrize(
    ("expected", "line"),
    [
        ("room: sat 08:00", "- Missed chats -> room, Sat 2026-11-28 08:00"),
        ("room: sat 08:00", "+ Missed chats -> room, Sat 2026-11-28 07:00"),
        ("room: at once", "- Missed chats -> room, at once"),
        ("room: at once", "it matches, but sends to others, or at another time, than expected"),
        ("room: 25:00", "'25:00' is not a time"),
    ],
)
def test_a_case_that_is_told_at_another_time_says_so(
    expected: str, line: str, tmp_path: Path
) -> None:
    rules, cases = YAML.findall(RECIPES[0])
    assert line in run(tmp_path, rules, cases.replace("room: sat 07:00", expected))


URGENT = """
timezone: Europe/Prague
schedules:
  office: {{days: mon-fri, hours: 08:00-17:00}}
destinations:
  room: {{slack: {{webhook: $ROOM}}, {timing}}}
rules:
  - {{name: Missed chats, when: {{missed: true}}, send_to: room}}
  - {{name: VIP, when: {{visitor.note: VIP}}, send_to: room, urgent: true{once}}}
"""
BOTH = """
stories:
  - name: An urgent rule and another one
    happens:
      - {at: sat 10:00, like: {missed: true, visitor.note: VIP, visitor.email: anna@example.com}}
    sent:
      - {at: sat 10:00, to: room}
"""


@pytest.mark.parametrize(
    ("timing", "once", "again"),
    [
        ("hours: office, send: 12:00", "", False),
        ("hours: office, send: every 30m", "", False),
        ("hours: office, outside_hours: digest", "", False),
        ("hours: office", "", True),
        # It may have told of this visitor already, and then says nothing.
        ("hours: office, send: 12:00", ", once_per: {visitor: 24h}", True),
    ],
)
def test_no_digest_has_what_an_urgent_rule_tells_at_once(
    timing: str, once: str, again: bool, tmp_path: Path
) -> None:
    output = run(tmp_path, URGENT.format(timing=timing, once=once), BOTH)
    assert ("-> room: one chat" in output) is again, output


HOURS = """
timezone: Europe/Prague
schedules:
  office: {days: mon-fri, hours: 08:00-17:00}
  saturday: {days: sat, hours: 09:00-12:00}
destinations:
  duty: {slack: {webhook: $DUTY}}
  room: {slack: {webhook: $ROOM}, hours: [office, saturday]OUTSIDE}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: room}
"""


@pytest.mark.parametrize(
    ("arrives", "told"),
    [
        ("2026-11-27 16:59", "at once"),
        ("2026-11-27 17:00", "2026-11-28 09:00"),
        ("2026-11-28 11:59", "at once"),
        ("2026-11-28 12:00", "2026-11-30 08:00"),
        ("2027-03-27 12:00", "2027-03-29 08:00"),
    ],
)
def test_hours_of_several_schedules(arrives: str, told: str, tmp_path: Path) -> None:
    case = f"{{name: C, chat: {{missed: true}}, arrives: {arrives}, expect: {{Missed chats: {{room: {told}}}}}}}"
    rules = HOURS.replace("OUTSIDE", "").replace("  duty: {slack: {webhook: $DUTY}}\n", "")
    assert "1 case as expected" in run(tmp_path, rules, f"cases:\n  - {case}\n")


def test_explain_says_who_is_told_instead(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(HOURS.replace("OUTSIDE", ", outside_hours: duty"), "utf-8")
    sample = Path(__file__).parents[2] / "relay" / "demo" / "samples" / "missed.json"
    output = relay(
        "explain", sample, tmp_path / "rules.yaml", "--arrives", "2026-11-28 12:00"
    ).output
    assert "room: duty gets it instead: outside its hours (office, saturday)\n" in output
    assert "Missed chats -> duty: at once\n" in output


@pytest.mark.parametrize(
    ("timing", "said"),
    [
        ("send: every mon 08:00", "room gets one digest, mon 08:00"),
        ("send: every monday 8:00", "room gets one digest, mon 08:00"),
        ("send: every day 08:00", "room gets one digest, daily 08:00"),
        ("hours: [office, saturday]", "room gets each chat at once within office, saturday"),
        ("hours: [office, sunday]", "no schedule is called 'sunday'"),
        ("send: 08:00, limit: 5 per hour", "`limit:` does nothing beside `send:`"),
    ],
)
def test_check_says_what_the_keys_mean(timing: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(HOURS.replace("hours: [office, saturday]OUTSIDE", timing), "utf-8")
    result = relay("check", path)
    assert said in result.output + result.stderr


@pytest.mark.parametrize("hours", ['"08:00-12:00, 13:00-17:00"', "08:00-12:00 13:00-17:00"])
def test_two_ranges_in_one_text_are_a_list(hours: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(HOURS.replace("OUTSIDE", "").replace("09:00-12:00", hours), "utf-8")
    assert "write a list: [08:00-12:00, 13:00-17:00]" in relay("check", path).stderr
