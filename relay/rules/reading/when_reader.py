"""Reads `when:` into conditions."""

import re
from collections.abc import Callable
from typing import Any

from relay.rules.compared_values import SECONDS_TO_FOLD, Bound
from relay.rules.conditions import All, Always, AnyOf, Compare, CompareEach, Condition, Empty, Not
from relay.rules.field_type import Field, Kind
from relay.rules.fields import FIELDS
from relay.rules.operators import (
    EXACTLY,
    OPERATORS,
    OTHER_NAMES,
    SMARTSUPP_NAMES,
    SYNONYMS,
    VARIABLES,
    Operator,
    field_named,
    fields_with,
    operators_for,
)
from relay.rules.reading.node_reader import Reading, as_table, as_text, called, parsed
from relay.rules.reading.problem import Problems
from relay.rules.reading.value_parsers import did_you_mean, listed, shown, yes_no
from relay.rules.reading.yaml_document import Items, Node, Table, Text
from relay.text import clean_line, nearest

MAX_PATTERNS = 1000
"""The most regular expressions in one rules file."""

_GROUPS = ("any", "all", "not")
_EXPECTED = "conditions such as `missed: true`"


def read_when(reading: Reading, node: Node) -> tuple[Condition, ...]:
    """Return the conditions, which must all hold; note problems for those that can't be read."""
    if isinstance(node, Text) and not node.missing:
        if node.value == "always":
            return (Always(),)
        hint = "write `when: always`, or a mapping such as {missed: true}"
        reading.problems.error(node, f"expected {_EXPECTED}, got {called(node)}", hint)
        return ()
    return _conditions(reading, node, "write `when: always` if every chat is meant")


def _conditions(reading: Reading, node: Node, hint: str = "") -> tuple[Condition, ...]:
    if isinstance(node, Items):
        reading.problems.error(
            node,
            "expected a mapping, got a list",
            "leave out the dashes; for a choice put the list under `any:`",
        )
        return ()
    table = as_table(reading.problems, node, _EXPECTED, hint)
    conditions: list[Condition] = []
    for key, value in table.entries.values() if table else ():
        if key.value in _GROUPS:
            conditions += _group(reading, key, value)
        else:
            conditions += _field_conditions(reading, key, value)
    return tuple(conditions)


def _group(reading: Reading, key: Text, value: Node) -> list[Condition]:
    if key.value == "not":
        inner = _conditions(reading, value)
        return [Not(inner)] if inner else []
    if not isinstance(value, Items) or not value.nodes:
        kind = "an empty list" if isinstance(value, Items) else called(value)
        hint = f"write `{key.value}: [{{missed: true}}, {{rating: {{at_most: 2}}}}]`"
        reading.problems.error(value, f"`{key.value}:` takes a list, got {kind}", hint)
        return []
    parts = [_conditions(reading, node) for node in value.nodes]
    held = tuple(part[0] if len(part) == 1 else All(part) for part in parts if part)
    return [AnyOf(held) if key.value == "any" else All(held)]


def _field_conditions(reading: Reading, key: Text, value: Node) -> list[Condition]:
    field = field_or_complaint(reading.problems, key)
    if field is None:
        return []
    match value:
        case Table():
            return _operators(reading, field, value)
        case Items():
            return _several(reading, field, OPERATORS["one_of"], value)
        case Text():
            return _single(reading, field, OPERATORS["is"], value)


def field_or_complaint(problems: Problems, key: Text) -> Field | None:
    """Return the field that a key names; None after noting a problem."""
    field = field_named(key.value)
    if field is None:
        problems.error(key, *_unknown_field(key.value))
    return field


def _unknown_field(name: str) -> tuple[str, str]:
    if ours := SMARTSUPP_NAMES.get(name):
        return f"{shown(name)} is Smartsupp's name", f"write {listed(ours)}"
    if name in OPERATORS or name in SYNONYMS:
        operator = SYNONYMS.get(name, name)
        hint = f"it belongs under a field: `{OPERATORS[operator].example}`"
        return f"unknown field {shown(name)}", hint
    if name in {VARIABLES, VARIABLES[:-1]}:
        return f"{shown(name)} needs the key of a variable", f"write {VARIABLES}plan"
    return f"unknown field {shown(name)}", _field_hint(name)


def _field_hint(name: str) -> str:
    first = re.match(r"(?:not\s+)?([\w.]+)\s*=?=?\s*(\S+)$", name)
    if first and first[1] in FIELDS:
        return f"is a ':' missing? write `{first[1]}: {clean_line(first[2], 20)}`"
    if name.startswith("variables."):
        return f"write {VARIABLES}{clean_line(name.removeprefix('variables.'), 40)}"
    if name.isdecimal():
        return "a decimal number is written with a point, a list of values in brackets: [1, 2]"
    for part in (name.casefold(), name.casefold().rpartition(".")[2]):
        if meant := OTHER_NAMES.get(part):
            return f"write {meant}"
        if fields := fields_with(part):
            return f"write {listed(fields)}"
    near = nearest(name, [*FIELDS, *_GROUPS])
    return f"did you mean {listed(near)}?" if near else "`relay fields` lists all there are"


def _operators(reading: Reading, field: Field, table: Table) -> list[Condition]:
    conditions: list[Condition] = []
    if not table.entries:
        reading.problems.error(table, f"nothing is said about {shown(field.name)}", _fitting(field))
    for key, value in table.entries.values():
        conditions += _by_operator(reading, field, key, value)
    return conditions


def _by_operator(reading: Reading, field: Field, key: Text, node: Node) -> list[Condition]:
    operator = OPERATORS.get(key.value)
    if operator is None:
        reading.problems.error(key, *_unknown_operator(key.value, field))
        return []
    if isinstance(node, Table) and operator.exact_form and field.kind in operator.exact_form.kinds:
        inner = _under_exactly(reading, operator, node)
        if inner is None:
            return []
        operator, node = operator.exact_form, inner
    ask = _several if operator.many else _single
    return ask(reading, field, operator, node)


def _under_exactly(reading: Reading, operator: Operator, table: Table) -> Node | None:
    """Return the node inside `{exactly: ...}`; None after noting a problem."""
    if [*table.entries] == [EXACTLY]:
        return table.entries[EXACTLY][1]
    message = f"expected a value for '{operator.name}', got {called(table)}"
    reading.problems.error(table, message, f"or {{{EXACTLY}: ...}}, for a text as it was typed")
    return None


def _unknown_operator(name: str, field: Field) -> tuple[str, str]:
    if name == "not" or name.startswith(("not_", "is_not", "!=")):
        hint = f"put `not:` around the field: not: {{{field.name}: ...}}"
        return f"unknown operator {shown(name)}", hint
    if ours := SYNONYMS.get(name):
        return f"unknown operator {shown(name)}", f"write {ours}"
    if field.kind is Kind.TIME:
        return f"unknown operator {shown(name)}", _BY_SCHEDULE
    fitting = operators_for(field.kind)
    near = did_you_mean(name, fitting)
    hint = near if near.startswith("did") else _fitting(field)
    return f"unknown operator {shown(name)}", hint


def _fitting(field: Field) -> str:
    return f"for {shown(field.name)} there are: {', '.join(operators_for(field.kind))}"


_BY_SCHEDULE = "times are asked about by a schedule: {within: office}, {outside: office}"


def _fits(reading: Reading, field: Field, operator: Operator, spot: Node) -> bool:
    if field.kind in operator.kinds:
        return True
    article = f"which is {_A[field.kind]}"
    hint = _BY_SCHEDULE if field.kind is Kind.TIME else _fitting(field)
    reading.problems.error(
        spot, f"'{operator.name}' does not fit {shown(field.name)}, {article}", hint
    )
    return False


_A = {
    Kind.YES_NO: "yes or no",
    Kind.NUMBER: "a number",
    Kind.DURATION: "a duration",
    Kind.TIME: "a time",
    Kind.TEXT: "a text",
    Kind.TEXTS: "a list of texts",
    Kind.VARIABLE: "a text or a number",
}


def _single(reading: Reading, field: Field, operator: Operator, node: Node) -> list[Condition]:
    if not _fits(reading, field, operator, node):
        return []
    hint = "for a field without a value write {empty: true}" if operator.name == "is" else ""
    if isinstance(node, Items) and "one_of" in operators_for(field.kind):
        hint = f"for a choice write `{field.name}: [...]`" if operator.name == "is" else ""
    text = as_text(reading.problems, node, f"one value for '{operator.name}'", hint)
    if text is None:
        return []
    if operator.name == "empty":
        wanted = parsed(reading.problems, text, yes_no)
        return [] if wanted is None else [Empty(field, wanted)]
    bound = _bound(reading, field, operator, text)
    return [] if bound is None else [_condition(reading, field, operator, [bound])]


def _several(reading: Reading, field: Field, operator: Operator, node: Node) -> list[Condition]:
    if not _fits(reading, field, operator, node):
        return []
    nodes = node.nodes if isinstance(node, Items) else [node]
    if not nodes:
        reading.problems.error(node, f"expected values for '{operator.name}', got an empty list")
    texts = [as_text(reading.problems, each, f"a value for '{operator.name}'") for each in nodes]
    read = (_bound(reading, field, operator, text) for text in texts if text)
    bounds = [bound for bound in read if bound]
    return [_condition(reading, field, operator, bounds)] if bounds else []


def _bound(reading: Reading, field: Field, operator: Operator, node: Text) -> Bound | None:
    if _refuse_secret_name(reading, node):
        return None
    if reading.patterns > MAX_PATTERNS:
        return None  # the limit is reported already
    schedules = reading.schedules
    bound = parsed(reading.problems, node, lambda text: operator.bind(text, field.kind, schedules))
    if bound and operator.name == "matches":
        _count_pattern(reading, node)
    if Kind.TIME in operator.kinds:
        reading.used_schedules.add(node.value)
    if bound and operator.name in _WHOLE:
        _warn_of_operator_in_text(reading, field, node)
        if field.form:
            _warn_of_form(reading, field, node)
    return bound


def _refuse_secret_name(reading: Reading, node: Text) -> bool:
    """Note a problem for a text such as `$ROOM_URL`, and return whether it was one."""
    if not (node.plain and node.value.startswith("$") and node.value[1:].isupper()):
        return False
    message = (
        f"{shown(node.value)} looks like the name of a secret, which means nothing in a condition"
    )
    reading.problems.error(node, message, "put quotes around it if the text itself is meant")
    return True


def _count_pattern(reading: Reading, node: Text) -> None:
    reading.patterns += 1
    if reading.patterns == MAX_PATTERNS + 1:
        hint = "contains and contains_word serve most needs, and are quicker"
        reading.problems.error(node, f"the file has more than {MAX_PATTERNS} patterns", hint)


_WHOLE = {"is", "one_of", EXACTLY}
"""The operators that compare the whole text of a field."""


def _warn_of_operator_in_text(reading: Reading, field: Field, node: Text) -> None:
    """Warn of `visitor.note: contains VIP`, which compares the whole text."""
    word, _, rest = node.value.partition(" ")
    name = SYNONYMS.get(word, word)
    if node.plain and rest and name in operators_for(field.kind) and name not in _WHOLE:
        hint = f"write {{{name}: {clean_line(rest, 40)}}}, or put quotes around it if it is meant"
        reading.problems.warning(node, f"{shown(node.value)} is compared as a whole text", hint)


def _warn_of_form(reading: Reading, field: Field, node: Text) -> None:
    if not re.fullmatch(field.form, node.value.strip()[:500]):
        message = f"'{field.name}' is never {shown(node.value)}"
        reading.problems.warning(node, message, field.form_words)


def _condition(
    reading: Reading, field: Field, operator: Operator, bounds: list[Bound]
) -> Condition:
    seconds = SECONDS_TO_FOLD + sum(bound.seconds for bound in bounds)
    reading.seconds = max(reading.seconds, seconds)
    tests = [bound.test for bound in bounds]
    test = tests[0] if len(tests) == 1 else (_every_test if operator.every else _any_test)(tests)
    kind = CompareEach if field.kind is Kind.TEXTS else Compare
    return kind(
        field=field,
        operator="is" if operator.name == "one_of" else operator.name,
        operands=tuple(bound.value for bound in bounds),
        test=test,
        words=_words(field, operator, bounds),
        saw=_saw(bounds),
    )


def _every_test(tests: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    return lambda value: all(test(value) for test in tests)


def _any_test(tests: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    return lambda value: any(test(value) for test in tests)


def _saw(bounds: list[Bound]) -> Callable[[Any], str]:
    functions = [bound.saw for bound in bounds if bound.saw]
    return lambda value: next(filter(None, (function(value) for function in functions)), "")


def _words(field: Field, operator: Operator, bounds: list[Bound]) -> str:
    shown_bounds = listed(bound.shown for bound in bounds)
    if field.kind is Kind.YES_NO:
        return field.subject if shown_bounds == "true" else field.absent
    return f"{field.subject} {operator.words[field.kind].format(shown_bounds)}"
