"""`relay test`: the rules file against the cases that stand beside it."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from relay.chat import Chat
from relay.cli import cases_words
from relay.cli.opening import open_rules, refuse
from relay.cli.printing import FINE, FOUND, JSON, could_not_run, print_json, print_lines
from relay.files import read_file
from relay.rules import RulesError, UnreadableRules
from relay.rules.cases.case import run_case, untested
from relay.rules.cases.case_reader import CaseFile, read_case_file
from relay.rules.reading.rules_file import read_bytes
from relay.rules.reading.values import BadValue, shown
from relay.runtime.startup import settings_of
from relay.smartsupp import UnreadableHook, read_chat

_ENDING = ".test.yaml"


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--rules",
    type=click.Path(path_type=Path),
    help="Try the cases on this rules file, whichever they name.",
)
@click.option("--junit", type=click.Path(path_type=Path), help="Write a JUnit XML report, for CI.")
@JSON
def test(files: tuple[Path, ...], rules: Path | None, junit: Path | None, *, as_json: bool) -> None:
    """Try the rules on the chats of test files, and say where they don't do what you expected.

    FILES are test files; without them, the one beside the rules file: rules.test.yaml beside rules.yaml. A test
    file is about the rules file that its `rules:` names, or the one it is named after. Nothing is sent.

    Exit code: 0 all as expected, 1 some not, 2 a file can't be read.
    """
    runs = [_run(path, rules) for path in files or [_beside_the_rules()]]
    if junit:
        _write(junit, cases_words.junit(runs))
    if as_json:
        print_json(cases_words.as_json(runs))
    else:
        print_lines(cases_words.told(runs))
    sys.exit(FINE if all(result.passed for run in runs for result in run.results) else FOUND)


def _beside_the_rules() -> Path:
    rules = settings_of(os.environ)[0].rules
    path = _cases_of(rules)
    if not path.exists():
        could_not_run([f"{path}: there is no such file; cases for {rules} are looked for there"])
    return path


def _cases_of(rules: Path) -> Path:
    return rules.with_name(f"{rules.stem}{_ENDING}")


def _run(path: Path, rules: Path | None) -> cases_words.Run:
    if not path.name.endswith(_ENDING) and _cases_of(path).exists():
        # The rules file was named instead of its cases.
        path, rules = (_cases_of(path), rules or path)
    source, file = _read(path)
    rules = rules or _rules_of(path, file)
    book = open_rules(rules)
    try:
        cases = file.cases(book, _Folder(path.parent).chat)
    except RulesError as error:
        refuse(error.problems, source)
    results = tuple(run_case(book, case) for case in cases)
    return cases_words.Run(path, rules, results, untested(book, cases))


def _read(path: Path) -> tuple[bytes, CaseFile]:
    source = b""
    try:
        source = read_bytes(path, hint="")
        return source, read_case_file(source, str(path))
    except UnreadableRules as error:
        could_not_run(map(str, error.problems))
    except RulesError as error:
        refuse(error.problems, source)


def _rules_of(path: Path, file: CaseFile) -> Path:
    if file.rules:
        return path.parent / file.rules
    namesake = path.with_name(f"{path.name.removesuffix(_ENDING)}.yaml")
    return namesake if namesake.exists() else settings_of(os.environ)[0].rules


@dataclass(frozen=True, slots=True)
class _Folder:
    """Where the names of chat files are looked up."""

    path: Path

    def chat(self, name: str) -> Chat:
        """Raises BadValue."""
        try:
            return read_chat(read_file(self.path / name))
        except OSError as error:
            what = f"{shown(name)} can't be read: {error.strerror or error}"
            raise BadValue(what, "a chat file is named as seen from this file") from None
        except (UnreadableHook, ValueError) as error:
            raise BadValue(f"{shown(name)} is no chat: {error}") from None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        could_not_run([f"{path}: can't be written: {error.strerror or error}"])
