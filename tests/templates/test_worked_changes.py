"""A new user who follows "Three changes, step by step" in docs/templates.md sees what the page promises."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.test_init import VARIABLES
from tests.rules.commands import relay
from tests.templates.reading import MailPage

PAGE = (Path(__file__).parents[2] / "docs" / "templates.md").read_text("utf-8")
SECTION = PAGE.partition("## Three changes, step by step\n")[2].partition("\n## ")[0]
DESTINATION = "support-room"


class Step(NamedTuple):
    """A block of the page, and what stands between it and the one before."""

    before: str
    kind: str
    text: str


def steps() -> Iterator[Step]:
    found = re.findall(r"(.*?)^```(\w+)\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    yield from (Step(*each) for each in found)


class NewUser:
    """In a folder of their own, doing what the page says and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._printed = ""
        assert relay("init", folder).exit_code == 0

    def take(self, step: Step) -> None:
        if "delete the `#` before `RELAY_TEMPLATES` in `relay.env`" in step.before:
            settings = self._folder / "relay.env"
            changed = settings.read_text("utf-8").replace("# RELAY_TEMPLATES", "RELAY_TEMPLATES")
            settings.write_text(changed, "utf-8")
        match step.kind:
            case "sh":
                self._type(step.text)
            case "jinja":
                (file,) = re.findall(r"Change `(mytemplates/\S+)` to this", step.before)
                assert (self._folder / file).is_file()
                (self._folder / file).write_text(step.text, "utf-8")
            case "po":
                (file,) = re.findall(r"`(mytemplates/_translations/\S+)`", step.before)
                fill_in(self._folder / file, *re.findall(r'"(.*)"', step.text))
            case "yaml":
                self._change_rules(step.text)
            case "text" if not step.before.strip():
                # The days on which a schedule is closed next depend on today.
                lines = self._printed.splitlines(keepends=True)
                assert "".join(one for one in lines if "is closed by" not in one) == step.text
            case "text":
                told = self.told()
                missing = [line for line in step.text.splitlines() if not _is_told(line, told)]
                assert missing == []
            case kind:
                raise AssertionError(kind)

    def _type(self, commands: str) -> None:
        commands = commands.replace(" --open", "")  # no browser here
        done = subprocess.run(
            ["bash", "-ec", commands],
            cwd=self._folder,
            env={**VARIABLES, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        self._printed = done.stdout

    def _change_rules(self, line: str) -> None:
        rules = self._folder / "rules.yaml"
        name = line.partition(":")[0]
        changed, count = re.subn(
            f"^{name}:.*\n", line.replace("\\", r"\\"), rules.read_text("utf-8"), flags=re.MULTILINE
        )
        assert count == 1
        rules.write_text(changed, "utf-8")

    def told(self) -> str:
        """What the support room would get of the missed sample chat, as `relay preview` shows it."""
        self._type("relay preview samples/missed.json")
        (page,) = (self._folder / "relay-preview").glob(f"*{DESTINATION}.slack.html")
        return shown_text(page.read_text("utf-8"))


def fill_in(path: Path, msgid: str, words: str) -> None:
    """Between the quotation marks below the text, as an editor would."""
    before = path.read_text("utf-8")
    empty = f'msgid "{msgid}"\nmsgstr ""\n'
    assert before.count(empty) == 1
    path.write_text(before.replace(empty, empty.replace('""', f'"{words}"')), "utf-8")


def shown_text(html: str) -> str:
    page = MailPage(html)
    return " ".join(" ".join(page.texts).split())


def _is_told(line: str, told: str) -> bool:
    """A fact's label and value stand apart there."""
    return line in told or all(part in told for part in line.split(": "))


@pytest.mark.long
def test_a_wording_a_fact_and_a_language_are_changed_as_the_page_says(tmp_path: Path) -> None:
    user = NewUser(tmp_path)
    (before,) = re.findall(r'subject is "(.*?)"', SECTION)
    assert before in user.told()
    taken = list(steps())
    kinds = [step.kind for step in taken]
    assert (kinds.count("po"), kinds.count("jinja")) == (2, 1)
    for step in taken:
        user.take(step)
