"""Files in a user's folder of templates that nothing will ever read: mostly a slip of the pen."""

import difflib
from collections.abc import Iterator
from pathlib import Path

from relay.languages import OWN
from relay.rendering.folders import FILES, NAME

PARTS = "_parts"
_ALIKE = 0.75
"""From 0, nothing in common, to 1: `subjct.txt` and `subject.txt` have 0.95."""


def misplaced(folder: Path) -> Iterator[tuple[Path, str]]:
    """Each with what is odd about it. Raises OSError for a folder that can't be listed."""
    for path in sorted([*folder.glob("*.po"), *folder.glob("[!.]*/*.po")]):
        if path.parent.name != OWN:
            yield path, f"nothing reads it here; move it into {folder / OWN}"
    for child in sorted(folder.iterdir()):
        if child.name in FILES:
            yield (
                child,
                f"nothing reads it here; move it into a template's folder, such as {folder / 'missed'}",
            )
        elif child.is_dir() and not child.name.startswith((".", "_")):
            yield from _in_template(child)


def _in_template(template: Path) -> Iterator[tuple[Path, str]]:
    files = sorted(file.name for file in template.iterdir() if file.is_file())
    known = [name for name in files if name in FILES]
    if known and not NAME.fullmatch(template.name):
        yield (
            template,
            "nothing reads it; a template's name is made of small letters, digits, - and _",
        )
        return
    for name in files:
        near = difflib.get_close_matches(name, FILES, n=1, cutoff=_ALIKE)
        if near and name not in FILES and not _is_included(template, known, name):
            yield template / name, f"nothing reads it; did you mean {near[0]}?"


def _is_included(template: Path, files: list[str], name: str) -> bool:
    """Files of its own may have any name, if another one names them."""
    quoted = (f'"{name}"', f"'{name}'")
    return any(
        words in (template / file).read_text("utf-8", "replace")
        for file in files
        for words in quoted
    )
