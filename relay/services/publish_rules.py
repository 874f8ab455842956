"""Edits the rules file: checks a text, publishes it in place of the one it is based on, and undoes that.

The file remains the only source of the rules. However it is saved, no text that it had is lost.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from msgspec import Struct

from relay.clock import Clock
from relay.crash_points import CrashPoint, reach
from relay.files import read_file
from relay.outbox.audit_log import Act
from relay.outbox.database_session import Sessions
from relay.outbox.rules_versions import Version
from relay.outbox.user_accounts import Role
from relay.rules import Problem, RuleBook
from relay.rules.compare_rules import Change
from relay.rules.line_edits import switched
from relay.rules.reading.yaml_document import MAX_BYTES
from relay.services import in_thread
from relay.services.check import Checked
from relay.services.draft_check import all_problems, changes_between, refusal
from relay.services.edit_file import (
    ReadOnly,
    can_be_replaced,
    discard_previous,
    is_in_git,
    left_behind,
    locked,
    put_in_place,
    why_read_only,
)
from relay.services.rules_history import SHORT, RulesHistory, hash_of
from relay.settings.database import PostgresServer
from relay.settings.table import Settings

QUIET = 0.2
"""Seconds until a writer that had the previous file open is looked for."""
LONGEST_MESSAGE = 300

log = logging.getLogger(__name__)
_lock = threading.Lock()


class RulesText(Struct, frozen=True, kw_only=True):
    """The rules file as it is on disk."""

    source: bytes
    hash: str
    """SHA-256 of `source`, in hex, as in `RuleBook.hash`."""
    read_only: ReadOnly | None
    """Why the console can't change the file; None where it can."""
    in_place: bool
    """Whether its bytes are overwritten in place, because no new file can take its place."""
    in_git: bool


class Author(Struct, frozen=True, kw_only=True):
    """The user who changes the rules."""

    name: str
    role: Role
    user: int = 0
    """The user's number, for their draft; 0 for none."""
    address: str = ""
    via: str = "console"


class Published(Struct, frozen=True, kw_only=True):
    """The result of publishing a text."""

    hash: str
    is_new: bool
    """Whether the text was written; false where the file had it already."""
    overwritten: str = ""
    """The hash of a text that somebody else saved at the last moment. It is stored as a version, but no longer in the file."""


class NotPublished(Exception):
    """Raised where the file was not changed; the subclasses say why."""


class FileIsReadOnly(NotPublished):
    """Raised where the console can't change the file."""

    def __init__(self, why: ReadOnly) -> None:
        super().__init__(why)
        self.why = why


class Changed(NotPublished):
    """Raised where the file has another text than the one that was edited, `theirs`."""

    def __init__(self, theirs: bytes) -> None:
        super().__init__("the file was changed meanwhile")
        self.theirs = theirs


class NotUsable(NotPublished):
    """Raised for rules that the relay would refuse."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class ForAdmins(NotPublished):
    """Raised where an editor changes what only an admin may; `problems` has the places."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class NotWritten(NotPublished):
    """Raised where the disk did not accept the text."""


class NothingToUndo(NotPublished):
    """Raised where the previous text of the file is not known."""


async def _rest() -> None:
    await asyncio.sleep(QUIET)


@dataclass(frozen=True)
class RulesFile:
    """The rules file of a running relay. Methods also raise StorageRefused and StorageUnavailable."""

    sessions: Sessions
    settings: Settings
    variables: Mapping[str, str]
    in_force: Callable[[], RuleBook]
    clock: Clock
    rest: Callable[[], Awaitable[None]] = _rest
    """Waits for writers that have the previous file open."""

    @property
    def history(self) -> RulesHistory:
        """Every text that the file ever had."""
        return RulesHistory(self.sessions, self.clock)

    async def read(self) -> RulesText:
        """The file's text, and whether it can be edited; empty where it can't be read."""
        return await in_thread(lambda _: self._read())

    def _read(self) -> RulesText:
        path, source, why = self.settings.rules, b"", self._why_read_only()
        try:
            source = read_file(path, MAX_BYTES)
        except FileNotFoundError:
            why = ReadOnly.MISSING
        except OSError:
            why = ReadOnly.UNREADABLE
        if len(source) > MAX_BYTES:
            source, why = b"", ReadOnly.TOO_LARGE
        return RulesText(
            source=source,
            hash=hash_of(source),
            read_only=why or why_read_only(path),
            in_place=not can_be_replaced(path),
            in_git=is_in_git(path),
        )

    def _why_read_only(self) -> ReadOnly | None:
        if self.settings.console_edit is False:
            return ReadOnly.SETTING
        is_shared = isinstance(self.settings.database, PostgresServer)
        return ReadOnly.SEVERAL if is_shared and self.settings.console_edit is None else None

    async def check(self, source: bytes) -> Checked:
        """The result of `relay check` for a text."""
        return await all_problems(source, self.settings.rules, self.variables, self.clock())

    async def changes(self, before: bytes, after: bytes) -> list[Change] | None:
        """The differences between two texts of the file; None where one of them can't be used."""
        return await changes_between(before, after, self.variables)

    async def refuse_unusable(self, source: bytes, author: Author, base: bytes) -> None:
        """Raise NotUsable for a text that the relay would refuse, ForAdmins for changes beyond the author's role.

        `base`: the text that it replaces.
        """
        is_admin = author.role.may(Role.ADMIN)
        unless = None if is_admin else (base, await self._text_in_force())
        refused = await refusal(source, self.variables, unless)
        if refused.unusable:
            raise NotUsable(refused.unusable)
        if refused.for_admins:
            raise ForAdmins(refused.for_admins)

    async def _text_in_force(self) -> bytes:
        version = await self.history.version(self.in_force().hash)
        return version[1] if version else b""

    async def publish(
        self,
        source: bytes,
        base: str,
        author: Author,
        message: str = "",
        *,
        act: str = "publish rules",
        subject: str = "",
    ) -> Published:
        """Make `source` the file's content, if the file still has the text with the hash `base`.

        Discards the author's draft. `act` and `subject` are for the log of acts; by default `subject` is the new
        text's hash. Raises a NotPublished without a change.
        """
        current = await self.read()
        if current.read_only:
            raise FileIsReadOnly(current.read_only)
        if current.hash not in {base, hash_of(source)}:
            await in_thread(lambda _: self.history.keep(current.source))
            raise Changed(current.source)
        await self.refuse_unusable(source, author, current.source)
        version = Version(
            hash=hash_of(source),
            seen_at=self.clock(),
            by=author.name,
            message=message.strip()[:LONGEST_MESSAGE],
            base_hash=base,
        )
        doing = Act(
            by=author.name,
            address=author.address,
            via=author.via,
            act=act,
            subject=subject or version.hash[:SHORT],
            detail=f"{base[:SHORT]} -> {version.hash[:SHORT]}",
        )
        published, before = await in_thread(lambda _: self._publish(source, version, doing))
        if author.user:
            await self.history.discard_draft(author.user)
        if before:
            published = await self._keep_late_writes(before, version, source, published)
        return published

    def _publish(
        self, source: bytes, version: Version, act: Act
    ) -> tuple[Published, IO[bytes] | None]:
        path = self.settings.rules
        with _lock, locked(path):
            if (spare := left_behind(path)) is not None:
                self.history.keep(spare, only_unknown=True)
                discard_previous(path)
            current = read_file(path, MAX_BYTES)
            if hash_of(current) == version.hash:
                return Published(hash=version.hash, is_new=False), None
            if hash_of(current) != version.base_hash:
                self.history.keep(current)
                raise Changed(current)
            kept = self.history.keep_both(current, source, version, act)
            reach(CrashPoint.VERSION_KEPT)
            try:
                before = put_in_place(path, source)
            except OSError as error:
                self.history.take_back(kept, act)
                raise NotWritten(error.strerror or str(error)) from None
            reach(CrashPoint.PUBLISHED)
            log.info("%s published rules %s", act.by, act.detail)
            overwritten = ""
            if before:
                overwritten = self.history.keep_overwritten(before, version, source)
                discard_previous(path)
            return Published(hash=version.hash, is_new=True, overwritten=overwritten), before

    async def _keep_late_writes(
        self, before: IO[bytes], version: Version, source: bytes, published: Published
    ) -> Published:
        """Store what a writer that had the previous file open has written since."""
        with before:
            await self.rest()
            late = await in_thread(lambda _: self.history.keep_overwritten(before, version, source))
        if not late:
            return published
        return Published(hash=version.hash, is_new=True, overwritten=late)

    async def switch(self, rule: str, *, on: bool, base: str, author: Author) -> Published:
        """Turn a rule on or off in the text with the hash `base`: one line of the file changes.

        Raises NotSpliced where the rule is not there or is written in a way that can't be changed so, and a NotPublished.
        """
        file = await self.read()
        source = await in_thread(lambda _: switched(file.source, rule, on=on))
        if file.hash != base and source != file.source:
            raise Changed(file.source)
        act = "turn on rule" if on else "turn off rule"
        return await self.publish(source, file.hash, author, act=act, subject=rule)

    async def undo(self, base: str, author: Author) -> Published:
        """Restore the previous text of the file, which must have the one with the hash `base`.

        Raises a NotPublished without a change.
        """
        previous = await self.history.previous(base)
        if previous is None:
            raise NothingToUndo
        _, source = previous
        return await self.publish(source, base, author, act="undo rules")
