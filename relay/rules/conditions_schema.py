"""The JSON Schema of `when:`, made from the tables of fields and operators."""

from collections.abc import Iterable
from typing import Any

from relay.rules.field_type import Field, Kind
from relay.rules.fields import FIELDS
from relay.rules.operators import ANY_VARIABLE, EXACTLY, OPERATORS, VARIABLES, Operator

Schema = dict[str, Any]

NAME = {"type": "string", "minLength": 1, "maxLength": 100}
# Values are read as text, so numbers and booleans of YAML are also accepted.
SCALAR = {"type": ["string", "number", "boolean"]}
YES_NO = {"enum": [True, False, "yes", "no"]}


def described(schema: Schema, words: str) -> Schema:
    """Return the schema with a description."""
    return {"description": words, **schema}


def flag(words: str, *, default: bool) -> Schema:
    """Return the schema of `true` or `false`, with a description."""
    return described({**YES_NO, "default": default}, words)


def or_list(schema: Schema) -> Schema:
    """Return the schema of a value or a list of such values."""
    return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}


def an_object(properties: Schema, required: Iterable[str] = (), **more: object) -> Schema:
    """Return the schema of a mapping that allows only these properties."""
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **more,
    }
    return {**schema, "required": list(required)} if required else schema


def conditions() -> Schema:
    """Return the schema of `when:`, whose groups refer to it again."""
    inner = {"$ref": "#/definitions/conditions"}
    several = {"type": "array", "items": inner, "minItems": 1}
    groups = {
        "any": described(several, "One of these is enough."),
        "all": described(several, "All of these must hold."),
        "not": described({"allOf": [inner]}, "These must not hold."),
    }
    return {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {**{name: _field(field) for name, field in FIELDS.items()}, **groups},
        "patternProperties": {f"^{VARIABLES.replace('.', '[.]')}.+": _field(ANY_VARIABLE)},
    }


def _field(field: Field) -> Schema:
    # allOf: in draft-07 a $ref can't have other keys beside it.
    return described({"allOf": [{"$ref": f"#/definitions/{kind_name(field.kind)}"}]}, field.doc)


def kind_name(kind: Kind) -> str:
    """Return the name of a kind of field in the schema."""
    return kind.value.replace(" ", "_")


def of_kind(kind: Kind) -> Schema:
    """Return the schema of a condition on a field of a kind: a value, a list of values, or operators."""
    fitting = [operator for operator in OPERATORS.values() if kind in operator.kinds]
    schemas: list[Schema] = [
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {each.name: _operator(each, kind) for each in fitting},
        }
    ]
    names = {each.name for each in fitting}
    if "is" in names:
        schemas.append(value_of(kind))
    if "one_of" in names:
        schemas.append({"type": "array", "items": value_of(kind), "minItems": 1})
    return {"anyOf": schemas}


def _operator(operator: Operator, kind: Kind) -> Schema:
    words = f"{operator.doc} Example: {operator.example}"
    if operator.name == "empty":
        return described(YES_NO, words)
    value = value_of(kind)
    schema = or_list(value) if operator.many else value
    if operator.exact_form and kind in operator.exact_form.kinds:
        exactly = an_object({EXACTLY: schema}, (EXACTLY,))
        schema = {"anyOf": [*schema.get("anyOf", [schema]), exactly]}
    return described(schema, words)


def value_of(kind: Kind) -> Schema:
    """Return the schema of a single value for a field of a kind."""
    match kind:
        case Kind.YES_NO:
            return YES_NO
        case Kind.NUMBER:
            return {"type": ["number", "string"], "pattern": r"^\s*[+-]?\d+(\.\d+)?\s*$"}
        case Kind.DURATION:
            return {
                "type": "string",
                "pattern": r"^\s*(\d+(\.\d+)?\s*([dDhHsS]|[mM]([iI][nN])?)\s*)+$",
            }
        case Kind.TIME:
            return NAME
        case _:
            return SCALAR
