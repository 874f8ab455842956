"""A folder for what is shown. What a preview wrote, the next one takes away; nobody else's file is ever touched."""

import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from relay.files import create_private, make_private_folder

LIST = "preview.json"
"""Says what was written, so that the next preview knows its own."""
_MADE_BY = "relay preview"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


class FolderTaken(Exception):
    """A sentence that says what is in the way."""


def fill(folder: Path, files: Mapping[str, bytes], about: Mapping[str, object]) -> list[Path]:
    """Write them, and the list with what is said `about` them. Returns the paths.

    Raises FolderTaken before anything is changed, and OSError.
    """
    if folder.exists() and not folder.is_dir():
        raise FolderTaken(f"{folder} is no folder; name another one with --out")
    ours = _ours(folder)
    names = [*files, LIST]
    for name in names:
        if name not in ours and (folder / name).exists():
            raise FolderTaken(
                f"{folder / name} is there already, and no preview wrote it; name another folder with --out"
            )
    make_private_folder(folder)
    for name in ours:
        (folder / name).unlink(missing_ok=True)
    listed = {"made_by": _MADE_BY, **about, "files": names}
    contents = {**files, LIST: json.dumps(listed, indent=2, ensure_ascii=False).encode() + b"\n"}
    for name, content in contents.items():
        with create_private(folder / name) as file:
            file.write(content)
    return [folder / name for name in files]


def _ours(folder: Path) -> set[str]:
    """Names of what an earlier preview wrote there."""
    try:
        listed = json.loads((folder / LIST).read_bytes())
        if listed["made_by"] != _MADE_BY:
            return set()
        names = {name for name in listed["files"] if _NAME.fullmatch(name)}
    except (OSError, ValueError, TypeError, KeyError):
        return set()
    return {name for name in names if not (folder / name).is_dir()}


def file_name(*words: str) -> str:
    """`Missed chats`, `support-room` -> `missed-chats-support-room`: what any system takes for a name."""
    plain = unicodedata.normalize("NFKD", "-".join(words)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:70].strip("-")
