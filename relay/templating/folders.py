"""The folders that template files are read from. The first that has a file wins, file by file."""

import re
from collections.abc import Callable
from pathlib import Path

DEFAULT = "chat"
"""The template whose files stand in for those that another one doesn't have."""
OVERRIDES = ("slack.json", "teams.json")
FILES = (
    "subject.txt", "summary.txt", "facts.txt", "footer.txt", "body.txt", "body.html", *OVERRIDES,
)  # fmt: skip
MAX_SIZE = 100_000
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class UnreadableFile(Exception):
    """A template file that is there but can't be read. Says which, and why."""

    def __init__(self, file: str, what: str) -> None:
        super().__init__(file, what)
        self.file = file
        self.what = what


class Folders:
    """Names are `<folder>/<file>`; what a link points out of the folders is not there.

    Knows nothing of Jinja: the relay only asks for names, and leaves Jinja to the processes that render.
    """

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders

    def names(self) -> tuple[str, ...]:
        """Every template that at least one folder has a file of. Raises OSError for a folder that can't be listed."""
        return tuple(
            sorted(
                {
                    child.name
                    for folder in self._folders
                    if folder.is_dir()
                    for child in folder.iterdir()
                    if NAME.fullmatch(child.name)
                    and any((child / file).is_file() for file in FILES)
                }
            )
        )

    def choose(self, template: str, file: str) -> str:
        """`missed/facts.txt` if there is one, else `chat/facts.txt`."""
        own = f"{template}/{file}"
        return own if self._find(own) else f"{DEFAULT}/{file}"

    def has(self, template: str, file: str) -> bool:
        """Whether there is one, its own or that of `chat`; one that can't be read is there."""
        try:
            return self._find(self.choose(template, file)) is not None
        except UnreadableFile:
            return True

    def path(self, name: str) -> str:
        """Where the file stands, for people; its bare name where there is none."""
        try:
            return str(self._find(name) or name)
        except UnreadableFile as error:
            return error.file

    def source(self, name: str) -> tuple[str, str, Callable[[], bool] | None] | None:
        """As `jinja2.FunctionLoader` wants it: text, path and nothing; None where there is no such file.

        Raises UnreadableFile.
        """
        path = self._find(name)
        if path is None:
            return None
        try:
            source = path.read_bytes()
            if len(source) > MAX_SIZE:
                raise UnreadableFile(str(path), f"larger than {MAX_SIZE:,} bytes")
            return source.decode("utf-8-sig"), str(path), None
        except OSError as error:
            raise UnreadableFile(str(path), f"can't be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise UnreadableFile(str(path), f"not UTF-8: byte {error.start}") from None

    def _find(self, name: str) -> Path | None:
        for folder in self._folders:
            path = folder / name
            try:
                if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                    return path
            except OSError as error:
                raise UnreadableFile(str(path), f"can't be read: {error.strerror}") from None
        return None
