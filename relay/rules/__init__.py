"""The rules: which chats are told to whom. `load_rules` reads them, `RuleBook` asks them."""

from relay.rules.book import Match, Rule, RuleBook, Standing, Verdict
from relay.rules.conditions import Finding
from relay.rules.problem import Place, Problem, RulesError, Severity, UnreadableRules, redact
from relay.rules.reader import LANGUAGES, load_rules, read_rules

__all__ = [
    "LANGUAGES",
    "Finding",
    "Match",
    "Place",
    "Problem",
    "Rule",
    "RuleBook",
    "RulesError",
    "Severity",
    "Standing",
    "UnreadableRules",
    "Verdict",
    "load_rules",
    "read_rules",
    "redact",
]
