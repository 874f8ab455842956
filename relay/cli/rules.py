"""`relay check`, `relay explain`, `relay fields`: the rules file, for the people who write it."""

import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import click

from relay.chat import Chat
from relay.cli import rules_words as words
from relay.cli.checking import (
    COULD_NOT_RUN,
    Checked,
    check_rules,
)
from relay.rules import Finding, Problem, RuleBook, RulesError, Verdict, load_rules
from relay.rules.operators import OPERATORS, operators_for
from relay.smartsupp import UnreadableHook, read_chat
from relay.startup import open_templates, settings_of
from relay.transports.registry import TRANSPORTS

_RULES = click.argument("rules", required=False, type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.command()
@_RULES
@_JSON
def check(rules: Path | None, *, as_json: bool) -> None:
    """Read the rules file and say everything that is wrong with it.

    RULES is the file to check; without it, the one that RELAY_RULES names (rules.yaml). The templates that
    the rules name are tried out with made-up chats. Nothing is sent.

    Exit code: 0 all fine, 1 there are problems, 2 the file or the settings can't be read.
    """
    checked = check_rules(rules, os.environ)
    if as_json:
        _print_json(_checked_as_json(checked))
    else:
        _print(words.trouble(checked), err=True)
        click.echo(words.summary(checked), err=bool(checked.exit_code))
    sys.exit(checked.exit_code)


@click.command()
@click.argument("chat", type=click.File("rb"), metavar="CHAT.json")
@_RULES
@_JSON
def explain(chat: BinaryIO, rules: Path | None, *, as_json: bool) -> None:
    """Say what each rule makes of a chat, and why.

    CHAT.json is a hook as Smartsupp posts it; - reads it from the standard input. RULES is the rules file;
    without it, the one that RELAY_RULES names (rules.yaml). Nothing is sent.
    """
    read = _chat(chat)
    book = _book(rules)
    verdicts = book.explain(read)
    if as_json:
        _print_json(_explained_as_json(read, verdicts))
    else:
        _print(words.explained(read, book, verdicts))


@click.command()
@_JSON
def fields(*, as_json: bool) -> None:
    """List what a rule may ask about, and with which operators."""
    if as_json:
        _print_json(_fields_as_json())
        return
    width = shutil.get_terminal_size((120, 24)).columns
    _print(words.table(words.FIELD_HEADINGS, words.field_rows(), width))
    click.echo()
    _print(words.table(words.KIND_HEADINGS, words.kinds(), width))
    click.echo()
    _print(words.table(words.OPERATOR_HEADINGS, words.operator_rows(), width))


def _print(lines: Iterable[str], *, err: bool = False) -> None:
    for line in lines:
        click.echo(line, err=err)


def _print_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _chat(file: BinaryIO) -> Chat:
    try:
        return read_chat(file.read())
    except UnreadableHook as error:
        name = getattr(file, "name", "the standard input")
        click.echo(f"{name}: this is no chat: {error}", err=True)
        sys.exit(COULD_NOT_RUN)


def _book(rules: Path | None) -> RuleBook:
    settings, wrong = settings_of(os.environ)
    try:
        return load_rules(
            rules or settings.rules,
            transports=TRANSPORTS,
            templates=open_templates(settings).names,
        )
    except RulesError as error:
        _print([str(error), *wrong], err=True)
        sys.exit(COULD_NOT_RUN)


# -- for programs ------------------------------------------------------------------------------------------


def _checked_as_json(checked: Checked) -> dict[str, Any]:
    found = (*checked.problems, *checked.warnings)
    return {
        "file": str(checked.path),
        "ok": checked.exit_code == 0,
        "rules": len(checked.book.rules) if checked.book else None,
        "destinations": len(checked.book.destinations) if checked.book else None,
        "problems": [_problem_as_json(problem) for problem in found],
        "templates": list(checked.templates),
        "settings": list(checked.settings),
    }


def _problem_as_json(problem: Problem) -> dict[str, Any]:
    return {
        "severity": problem.severity.value,
        "path": problem.path,
        "line": problem.line or None,
        "column": problem.column or None,
        "what": problem.what,
        "hint": problem.hint,
    }


def _explained_as_json(chat: Chat, verdicts: Iterable[Verdict]) -> dict[str, Any]:
    return {
        "account": chat.account,
        "chat": chat.id,
        "oddities": list(chat.oddities),
        "rules": [_verdict_as_json(verdict) for verdict in verdicts],
    }


def _verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "rule": verdict.rule,
        "answer": verdict.standing.value,
        "stopped_by": verdict.stopped_by or None,
        "findings": [_finding_as_json(finding) for finding in verdict.findings],
        "sends": [
            {
                "destination": match.destination,
                "template": match.template,
                "recipients": list(match.recipients),
            }
            for match in verdict.matches
        ],
        "left_out": list(verdict.left_out),
    }


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    return {
        "condition": finding.words,
        "holds": finding.holds,
        "saw": finding.saw,
        "parts": [_finding_as_json(part) for part in finding.parts],
    }


def _fields_as_json() -> dict[str, Any]:
    return {
        "fields": [
            {
                "name": field.name,
                "smartsupp": field.wire,
                "kind": field.kind.value,
                "operators": list(operators_for(field.kind)),
                "meaning": field.doc,
            }
            for field in words.all_fields()
        ],
        "operators": [
            {"name": each.name, "meaning": each.doc, "example": each.example}
            for each in OPERATORS.values()
        ],
    }
