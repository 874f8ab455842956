"""The files of templates, as shipped and as the user has changed them, and how one is changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from relay.files import read_file, shipped
from relay.outbox.log_of_acts import Act
from relay.rendering.folders import FILES, MAX_SIZE, Folders, inherited_from, shipped_files
from relay.services import in_thread
from relay.services.publish_rules import NotUsable
from relay.services.template_folder import FolderFile, TemplateFolder
from relay.services.wording_preview import WordingPreviews


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
        found = await self.previews.problems({name: text}, templates)
        # Problems of other files are left out, but not what ended a worker.
        return [each for each in found if each.startswith((f"{name}:", "template "))]

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
        own, there = self.files.settings.templates, shipped_files()
        names = dict.fromkeys(there)
        if own and own.is_dir():
            names |= dict.fromkeys(
                f"{name}/{file}" for name in Folders((own,)).names() for file in FILES
            )
        return {
            name: TemplateFile(
                name=name,
                inherited=_stands_in(name, there),
                is_own=own is not None and (own / name).is_file(),
            )
            for name in names
        }

    def _read(self, name: str) -> TemplateText:
        found = self._all().get(name)
        if found is None:
            raise NoSuchFile(name)
        path = shipped("templates") / (found.inherited or name)
        source = read_file(path, MAX_SIZE) if path.is_file() else b""
        return TemplateText(about=found, shipped=source, own=self.files.read(name, MAX_SIZE))


def _stands_in(name: str, there: Mapping[str, Path]) -> str:
    if name in there:
        return inherited_from(name, there)
    usual = f"chat/{name.partition('/')[2]}"
    return usual if usual in there else ""
