"""Everything that can be wrong before anything starts, found at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relay.rules import Problem, RuleBook, RulesError, Severity, load_rules
from relay.settings import Environment, SecretValue, Settings, SettingsError, read_settings
from relay.shipped import shipped
from relay.templates import Templates
from relay.transports.registry import TRANSPORTS


class NotReady(Exception):
    """The relay can't start. `problems` has a line for each reason, none shows a secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Ready:
    """Settings, rules and templates that fit together, and the secrets that the rules name."""

    settings: Settings
    rules: RuleBook
    templates: Templates
    secrets: Mapping[str, SecretValue]


def get_ready(variables: Mapping[str, str]) -> Ready:
    """Raises NotReady with all problems of the settings and of the rules file together."""
    settings, problems = settings_of(variables)
    templates = open_templates(settings)
    try:
        rules = load_rules(settings.rules, transports=TRANSPORTS, templates=templates.names)
    except RulesError as error:
        problems += [str(problem) for problem in error.problems]
        raise NotReady(problems) from None
    environment = Environment(variables)
    problems += [str(problem) for problem in missing_variables(rules, environment)]
    if problems:
        raise NotReady(problems)
    found = {name: environment.secret(name) for name in rules.secrets()}
    return Ready(settings, rules, templates, {n: v for n, v in found.items() if v is not None})


def settings_of(variables: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings, or those that are needed to read rules, with what is wrong with the others."""
    try:
        return read_settings(variables), []
    except SettingsError as error:
        rules = Path(variables.get("RELAY_RULES", "").strip() or "rules.yaml")
        return Settings(rules=rules), list(error.problems)


def open_templates(settings: Settings) -> Templates:
    """The user's folder, where there is one, over the shipped ones."""
    own = (settings.templates,) if settings.templates else ()
    return Templates(*own, shipped("templates"))


def missing_variables(rules: RuleBook, environment: Environment) -> list[Problem]:
    """A warning for every variable that a destination relies on and the environment does not have."""
    found = []
    for name, places in {**rules.secrets(), **rules.needed_settings()}.items():
        try:
            missing = environment.get(name) is None
            what = f"{name} is not set in this environment"
        except ValueError as error:
            missing, what = True, str(error)
        if missing:
            more = f", and {len(places) - 1} more" if len(places) > 1 else ""
            found.append(
                Problem(
                    path=places[0].path,
                    line=places[0].line,
                    column=places[0].column,
                    what=f"{what}; the relay needs it here{more}",
                    severity=Severity.WARNING,
                )
            )
    return sorted(found, key=lambda problem: problem.line)
