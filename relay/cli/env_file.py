"""`relay --env-file`, and the relay.env beside the rules file: settings from a file, for commands typed by hand.

A shell, systemd and Docker read the file alike: a NAME=value on each line, quoted or not.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from relay.cli.printing import could_not_run, print_lines
from relay.settings.database import SQLITE

NAME = "relay.env"
_LINE = re.compile(
    r"""[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_]\w*)=
    (?:'(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<bare>[^'"\s][^'"\n]*?)?)
    [ \t]*(?:(?<=[ \t])\#[^\n]*)?(?:\n|\Z)""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_ESCAPED = re.compile(r"\\([\\\"$`])|\\\n")
_FORM = "write NAME='value' on each line, without spaces around the ="
_LOADED = "relay.env_file"
_PATHS = ("RELAY_RULES", "RELAY_TEMPLATES")


class BadEnvFile(ValueError):
    """Raised for an unusable file. The message names file and line, and shows no value."""


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file, by name. Raises OSError and BadEnvFile."""
    try:
        text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise BadEnvFile(f"{path}: this is not UTF-8 text") from None
    return dict(_assignments(path, text))


def _assignments(path: Path, text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        place = f"{path}:{text.count(chr(10), 0, at) + 1}"
        if blank := _BLANK.match(text, at):
            at = blank.end()
            continue
        match = _LINE.match(text, at)
        if match is None:
            raise BadEnvFile(f"{place}: {_objection(text[at:].partition(chr(10))[0])}")
        at = match.end()
        yield match["name"], _value(match, f"{place}: {match['name']}")


def _objection(line: str) -> str:
    name = re.match(r"[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)=", line, re.ASCII)
    if name is None:
        return f"this sets no variable; {_FORM}"
    return f"the value of {name[1]} begins with a space, has a quote in it, or lacks one at its end; {_FORM}"


def _value(match: re.Match[str], place: str) -> str:
    if match["single"] is not None:
        return match["single"]
    quoted = match["double"] is not None
    text = match["double"] if quoted else match["bare"] or ""
    special = re.search(r"[$`]", _ESCAPED.sub("", text)) if quoted else re.search(r"[$`\\]", text)
    if special:
        raise BadEnvFile(
            f"{place}: {special[0]} means something to a shell; put the value in single quotes, "
            "which keep it as it is"
        )
    return _ESCAPED.sub(r"\1", text) if quoted else text


# -- which file, and what of it is used ------------------------------------------------------------------------


def load(context: click.Context, named: Path | None) -> None:
    """Add the variables of the file `named`, or of the relay.env beside the rules file, to this process' environment.

    Variables that are set already stay. Ends the command where the named file can't be used.
    """
    default = Path(os.environ.get("RELAY_RULES") or "rules.yaml").parent / NAME
    if named is not None or _exists(default):
        _load(context, named or default, needed=named is not None)


def load_beside(context: click.Context, rules: Path | None) -> None:
    """Load the relay.env beside a rules file that is an argument of the command, if no other was loaded."""
    if rules is not None and not _loaded(context) and _exists(rules.parent / NAME):
        _load(context, rules.parent / NAME, needed=False)


def _exists(path: Path) -> bool:
    """Whether a file exists; also False where that may not be looked up."""
    with contextlib.suppress(OSError):
        return path.exists()
    return False


def _load(context: click.Context, path: Path, *, needed: bool) -> None:
    try:
        values = read_env_file(path)
    except (OSError, BadEnvFile) as error:
        words = str(error)
        if isinstance(error, OSError):
            words = f"{path} can't be read as user {os.getuid()}: {error.strerror}"
        if needed or not _any_settings():
            could_not_run([words])
        # A service has its settings from elsewhere, and may not be allowed to read the file.
        print_lines([f"{words}; going on without it"], err=True)
        return
    context.find_root().meta[_LOADED] = path
    for name, value in _resolve_paths(values, path.parent).items():
        other = name.removesuffix("_FILE") if name.endswith("_FILE") else f"{name}_FILE"
        if not os.environ.get(other):
            os.environ.setdefault(name, value)


def _resolve_paths(values: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The variables with relative paths resolved from the file's folder, if the rules file is there too; else unchanged."""
    rules = folder / values.get("RELAY_RULES", "rules.yaml")
    if folder.absolute() == Path.cwd() or not _exists(rules):
        return dict(values)
    known = {"RELAY_RULES": "rules.yaml", "RELAY_DATABASE": f"{SQLITE}relay.db", **values}
    return {name: _resolve_path(name, value, folder) for name, value in known.items()}


def _resolve_path(name: str, value: str, folder: Path) -> str:
    if name == "RELAY_DATABASE" and value.startswith(SQLITE):
        return f"{SQLITE}{folder / value.removeprefix(SQLITE)}"
    is_path = value and (name in _PATHS or name.endswith("_FILE"))
    return str(folder / value) if is_path else value


# -- what to do where nothing is set ---------------------------------------------------------------------------


def _loaded(context: click.Context) -> bool:
    return _LOADED in context.find_root().meta


def _any_settings() -> bool:
    return any(name.startswith("RELAY_") for name in os.environ)


def advice(context: click.Context) -> str:
    """A sentence that says how to load settings; empty where there are some."""
    if _loaded(context) or _any_settings():
        return ""
    return (
        f"No settings are known here: no variable RELAY_... is set, and no {NAME} lies beside rules.yaml. Run this where "
        f"they lie, or name the settings: relay --env-file /etc/relay.env {context.find_root().invoked_subcommand}"
    )
