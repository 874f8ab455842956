"""The JSON Schema of the rules file for completion and checks in editors, made from the reader's tables.

It accepts everything that the reader accepts. Only `relay check` finds all mistakes, because a
schema can't know the destinations, schedules and templates.
"""

from collections.abc import Collection, Mapping

from relay.destination import Option, OptionKind, TransportSpec, WhenUnsure
from relay.languages.tags import TAG
from relay.rules.conditions_schema import (
    NAME,
    SCALAR,
    YES_NO,
    Schema,
    an_object,
    conditions,
    described,
    flag,
    kind_name,
    of_kind,
    or_list,
    value_of,
)
from relay.rules.field_type import Kind

_THEN = {"enum": ["digest", "nothing"], "default": "digest"}
_CONDITIONS = {"$ref": "#/definitions/conditions"}


def json_schema(
    transports: Mapping[str, TransportSpec], templates: Collection[str], languages: Collection[str]
) -> Schema:
    """Return the JSON Schema of the rules file, in draft-07, which YAML language servers support."""
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
            "recipient_domains": _texts(
                "To which domains mail may go where the chat chooses the recipient."
            ),
            "schedules": _by_name(_schedule(), "Times that rules can refer to."),
            "destinations": _by_name(
                _destination(transports, common),
                "Where notifications can go, by a name of your choice.",
            ),
            "alerts_to": _texts(
                "Who gets an alert when something is wrong with the relay itself: a destination, or a list."
            ),
            "silence": described(
                _silence(),
                "How long without a chat is too long; then the destinations in `alerts_to` get an alert.",
            ),
            "mutes": _list_of(
                _mute(), "What is muted for a while, with an author, a reason and an end."
            ),
            "rules": _list_of(_rule(templates), "Asked from top to bottom."),
        },
        "definitions": {
            "language": _language(languages),
            "timezone": {"type": "string", "description": "Such as Europe/Prague."},
            "conditions": conditions(),
            **{kind_name(kind): of_kind(kind) for kind in Kind},
        },
    }


def _language(shipped: Collection[str]) -> Schema:
    """Return the schema of a language; users may add catalogues that no schema knows."""
    names = [{"enum": list(shipped)}, {"type": "string", "pattern": TAG}]
    return {"anyOf": names, "description": "Of the words around a transcript."}


def _list_of(schema: Schema, words: str) -> Schema:
    return {"type": "array", "items": schema, "description": words}


def _texts(words: str) -> Schema:
    return described(or_list({"type": "string"}), words)


def _by_name(schema: Schema, words: str) -> Schema:
    return {
        "type": "object",
        "description": words,
        "propertyNames": NAME,
        "additionalProperties": schema,
    }


# -- schedules and destinations ----------------------------------------------------------------------------


def _schedule() -> Schema:
    hours_by_day = {"type": "object", "additionalProperties": or_list({"type": "string"})}
    return an_object(
        {
            "days": _texts("mon-fri, or [mon, wed, sat-sun]."),
            "hours": _texts("08:00-17:00, or 22:00-06:00 over midnight."),
            "timezone": described(
                {"$ref": "#/definitions/timezone"}, "Of these hours; without it the file's."
            ),
            "except": described(
                or_list({"anyOf": [{"type": "string"}, hours_by_day]}),
                "2026-12-24, 2026-12-24 to 2027-01-01, holidays CZ, as `relay holidays` wrote them into holidays.yaml, or with "
                "hours of its own {2026-12-24: 08:00-12:00}.",
            ),
        },
        minProperties=1,
    )


def _mute() -> Schema:
    moment = described({"type": "string"}, "2026-12-04 18:00, by the file's time zone.")
    scope = {
        "rule": described(SCALAR, "The name of a rule, urgent or not."),
        "destination": described(NAME, "The name of a destination."),
        "when": described(_CONDITIONS, "What the chat must meet."),
    }
    return an_object(
        {
            "because": described(SCALAR, "Why it is muted."),
            "by": described(SCALAR, "Who wants it."),
            "from": moment,
            "until": moment,
            "what": described(
                an_object(scope, minProperties=1), "What is muted: chats that meet all of these."
            ),
            "then": described(
                _THEN, "What becomes of the chats: one digest at the end, or nothing."
            ),
            "urgent_too": flag(
                "`true`: urgent rules are muted as well. Required where an urgent rule sends to the destination that is muted.",
                default=False,
            ),
            "alerts_too": flag(
                "`true`: the relay's own alerts to the destination wait for the end too; only where `what` is a destination alone.",
                default=False,
            ),
        },
        required=("because", "by", "from", "until", "what"),
    )


def _silence() -> Schema:
    return an_object(
        {
            "longer_than": described(value_of(Kind.DURATION), "Such as 4h or 30m."),
            "within": described(
                or_list(NAME),
                "A schedule or a list of them: only time within one of them counts.",
            ),
        },
        required=("longer_than",),
    )


def _destination(transports: Mapping[str, TransportSpec], common: Schema) -> Schema:
    specs = transports.values()
    outer = {n: _option(spec.options[n]) for spec in specs for n in spec.common_options}
    return an_object(
        {
            **{spec.name: _transport(spec) for spec in specs},
            **outer,
            **common,
            "rate": _texts("How fast to send: 5/s, 30/min or unlimited."),
            "most_per_hour": described(
                {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "unlimited"}]},
                "How many notifications it gets in an hour, so that a flood of chats uses up no mailbox provider's limit: 200 "
                "or unlimited. The others wait.",
            ),
            "fallback": described(
                NAME,
                "Another destination, which gets what could not be delivered here, or for which nobody can be reached here.",
            ),
            "fallback_after": described(
                value_of(Kind.DURATION),
                "What has waited so long for a broken or silent destination goes to the fallback: 15m.",
            ),
            "when_unsure": described(
                {"enum": list(WhenUnsure)},
                "What follows when the answer was lost and a notification may have arrived: "
                "repeat it until an answer comes, once more, or hold it for a person.",
            ),
            **_timing(),
        },
        oneOf=[{"required": [name]} for name in transports],
    )


def _timing() -> Schema:
    return {
        "hours": described(
            or_list(NAME),
            "A schedule, or a list of them. Outside their hours what is not urgent waits for the next opening.",
        ),
        "outside_hours": described(
            {"anyOf": [{"enum": ["wait", "digest", "skip"]}, NAME], "default": "wait"},
            "What becomes of chats outside the hours: each waits, all come in one digest, they are left out, or another "
            "destination gets them.",
        ),
        "send": _texts(
            "When digests are sent: at once (each chat by itself), every 30m, 08:00, mon-fri 08:00, or a list."
        ),
        "limit": _texts(
            "How many chats are sent by themselves; the others come in a digest: 5 per hour, or 1 per 30m per visitor."
        ),
    }


def _transport(spec: TransportSpec) -> Schema:
    options = {name: _option(option) for name, option in spec.options.items()}
    return described(
        an_object(options, oneOf=[{"required": list(names)} for names in spec.option_sets]),
        spec.doc,
    )


def _option(option: Option) -> Schema:
    schema: Schema
    match option.kind:
        case OptionKind.ADDRESSES:
            schema = or_list({"type": "string"})
        case OptionKind.SECRET:
            schema = {"type": "string", "pattern": r"^\$(\{\w+\}|\w+)$"}
        case OptionKind.ADDRESS:
            schema = {"anyOf": [{"enum": list(option.choices)}, {"type": "string", "pattern": "@"}]}
        case OptionKind.YES_NO:
            schema = dict(YES_NO)
        case OptionKind.JSON:
            schema = {"type": "object"}
        case OptionKind.TEXT:
            schema = {"type": "string"}
            if option.pattern:
                schema["pattern"] = f"^({option.pattern})$"
    return described(schema, option.doc)


# -- rules -------------------------------------------------------------------------------------------------


def _rule(templates: Collection[str]) -> Schema:
    visitor = described(value_of(Kind.DURATION), "Such as 24h.")
    return an_object(
        {
            "name": described(
                {**SCALAR, "maxLength": 100},
                "Different for each rule; shown with each notification.",
            ),
            "when": {
                "description": "Everything here must hold; `always` for every chat.",
                "anyOf": [{"const": "always"}, _CONDITIONS],
            },
            "send_to": _texts("The name of a destination, a list of names, or nobody."),
            "template": {
                "description": "Which words to send.",
                "default": "chat",
                "anyOf": [{"enum": sorted(templates)}, {"type": "string"}],
            },
            "enabled": flag("`false` turns the rule off.", default=True),
            "stop": flag(
                "`true`: where this rule matches, and reaches somebody or is for nobody, the rules below it are not asked.",
                default=False,
            ),
            "urgent": flag(
                "`true`: it does not wait for the hours, digests and limits of destinations.",
                default=False,
            ),
            "once_per": described(
                an_object({"visitor": visitor, "then": _THEN}, required=("visitor",)),
                "How often it notifies about one visitor; later chats come in a digest, or are left out.",
            ),
        },
        required=("name", "when", "send_to"),
    )
