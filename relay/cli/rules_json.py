"""What the commands about rules print for programs."""

from collections.abc import Iterable
from typing import Any

from relay.chat import Chat
from relay.cli import rules_output as words
from relay.cli.checking import Checked
from relay.outbox.history import StoredHook
from relay.rules import Finding, Problem, Verdict, read_record
from relay.rules.operators import OPERATORS, operators_for


def checked(checked: Checked) -> dict[str, Any]:
    found = (*checked.problems, *checked.warnings)
    return {
        "file": str(checked.path),
        "ok": checked.exit_code == 0,
        "rules": len(checked.book.rules) if checked.book else None,
        "destinations": len(checked.book.destinations) if checked.book else None,
        "problems": [problem_as_json(problem) for problem in found],
        "templates": list(checked.templates),
        "settings": list(checked.settings),
    }


def problem_as_json(problem: Problem) -> dict[str, Any]:
    return {
        "severity": problem.severity.value,
        "path": problem.path,
        "line": problem.line or None,
        "column": problem.column or None,
        "what": problem.what,
        "hint": problem.hint,
    }


def explained(chat: Chat, verdicts: Iterable[Verdict]) -> dict[str, Any]:
    return {
        "account": chat.account,
        "chat": chat.id,
        "oddities": list(chat.oddities),
        "rules": [_verdict_as_json(verdict) for verdict in verdicts],
    }


def remembered(hook: StoredHook) -> dict[str, Any]:
    record = read_record(hook.verdicts) if hook.verdicts else None
    return {
        "hook": hook.id,
        "account": hook.account,
        "chat": hook.chat,
        "received_at": hook.received_at.isoformat(),
        "rules_hash": hook.rules_hash,
        "trouble": hook.trouble,
        "rules": [_verdict_as_json(verdict) for verdict in record.verdicts] if record else [],
        "left_out": record.left_out if record else 0,
    }


def _verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "rule": verdict.rule,
        "answer": verdict.standing.value,
        "stopped_by": verdict.stopped_by or None,
        "findings": [finding_as_json(finding) for finding in verdict.findings],
        "sends": [
            {
                "destination": match.destination,
                "instead_of": match.instead_of or None,
                "template": match.template,
                "recipients": list(match.recipients),
            }
            for match in verdict.matches
        ],
        "left_out": list(verdict.left_out),
        "reaches_nobody": verdict.reaches_nobody,
    }


def finding_as_json(finding: Finding) -> dict[str, Any]:
    return {
        "condition": finding.words,
        "holds": finding.holds,
        "saw": finding.saw,
        "parts": [finding_as_json(part) for part in finding.parts],
    }


def fields() -> dict[str, Any]:
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
