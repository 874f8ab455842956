"""The variables of the environment, each also from a file: `NAME_FILE` names it."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from relay.files import read_file
from relay.redaction import may_hold_secret, may_name_file
from relay.settings.secret import SecretValue

LONGEST = 65_536
"""Bytes of a value's file."""
_BREAK = re.compile("[\n\r\x0b\x0c\x85\u2028\u2029]")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\xad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")


class Environment:
    """The variables by name."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def get(self, name: str, *, lines: bool = False) -> str | None:
        """The value without blanks at its ends; None where neither NAME nor NAME_FILE is set, or the value is empty.

        `lines`: it may have several. Raises ValueError, in words without the value: both are set, the file can't be
        read, or the value has a line break, an invisible character, or quotes around it.
        """
        plain = self._variables.get(name, "").strip()
        file = self._variables.get(f"{name}_FILE", "").strip()
        if plain and file:
            raise ValueError(f"{name} and {name}_FILE are both set; keep one of them")
        value = _read(f"{name}_FILE", file) if file else plain
        if objection := _objection(" ".join(value.split()) if lines else value):
            raise ValueError(
                f"{name}_FILE: the file {objection}" if file else f"{name} {objection}"
            )
        return value or None

    def names(self) -> set[str]:
        """Of all variables; NAME for NAME_FILE too."""
        return {name.removesuffix("_FILE") for name in self._variables}

    def files(self, names: Iterable[str]) -> tuple[Path, ...]:
        """The secret files from which variables of these names are read."""
        named = (self._variables.get(f"{name}_FILE", "").strip() for name in names)
        return tuple(Path(file) for file in dict.fromkeys(named) if file)

    def secret(self, name: str) -> SecretValue | None:
        """What `$NAME` in the rules file stands for; raises like `get`."""
        value = self.get(name)
        return None if value is None else SecretValue(value)


def _read(name: str, file: str) -> str:
    if not may_name_file(file):
        raise ValueError(
            f"{name} names no file: it seems to hold the secret itself; set {name.removesuffix('_FILE')} to that, or "
            f"{name} to the name of a file"
        )
    # Only what surely is a path: who takes the variable for the secret's own finds it in the log.
    called = (
        f" {file},"
        if file.startswith(("/", "./", "../")) and not may_hold_secret(file)
        else " a file"
    )
    try:
        content = read_file(Path(file), LONGEST)
        if len(content) > LONGEST:
            raise ValueError(f"{name} names{called} which is too long: at most {LONGEST:,} bytes")
        return content.decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ValueError(f"{name} names{called} which can't be read: {reason}") from None


def _objection(value: str) -> str:
    """What no value has, and what editors, shells and copied text leave in it; empty where there is nothing of that."""
    if _BREAK.search(value):
        return "holds more than one line; write the value on one line"
    if unseen := _UNSEEN.search(value):
        return (
            f"holds a character that can't be seen (U+{ord(unseen[0]):04X}); type the value again"
        )
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"`":
        return "holds quotes around the value; write it without them"
    return ""
