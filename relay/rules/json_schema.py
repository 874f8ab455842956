"""The rules file's JSON Schema, by which editors complete and check: made from the tables that the reader goes by.

It is a help while typing, and takes all that the reader takes. The last word is `relay check`: a schema can't
know which destinations, schedules and templates there are.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from relay.destination import Option, OptionKind, TransportSpec, WhenUnsure
from relay.languages.tags import TAG
from relay.rules.field_type import Field, Kind
from relay.rules.fields import FIELDS
from relay.rules.operators import ANY_VARIABLE, EXACTLY, OPERATORS, VARIABLES, Operator

Schema = dict[str, Any]

_NAME = {"type": "string", "minLength": 1, "maxLength": 100}
# Values are taken as they are written, so what YAML takes for a number or a truth is as good as a text.
_SCALAR = {"type": ["string", "number", "boolean"]}
_YES_NO = {"enum": [True, False, "yes", "no"]}
_TEXT_OF_NAMES = "The name of a destination, a list of names, or nobody."


def json_schema(
    transports: Mapping[str, TransportSpec], templates: Collection[str], languages: Collection[str]
) -> Schema:
    """Draft-07, which is what the editors' YAML language server speaks."""
    common = {
        "language": {"$ref": "#/definitions/language"},
        "timezone": {"$ref": "#/definitions/timezone"},
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Rules of the Smartsupp relay",
        "description": "Which chats go to whom. Made by `relay schema`.",
        "type": "object",
        "additionalProperties": False,
        "required": ["rules"],
        "properties": {
            **common,
            "recipient_domains": _described(
                _one_or_many({"type": "string"}),
                "To which domains mail may go where the chat chooses the recipient.",
            ),
            "schedules": _by_name(_schedule(), "Times that rules can refer to."),
            "destinations": _by_name(
                _destination(transports, common),
                "Where notifications can go, by a name of your choice.",
            ),
            "alerts_to": _described(
                _one_or_many({"type": "string"}),
                "Who gets an alert when something is wrong with the relay itself: a destination, or a list.",
            ),
            "silence": _described(
                _silence(),
                "How long without a chat is too long; then the destinations in `alerts_to` get an alert.",
            ),
            "rules": {
                "type": "array",
                "items": _rule(templates),
                "description": "Asked from top to bottom.",
            },
        },
        "definitions": {
            "language": _language(languages),
            "timezone": {"type": "string", "description": "Such as Europe/Prague."},
            "conditions": _conditions(),
            **{_kind_name(kind): _of_kind(kind) for kind in Kind},
        },
    }


def _language(shipped: Collection[str]) -> Schema:
    """One's own have catalogues that no schema knows of."""
    known = [{"enum": list(shipped)}, {"type": "string", "pattern": TAG}]
    return {"anyOf": known, "description": "Of the words around a transcript."}


def _described(schema: Schema, words: str) -> Schema:
    return {"description": words, **schema}


def _one_or_many(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}


def _object(properties: Schema, required: Iterable[str] = (), **more: object) -> Schema:
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **more,
    }
    return {**schema, "required": list(required)} if required else schema


def _by_name(schema: Schema, words: str) -> Schema:
    return {
        "type": "object",
        "description": words,
        "propertyNames": _NAME,
        "additionalProperties": schema,
    }


# -- schedules and destinations ----------------------------------------------------------------------------


def _schedule() -> Schema:
    return _object(
        {
            "days": _described(
                _one_or_many({"type": "string"}), "mon-fri, or [mon, wed, sat-sun]."
            ),
            "hours": _described(
                _one_or_many({"type": "string"}), "08:00-17:00, or 22:00-06:00 over midnight."
            ),
            "except": _described(
                _one_or_many({"type": "string"}),
                "2026-12-24, 2026-12-24 to 2027-01-01, or holidays CZ, as `relay holidays` wrote them into holidays.yaml.",
            ),
        },
        minProperties=1,
    )


def _silence() -> Schema:
    return _object(
        {
            "longer_than": _described(_value(Kind.DURATION), "Such as 4h or 30m."),
            "within": _described(
                _one_or_many(_NAME),
                "A schedule or a list of them: only time within one of them counts.",
            ),
        },
        required=("longer_than",),
    )


def _destination(transports: Mapping[str, TransportSpec], common: Schema) -> Schema:
    beside = {
        name: _option(option)
        for spec in transports.values()
        for name, option in spec.options.items()
        if _stands_beside(spec, name)
    }
    return _object(
        {
            **{spec.name: _transport(spec) for spec in transports.values()},
            **beside,
            **common,
            "rate": _described(
                _one_or_many({"type": "string"}), "How fast to send: 5/s, 30/min or unlimited."
            ),
            "most_per_hour": _described(
                {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "unlimited"}]},
                "How many notifications it gets in an hour, so that a flood of chats uses up no mailbox provider's limit: 200 "
                "or unlimited. The others wait.",
            ),
            "fallback": _described(
                _NAME,
                "Another destination, told when a notification could not be delivered, or nobody can be reached here.",
            ),
            "fallback_after": _described(
                _value(Kind.DURATION),
                "What has waited so long for a broken or silent destination goes to the fallback: 15m.",
            ),
            "when_unsure": _described(
                {"enum": list(WhenUnsure)},
                "What follows when the answer was lost and a notification may have arrived: "
                "repeat it until an answer comes, once more, or hold it for a person.",
            ),
        },
        oneOf=[{"required": [name]} for name in transports],
    )


def _stands_beside(spec: TransportSpec, name: str) -> bool:
    """Whether an option may also stand beside the transport: what says how, not where."""
    return not any(name in way for way in spec.ways)


def _transport(spec: TransportSpec) -> Schema:
    options = {name: _option(option) for name, option in spec.options.items()}
    return _described(
        _object(options, oneOf=[{"required": list(way)} for way in spec.ways]), spec.doc
    )


def _option(option: Option) -> Schema:
    schema: Schema
    match option.kind:
        case OptionKind.ADDRESSES:
            schema = _one_or_many({"type": "string"})
        case OptionKind.SECRET:
            schema = {"type": "string", "pattern": r"^\$(\{\w+\}|\w+)$"}
        case OptionKind.ADDRESS:
            schema = {"anyOf": [{"enum": list(option.choices)}, {"type": "string", "pattern": "@"}]}
        case OptionKind.YES_NO:
            schema = dict(_YES_NO)
        case OptionKind.JSON:
            schema = {"type": "object"}
        case OptionKind.TEXT:
            schema = {"type": "string"}
            if option.pattern:
                schema["pattern"] = f"^({option.pattern})$"
    return _described(schema, option.doc)


# -- rules -------------------------------------------------------------------------------------------------


def _rule(templates: Collection[str]) -> Schema:
    return _object(
        {
            "name": _described(
                {**_SCALAR, "maxLength": 100},
                "Different for each rule; shown with each notification.",
            ),
            "when": {
                "description": "Everything here must hold; `always` for every chat.",
                "anyOf": [{"const": "always"}, {"$ref": "#/definitions/conditions"}],
            },
            "send_to": _described(_one_or_many({"type": "string"}), _TEXT_OF_NAMES),
            "template": {
                "description": "Which words to send.",
                "default": "chat",
                "anyOf": [{"enum": sorted(templates)}, {"type": "string"}],
            },
            "enabled": _described({**_YES_NO, "default": True}, "`false` turns the rule off."),
            "stop": _described(
                {**_YES_NO, "default": False},
                "`true`: where this rule holds, and reaches somebody or is for nobody, the rules below it are not asked.",
            ),
        },
        required=("name", "when", "send_to"),
    )


def _conditions() -> Schema:
    inner = {"$ref": "#/definitions/conditions"}
    groups = {
        "any": {
            "type": "array",
            "items": inner,
            "minItems": 1,
            "description": "One of these is enough.",
        },
        "all": {
            "type": "array",
            "items": inner,
            "minItems": 1,
            "description": "All of these must hold.",
        },
        "not": _described({"allOf": [inner]}, "These must not hold."),
    }
    return {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {**{name: _field(field) for name, field in FIELDS.items()}, **groups},
        "patternProperties": {f"^{VARIABLES.replace('.', '[.]')}.+": _field(ANY_VARIABLE)},
    }


def _field(field: Field) -> Schema:
    # allOf: in draft-07 nothing may stand beside a bare $ref.
    return _described({"allOf": [{"$ref": f"#/definitions/{_kind_name(field.kind)}"}]}, field.doc)


def _kind_name(kind: Kind) -> str:
    return kind.value.replace(" ", "_")


def _of_kind(kind: Kind) -> Schema:
    """What may stand under a field of this kind: a value, a list of values, operators."""
    fitting = [operator for operator in OPERATORS.values() if kind in operator.kinds]
    ways: list[Schema] = [
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {each.name: _operator(each, kind) for each in fitting},
        }
    ]
    names = {each.name for each in fitting}
    if "is" in names:
        ways.append(_value(kind))
    if "one_of" in names:
        ways.append({"type": "array", "items": _value(kind), "minItems": 1})
    return {"anyOf": ways}


def _operator(operator: Operator, kind: Kind) -> Schema:
    words = f"{operator.doc} Example: {operator.example}"
    if operator.name == "empty":
        return _described(_YES_NO, words)
    value = _value(kind)
    schema = _one_or_many(value) if operator.many else value
    if operator.exact_form and kind in operator.exact_form.kinds:
        exactly = _object({EXACTLY: schema}, (EXACTLY,))
        schema = {"anyOf": [*schema.get("anyOf", [schema]), exactly]}
    return _described(schema, words)


def _value(kind: Kind) -> Schema:
    match kind:
        case Kind.YES_NO:
            return _YES_NO
        case Kind.NUMBER:
            return {"type": ["number", "string"], "pattern": r"^\s*[+-]?\d+(\.\d+)?\s*$"}
        case Kind.DURATION:
            return {
                "type": "string",
                "pattern": r"^\s*(\d+(\.\d+)?\s*([dDhHsS]|[mM]([iI][nN])?)\s*)+$",
            }
        case Kind.TIME:
            return _NAME
        case _:
            return _SCALAR
