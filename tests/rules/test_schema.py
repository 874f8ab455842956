"""rules.schema.json, by which editors complete: it is up to date, and takes what the reader takes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from relay.rules.fields import FIELDS
from relay.rules.operators import ANY_VARIABLE, OPERATORS
from tests.rules.commands import relay
from tests.rules.test_docs import BLOCKS, as_a_file

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "rules.schema.json").read_text("utf-8"))
BAD = Path(__file__).parent / "bad"


class _AsEditorsRead(yaml.SafeLoader):
    """YAML 1.2, which editors go by: NO is a text, 2026-12-24 too."""


_AsEditorsRead.yaml_implicit_resolvers = {}
for _tag, _words, _starts in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?[0-9]+\.[0-9]+", "-+0123456789"),
):
    _AsEditorsRead.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_words})$"), list(_starts)
    )


def complaints(source: str) -> list[str]:
    """What an editor would mark."""
    wire: Any = yaml.load(source, Loader=_AsEditorsRead)  # noqa: S506 - a SafeLoader
    return [error.message for error in Draft7Validator(SCHEMA).iter_errors(wire)]


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(SCHEMA)


def test_the_schema_checked_in_is_the_one_that_relay_schema_prints() -> None:
    told = relay("schema").stdout
    assert json.loads(told) == SCHEMA
    assert told == (ROOT / "rules.schema.json").read_text("utf-8")


def test_the_example_names_the_schema_and_fits_it() -> None:
    source = (ROOT / "rules.example.yaml").read_text("utf-8")
    assert source.startswith("# yaml-language-server: $schema=rules.schema.json\n")
    assert complaints(source) == []


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_the_documented_examples_fit_it(block: str) -> None:
    if source := as_a_file(block):
        assert complaints(source) == []


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda operator: operator.name)
def test_each_operator_fits_each_field_that_it_is_for(operator: Any) -> None:
    for field in (*FIELDS.values(), ANY_VARIABLE):
        if field.kind in operator.kinds:
            value = {"yes or no": "true", "duration": "2m", "time": "office"}.get(field.kind, "3")
            value = "true" if operator.name == "empty" else value
            condition = f"{{{field.name}: {{{operator.name}: {value}}}}}"
            assert complaints(_file(condition)) == [], condition
        else:
            assert complaints(_file(f"{{{field.name}: {{{operator.name}: 3}}}}"))


@pytest.mark.parametrize(
    "condition",
    [
        "{mised: true}",
        "{missed: 3}",
        "{rating: good}",
        "{rating: {at_mots: 2}}",
        "{first_response: {more_than: 3 apples}}",
        "{any: {missed: true}}",
        "{visitor.variables: {plan: gold}}",
        "sometimes",
        "[]",
    ],
)
def test_mistakes_are_marked(condition: str) -> None:
    assert complaints(_file(condition))


@pytest.mark.parametrize(
    "name",
    [
        "a_list_at_the_top",
        "unknown_keys",
        "secrets",
        "wrong_shapes",
        "what_a_rule_needs",
        "smartsupps_names",
    ],
)
def test_bad_files_are_marked(name: str) -> None:
    assert complaints((BAD / f"{name}.yaml").read_text("utf-8"))


def _file(condition: str) -> str:
    return (
        "destinations: {desk: {email: {to: desk@example.com}}}\n"
        f"rules: [{{name: a, send_to: desk, when: {condition}}}]"
    )
