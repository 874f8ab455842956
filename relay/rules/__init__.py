"""The rules, which decide who is notified of a chat. `read_rules` reads them, `RuleBook` evaluates them."""

from relay.languages import LANGUAGES
from relay.rules.conditions import Finding
from relay.rules.reading.problem import Place, Problem, RulesError, Severity, UnreadableRules
from relay.rules.reading.rules_file import read_rules
from relay.rules.rule_book import Match, Rule, RuleBook, Standing, Verdict
from relay.rules.timed_evaluation import Judgement, Recorded, judge, read_record

__all__ = [
    "LANGUAGES",
    "Finding",
    "Judgement",
    "Match",
    "Place",
    "Problem",
    "Recorded",
    "Rule",
    "RuleBook",
    "RulesError",
    "Severity",
    "Standing",
    "UnreadableRules",
    "Verdict",
    "judge",
    "read_record",
    "read_rules",
]
