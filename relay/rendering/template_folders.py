"""Finds and reads template files in several folders, and describes errors in templates.

If several folders have a file, the first folder's is used.
"""

import os
import re
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from jinja2 import TemplateNotFound, TemplateSyntaxError

from relay.files import leads_out_of, line_of, read_file, shipped

DEFAULT = "chat"
"""The template that supplies the files that other templates lack."""
DIGEST = "digest"
"""The template of digests; rules can't name it."""
OVERRIDES = ("slack.json", "teams.json")
FILES = (
    "subject.txt", "summary.txt", "facts.txt", "footer.txt", "body.txt", "body.html", *OVERRIDES,
)  # fmt: skip
DIGEST_FILES = ("subject.txt", "summary.txt", "line.txt", "footer.txt", "body.txt", "body.html")
MAX_SIZE = 100_000
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class UnreadableFile(Exception):
    """Raised for a template file that exists but can't be read; has the file and the reason."""

    def __init__(self, file: str, reason: str, line: int = 0) -> None:
        """`line` counts from 1; 0 means the file as a whole."""
        super().__init__(file, reason, line)
        self.file = file
        self.reason = reason
        self.line = line


class Folders:
    """The template files of several folders, by names such as `missed/body.txt`.

    A link to a place outside its folder counts as unreadable. This class does not need Jinja, which
    the relay itself never imports.
    """

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders

    def names(self) -> tuple[str, ...]:
        """Return the templates that a rule may name and that have a file in some folder.

        Raises OSError for a folder that can't be listed.
        """
        return tuple(
            sorted(
                {
                    child.name
                    for folder in self._folders
                    if folder.is_dir()
                    for child in folder.iterdir()
                    if NAME.fullmatch(child.name)
                    and child.name != DIGEST
                    and any(os.path.lexists(child / file) for file in FILES)
                }
            )
        )

    def choose(self, template: str, file: str) -> str:
        """Return the name of a template's file: `missed/facts.txt` if it exists, else `chat/facts.txt`.

        A digest has only its own files.
        """
        own = f"{template}/{file}"
        return own if template == DIGEST or self._find(own) else f"{DEFAULT}/{file}"

    def has(self, template: str, file: str) -> bool:
        """Whether a template has a file, its own or that of `chat`, even an unreadable one."""
        return self._find(self.choose(template, file)) is not None

    def path(self, name: str) -> str:
        """Return the path of a file for messages; its bare name if it does not exist."""
        source_file = self._find(name)
        return str(source_file[1]) if source_file else name

    def source(self, name: str) -> tuple[str, str, Callable[[], bool] | None] | None:
        """Return a template's source for `jinja2.FunctionLoader`: text, path and None; None for a missing file.

        Raises UnreadableFile.
        """
        source_file = self._find(name)
        if source_file is None:
            return None
        folder, path = source_file
        try:
            if leads_out_of(folder, path):
                reason = f"leads out of {folder}; put the file itself here"
                raise UnreadableFile(str(path), reason)
            source = read_file(path, MAX_SIZE)
            if len(source) > MAX_SIZE:
                raise UnreadableFile(str(path), f"larger than {MAX_SIZE:,} bytes")
            return source.decode("utf-8-sig"), str(path), None
        except OSError as error:
            raise UnreadableFile(str(path), f"can't be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            reason = "is not UTF-8; save it as UTF-8"
            raise UnreadableFile(str(path), reason, line_of(error)) from None

    def _find(self, name: str) -> tuple[Path, Path] | None:
        """Return the first folder that has a file of this name, and the file's path; None if there is none.

        The file may be unreadable.
        """
        for folder in self._folders:
            with suppress(FileNotFoundError, NotADirectoryError):
                path = folder / name
                with suppress(PermissionError):
                    path.lstat()
                return folder, path
        return None


def shipped_files() -> dict[str, Path]:
    """Return the path of each template file that comes with the relay, by name: `missed/subject.txt`.

    A file that a template lacks has the path of the one in `chat`.
    """
    folder = shipped("templates")
    folders = Folders((folder,))
    names = [
        f"{name}/{file}" for name in folders.names() for file in FILES if folders.has(name, file)
    ]
    names += [f"{DIGEST}/{file}" for file in DIGEST_FILES]
    parts = [str(path.relative_to(folder)) for path in sorted(folder.glob("_*/*.*"))]
    chosen = {name: folder / folders.choose(*name.split("/")) for name in names}
    return chosen | {name: folder / name for name in parts}


def inherited_from(name: str, paths: Mapping[str, Path]) -> str:
    """Return the name of the file in `chat` that a template uses for lack of its own; empty if it has its own. `paths`: as `shipped_files`."""
    path = "/".join(paths[name].parts[-2:])
    return "" if path == name else path


class BrokenTemplate(Exception):
    """Raised for a template that can't be used; has the file, the line (0 if unknown) and the problem."""

    def __init__(self, template: str, file: str, line: int, reason: str) -> None:
        super().__init__(template, file, line, reason)
        self.template = template
        self.file = file
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        """Return the problem as `file:line: problem`, which editors can open."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.reason}"


def broken_by(error: Exception, template: str, file: str) -> BrokenTemplate:
    """Convert an exception from Jinja to a BrokenTemplate. `file` is named if the exception names none."""
    match error:
        case TemplateSyntaxError():
            return BrokenTemplate(
                template, error.filename or file, error.lineno, error.message or ""
            )
        case UnreadableFile():
            return BrokenTemplate(template, error.file, error.line, error.reason)
        case TemplateNotFound():
            place, line = _place(error, file)
            return BrokenTemplate(template, place, line, f"there is no file {error.name!r}")
        case RecursionError():
            place, line = _place(error, file)
            return BrokenTemplate(
                template, place, line, "calls itself without an end, or is nested too deep"
            )
        case MemoryError():
            return BrokenTemplate(template, file, 0, "takes more memory than a template may have")
        case _:
            place, line = _place(error, file)
            return BrokenTemplate(template, place, line, str(error) or type(error).__name__)


def _place(error: Exception, file: str) -> tuple[str, int]:
    """Return the file and line (0 if unknown) where a template failed.

    Jinja rewrites tracebacks so that a template's frames have its own file and line.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.endswith((".txt", ".html", ".json")):
            return frame.filename, frame.lineno or 0
    return file, 0
