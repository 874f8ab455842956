"""What `relay test` tells: to people, to programs, to CI."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from relay.cli.printing import counted
from relay.cli.rules_json import finding_as_json
from relay.cli.rules_output import found
from relay.rules.cases.case import Difference, Result


@dataclass(frozen=True, slots=True)
class Run:
    """A test file that was run."""

    path: Path
    rules: Path
    results: tuple[Result, ...]
    untested: tuple[str, ...]
    """Rules that no case expects."""

    @property
    def failures(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if not result.passed)


def told(runs: Sequence[Run]) -> Iterator[str]:
    """Every failure with its differences, then how many there were."""
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
        yield from found(finding, "        ")


def _summary(run: Run) -> str:
    failed, passed = len(run.failures), len(run.results) - len(run.failures)
    if not failed:
        return f"{run.path}: {counted(passed, 'case')} as expected"
    if not passed:
        words = f"{counted(failed, 'case')} not as expected"
        return f"{run.path}: {click.style(words, fg='red', bold=True)}"
    words = click.style(f"{failed} not", fg="red", bold=True)
    return f"{run.path}: {counted(passed, 'case')} as expected, {words}"


# -- for programs ------------------------------------------------------------------------------------------


def as_json(runs: Sequence[Run]) -> dict[str, Any]:
    """The results of test cases as JSON values, for `relay test --json`."""
    return {
        "ok": not any(run.failures for run in runs),
        "files": [_run_as_json(run) for run in runs],
    }


def _run_as_json(run: Run) -> dict[str, Any]:
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


def junit(runs: Sequence[Run]) -> str:
    """A JUnit XML report: a suite for each file."""
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
