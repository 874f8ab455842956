"""Reads the options under a transport's name by the transport's spec."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.destination import Option, OptionKind, OptionValue, Secret, TransportSpec
from relay.rules.reading.node_reader import as_text, as_texts, called, parsed
from relay.rules.reading.problem import Place, Problems
from relay.rules.reading.value_parsers import BadValue, listed, shown, yes_no
from relay.rules.reading.yaml_document import Items, Node, Table, Text
from relay.rules.recipients import Pattern, Recipients, address, distinct, is_pattern, pattern

_SECRET = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_JSON_VALUE = re.compile(r"true|false|-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")
_LIKE_SECRET = re.compile(r"\$(\{\w+\}|[A-Z][A-Z0-9_]*)")

Entries = Mapping[str, tuple[Text, Node]]


@dataclass(slots=True)
class Options:
    """The options of one destination."""

    values: dict[str, OptionValue] = field(default_factory=dict)
    recipients: Recipients | None = None
    """The recipients; None if the transport has no addresses."""
    secrets: list[tuple[str, Place]] = field(default_factory=list)
    settings: list[tuple[str, Place]] = field(default_factory=list)


def read_options(
    problems: Problems, spec: TransportSpec, entries: Entries, domains: frozenset[str]
) -> Options:
    """Return the valid options of a destination; note problems for the others."""
    options = Options()
    for name, (key, node) in entries.items():
        if (option := spec.options.get(name)) is None:
            continue  # the problem is noted already
        value = _value(problems, options, option, node, domains)
        if value is not None:
            options.values[name] = value
        place = problems.place(key)
        options.settings += [(setting, place) for setting in spec.needs.get(name, ())]
    return options


def check_option_set(problems: Problems, spec: TransportSpec, key: Text, entries: Entries) -> None:
    """Note a problem unless the entries are one complete set of options that a destination of this transport needs."""
    sets = [options for options in spec.option_sets if set(options) & set(entries)]
    if len(sets) > 1:
        names = listed(map(_names, sets), "and")
        problems.error(key, f"{names} can't be used together", f"for {spec.name} write one of them")
    elif not sets:
        choices = listed(map(_names, spec.option_sets))
        problems.error(key, f"{shown(key.value)} does not say where to send", f"write {choices}")
    elif missing := [name for name in sets[0] if name not in entries]:
        problems.error(
            key, f"{listed(sets[0], 'and')} belong together", f"add {listed(missing, 'and')}"
        )


def example(spec: TransportSpec) -> str:
    """Return an example of a destination of this transport as YAML: `{slack: {webhook: $NAME}}`."""
    inside = ", ".join(f"{name}: {_sample(spec.options[name])}" for name in spec.option_sets[0])
    return f"{{{spec.name}: {{{inside}}}}}"


def _names(options: tuple[str, ...]) -> str:
    return listed(options, "and")


def _sample(option: Option) -> str:
    match option.kind:
        case OptionKind.ADDRESSES:
            return "anna@example.com"
        case OptionKind.SECRET:
            return "$NAME"
        case _:
            return "..."


def _value(
    problems: Problems, options: Options, option: Option, node: Node, domains: frozenset[str]
) -> OptionValue | None:
    if option.kind is OptionKind.ADDRESSES:
        return _addresses(problems, options, node, domains)
    if option.kind is OptionKind.SECRET:
        return _secret(problems, options, node)
    if option.kind is OptionKind.JSON:
        return _json(problems, node)
    text = as_text(problems, node, _expected(option))
    if text is None or _misplaced_secret(problems, text):
        return None
    return parsed(problems, text, lambda value: _checked(option, value))


def _expected(option: Option) -> str:
    if option.kind is OptionKind.YES_NO:
        return "true or false"
    return option.pattern_hint or _choices(option) or "a text"


def _choices(option: Option) -> str:
    an_address = option.kind is OptionKind.ADDRESS
    besides = ("an address such as support@example.com",) if an_address else ()
    return listed((*option.choices, *besides)) if option.choices else ""


def _checked(option: Option, value: str) -> str | bool:
    if option.kind is OptionKind.ADDRESS:
        chosen = value.casefold()
        return chosen if chosen in option.choices else _address(option, value)
    if option.kind is OptionKind.YES_NO:
        return yes_no(value)
    if option.pattern and not re.fullmatch(option.pattern, value[:500]):
        hint = f"expected {option.pattern_hint}" if option.pattern_hint else ""
        raise BadValue(f"{shown(value)} can't be used here", hint)
    return value


def _address(option: Option, value: str) -> str:
    try:
        return address(value)
    except BadValue as bad:
        raise BadValue(bad.message, f"write {_choices(option)}") from None


def _json(problems: Problems, node: Node) -> str | None:
    if isinstance(node, Table):
        return json.dumps(_plain(problems, node), ensure_ascii=False)
    hint = 'write names and values, such as {email: "{{ visitor.email }}"}'
    problems.error(node, f"expected a mapping, got {called(node)}", hint)
    return None


def _plain(problems: Problems, node: Node) -> Any:  # noqa: ANN401 - JSON
    """Return a node as JSON: unquoted `true`, `false`, `null` and numbers become JSON values, everything else a text."""
    match node:
        case Table():
            return {name: _plain(problems, each) for name, each in node.nodes.items()}
        case Items():
            return [_plain(problems, each) for each in node.nodes]
        case Text(missing=True):
            return None
        case Text(plain=True, value=value) if _JSON_VALUE.fullmatch(value):
            return json.loads(value)
        case Text():
            return "" if _misplaced_secret(problems, node) else node.value


def _secret(problems: Problems, options: Options, node: Node) -> Secret | None:
    match = _SECRET.fullmatch(node.value) if isinstance(node, Text) else None
    if match:
        secret = Secret(match[1] or match[2])
        options.secrets.append((secret.name, problems.place(node)))
        return secret
    hint = "write the name of an environment variable, such as $SLACK_WEBHOOK; it holds the value"
    if isinstance(node, Text) and not node.missing:
        # Show no character of the value: problems are logged and displayed.
        problems.error(node, "a secret never stands in this file", hint, private=True)
    else:
        problems.error(node, f"expected the name of a secret, got {called(node)}", hint)
    return None


def _misplaced_secret(problems: Problems, text: Text) -> bool:
    if not _LIKE_SECRET.fullmatch(text.value):
        return False
    problems.error(
        text,
        f"{shown(text.value)} looks like the name of a secret, which can't be used here",
        "$NAME belongs only where a secret is wanted, such as a webhook",
    )
    return True


def _addresses(
    problems: Problems, options: Options, node: Node, domains: frozenset[str]
) -> tuple[str, ...]:
    fixed: list[str] = []
    patterns: list[Pattern] = []
    for text in as_texts(problems, node, "an email address or a list of them"):
        if _misplaced_secret(problems, text):
            continue
        if is_pattern(text.value):
            chosen = parsed(problems, text, lambda value: pattern(value, domains))
            patterns += [chosen] if chosen else []
        elif recipient := parsed(problems, text, address):
            fixed.append(recipient)
    options.recipients = Recipients(distinct(fixed), tuple(patterns))
    return (*distinct(fixed), *(each.written for each in patterns))
