"""The folder of a user's own templates and catalogues, and the files of templates in it: how they are read, checked, replaced and removed."""

import contextlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from relay.clock import Clock
from relay.files import leads_out_of, read_file, shipped
from relay.outbox.audit_log import Act, add_act
from relay.outbox.database_session import Sessions
from relay.rendering.template_folders import FILES, MAX_SIZE, Folders, inherited_from, shipped_files
from relay.services import in_thread
from relay.services.edit_file import ReadOnly, discard_previous, locked, put_in_place, why_read_only
from relay.services.publish_rules import Changed, FileIsReadOnly, NotUsable, NotWritten
from relay.services.rules_history import hash_of
from relay.services.wording_preview import WordingPreviews
from relay.settings.database import PostgresServer
from relay.settings.table import Settings

_lock = threading.Lock()


class FolderFile(Struct, frozen=True, kw_only=True):
    """A file of the folder, which may not exist yet."""

    path: Path | None
    """The path of the file; None where there is no folder."""
    source: bytes
    """The content of the file; empty where there is none."""
    hash: str
    """SHA-256 of `source` in hex; empty where there is no file."""
    read_only: ReadOnly | None


@dataclass(frozen=True)
class TemplateFolder:
    """The files under RELAY_TEMPLATES. The caller has checked names, such as `missed/subject.txt`. All methods block."""

    settings: Settings
    sessions: Sessions
    clock: Clock

    def read(self, name: str, most: int) -> FolderFile:
        """The file; without its text if it has more than `most` bytes."""
        folder, why = self.settings.templates, self.why_read_only()
        if folder is None:
            return FolderFile(path=None, source=b"", hash="", read_only=why)
        path = folder / name
        source, hash_ = b"", ""
        try:
            source = read_file(path, most)
            hash_ = hash_of(source)
            why = why or why_read_only(path)
        except FileNotFoundError:
            why = why or _why_no_new_file(folder, path)
        except OSError:
            why = why or ReadOnly.UNREADABLE
        if len(source) > most:
            source, why = b"", why or ReadOnly.TOO_LARGE
        if leads_out_of(folder, path):
            why = why or ReadOnly.NOT_WRITABLE
        return FolderFile(path=path, source=source, hash=hash_, read_only=why)

    @property
    def is_shared(self) -> bool:
        """Whether other relays may use the database, each with a folder of its own."""
        is_server = isinstance(self.settings.database, PostgresServer)
        return is_server and self.settings.console_edit is None

    def why_read_only(self) -> ReadOnly | None:
        """Why no file of the folder can be changed; None where that depends on the file."""
        if self.settings.console_edit is False:
            return ReadOnly.SETTING
        if self.settings.templates is None:
            return ReadOnly.NO_FOLDER
        if self.is_shared:
            return ReadOnly.SEVERAL
        return None if self.settings.templates.is_dir() else ReadOnly.MISSING

    def replace(self, name: str, data: bytes | None, base: str, act: Act, most: int) -> None:
        """Make `data` the file's content, or remove the file for None, if it still has the hash `base`.

        The act is logged before. Raises a NotPublished without a change, StorageRefused and StorageUnavailable.
        """
        with _lock:
            file = self.read(name, most)
            if file.read_only or file.path is None:
                raise FileIsReadOnly(file.read_only or ReadOnly.NO_FOLDER)
            if file.hash != base:
                raise Changed(file.source)
            if data == file.source and file.hash:
                return
            try:
                file.path.parent.mkdir(exist_ok=True)
                with locked(file.path):
                    self._log(act)
                    _put(file, data)
            except OSError as error:
                raise NotWritten(error.strerror or str(error)) from None

    def _log(self, act: Act) -> None:
        with self.sessions.writing() as session:
            add_act(session.operations.sql, session.cursor, act, self.clock())


def _why_no_new_file(folder: Path, path: Path) -> ReadOnly | None:
    place = path.parent if path.parent.is_dir() else folder
    return None if os.access(place, os.W_OK | os.X_OK) else ReadOnly.NOT_WRITABLE


def _put(file: FolderFile, data: bytes | None) -> None:
    path = file.path
    if path is None:
        return
    discard_previous(path)
    if data is None:
        path.unlink(missing_ok=True)
    elif not file.hash:
        _write_new(path, data)
    elif before := put_in_place(path, data):
        with before:
            theirs = before.read()
        if theirs != file.source:  # somebody else saved it at this moment: restore theirs
            put_in_place(path, theirs)
        discard_previous(path)
        if theirs != file.source:
            raise Changed(theirs)


def _write_new(path: Path, data: bytes) -> None:
    """Write a new file, complete or not at all. Raises Changed where the file exists by now."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    except FileExistsError:
        raise Changed(read_file(path)) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


class TemplateFile(Struct, frozen=True, kw_only=True):
    """A file of a template, as shown in lists."""

    name: str
    """The path of the file, such as `missed/subject.txt`."""
    inherited: str
    """The file that is used while the template has none of its own; empty where it has."""
    is_own: bool
    """Whether the user has changed it."""

    @property
    def folder(self) -> str:
        """The name of the template to which the file belongs."""
        return self.name.partition("/")[0]


class TemplateText(Struct, frozen=True, kw_only=True):
    """A file of a template with its texts."""

    about: TemplateFile
    shipped: bytes
    """The shipped text; empty where there is none."""
    own: FolderFile


class NoSuchFile(Exception):
    """Raised for a name that no template's file can have."""


@dataclass(frozen=True)
class TemplateFiles:
    """The files of templates of a running relay."""

    files: TemplateFolder
    previews: WordingPreviews

    async def every(self) -> list[TemplateFile]:
        """All files that may be changed, in the order of their templates."""
        return await in_thread(lambda _: list(self._all().values()))

    async def read(self, name: str) -> TemplateText:
        """One file with its texts. Raises NoSuchFile."""
        return await in_thread(lambda _: self._read(name))

    async def problems(self, name: str, text: str) -> list[str]:
        """The problems of a text for a file, as `file:line: what`. A shared part is tried with all templates."""
        if len(text.encode()) > MAX_SIZE:
            return [f"{name}: larger than {MAX_SIZE:,} bytes"]
        folder = name.partition("/")[0]
        templates = [folder]
        if folder.startswith("_"):
            templates = list(dict.fromkeys(each.partition("/")[0] for each in self._all()))
            templates = [each for each in templates if not each.startswith("_")]
        problems = await self.previews.problems({name: text}, templates)
        # Problems of other files are left out, but not what ended a worker.
        return [each for each in problems if each.startswith((f"{name}:", "template "))]

    async def change(self, name: str, data: bytes | None, base: str, act: Act) -> None:
        """Make `data` the user's file; None: use the shipped one again.

        `base`: the hash of the file as it was shown. Raises NoSuchFile, NotUsable for a faulty text, and other
        NotPublished, without a change.
        """
        if name not in await in_thread(lambda _: self._all()):
            raise NoSuchFile(name)
        if data is not None and (problems := await self.problems(name, data.decode())):
            raise NotUsable(problems)
        await in_thread(lambda _: self.files.replace(name, data, base, act, MAX_SIZE))

    def _all(self) -> dict[str, TemplateFile]:
        own, shipped_paths = self.files.settings.templates, shipped_files()
        names = dict.fromkeys(shipped_paths)
        if own and own.is_dir():
            names |= dict.fromkeys(
                f"{name}/{file}" for name in Folders((own,)).names() for file in FILES
            )
        return {
            name: TemplateFile(
                name=name,
                inherited=_stands_in(name, shipped_paths),
                is_own=own is not None and (own / name).is_file(),
            )
            for name in names
        }

    def _read(self, name: str) -> TemplateText:
        file = self._all().get(name)
        if file is None:
            raise NoSuchFile(name)
        path = shipped("templates") / (file.inherited or name)
        source = read_file(path, MAX_SIZE) if path.is_file() else b""
        return TemplateText(about=file, shipped=source, own=self.files.read(name, MAX_SIZE))


def _stands_in(name: str, shipped_paths: Mapping[str, Path]) -> str:
    if name in shipped_paths:
        return inherited_from(name, shipped_paths)
    usual = f"chat/{name.partition('/')[2]}"
    return usual if usual in shipped_paths else ""
