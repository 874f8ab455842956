"""`relay test`: runs the test cases beside the rules file, and reports to people, programs and CI."""

import asyncio
import os
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from relay.cli.open_rules import open_rules, refuse
from relay.cli.printing import FINE, JSON, NOT_FINE, could_not_run, counted, print_json, print_lines
from relay.cli.rules_output import finding_as_json, finding_lines
from relay.rules import RulesError
from relay.runtime.startup import settings_of
from relay.services.case_run import CaseRun, Difference, Result, case_file_of, read_suite, run_cases
from relay.settings.table import Settings


def case_lines(runs: Sequence[CaseRun]) -> Iterator[str]:
    """Lines for cases that failed, each with its differences, and a summary."""
    for run in runs:
        for result in run.failures:
            place = click.style(str(result.case.place), bold=True)
            yield f"{place}: {click.style('not as expected', fg='red')}: {result.case.name}"
            for difference in result.differences:
                yield from _difference(difference)
            yield ""
    for run in runs:
        yield _summary(run)
        if run.untested:
            names = ", ".join(f"“{name}”" for name in run.untested)
            yield click.style(f"  no case expects {names}", dim=True)


def _difference(difference: Difference) -> Iterator[str]:
    for line in difference.missing:
        yield f"  {click.style(f'- {line}', fg='red')}"
    for line in difference.surplus:
        yield f"  {click.style(f'+ {line}', fg='green')}"
    yield f"      {difference.reason}"
    for finding in difference.findings:
        yield from finding_lines(finding, "        ")


def _summary(run: CaseRun) -> str:
    failed, passed = len(run.failures), len(run.results) - len(run.failures)
    if not failed:
        return f"{run.path}: {counted(passed, 'case')} as expected"
    if not passed:
        words = f"{counted(failed, 'case')} not as expected"
        return f"{run.path}: {click.style(words, fg='red', bold=True)}"
    words = click.style(f"{failed} not", fg="red", bold=True)
    return f"{run.path}: {counted(passed, 'case')} as expected, {words}"


# -- for programs ------------------------------------------------------------------------------------------


def cases_json(runs: Sequence[CaseRun]) -> dict[str, Any]:
    """The results of test cases as JSON values, for `relay test --json`."""
    return {
        "ok": not any(run.failures for run in runs),
        "files": [_run_as_json(run) for run in runs],
    }


def _run_as_json(run: CaseRun) -> dict[str, Any]:
    return {
        "file": str(run.path),
        "rules": str(run.rules),
        "cases": [
            {
                "name": result.case.name,
                "line": result.case.place.line,
                "passed": result.passed,
                "differences": [_difference_as_json(each) for each in result.differences],
            }
            for result in run.results
        ],
        "untested": list(run.untested),
    }


def _difference_as_json(difference: Difference) -> dict[str, Any]:
    return {
        "rule": difference.rule,
        "missing": list(difference.missing),
        "surplus": list(difference.surplus),
        "reason": difference.reason,
        "findings": [finding_as_json(finding) for finding in difference.findings],
    }


def junit_xml(runs: Sequence[CaseRun]) -> str:
    """A JUnit XML report, with a suite for each file."""
    root = ET.Element("testsuites")
    for run in runs:
        suite = ET.SubElement(
            root,
            "testsuite",
            name=str(run.path),
            tests=str(len(run.results)),
            failures=str(len(run.failures)),
            errors="0",
        )
        for result in run.results:
            _testcase(suite, result)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, "unicode")}\n'


def _testcase(suite: ET.Element, result: Result) -> None:
    case = result.case
    element = ET.SubElement(
        suite,
        "testcase",
        name=case.name,
        classname=case.place.path,
        file=case.place.path,
        line=str(case.place.line),
    )
    if result.passed:
        return
    lines = [click.unstyle(line) for each in result.differences for line in _difference(each)]
    failure = ET.SubElement(element, "failure", message=lines[0].strip())
    failure.text = "\n".join(lines)


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
    settings = settings_of(os.environ)[0]
    runs = [_run(path, rules, settings) for path in files or [_case_file(settings)]]
    if junit:
        _write(junit, junit_xml(runs))
    if as_json:
        print_json(cases_json(runs))
    else:
        print_lines(case_lines(runs))
    sys.exit(FINE if all(result.passed for run in runs for result in run.results) else NOT_FINE)


def _case_file(settings: Settings) -> Path:
    path = case_file_of(settings.rules)
    if not path.exists():
        could_not_run(
            [f"{path}: there is no such file; cases for {settings.rules} are looked for there"]
        )
    return path


def _run(path: Path, rules: Path | None, settings: Settings) -> CaseRun:
    try:
        suite = asyncio.run(read_suite(path, rules, settings.rules))
        book = open_rules(suite.rules)
        return asyncio.run(run_cases(suite, book))
    except RulesError as error:
        refuse(error)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        could_not_run([f"{path}: can't be written: {error.strerror or error}"])
