"""Every text that the rules file ever had, whoever saved it, and the drafts of its editors."""

import hashlib
import logging
import zlib
from dataclasses import dataclass
from typing import IO, Any

from msgspec.structs import replace

from relay.clock import Clock
from relay.outbox import rules_versions
from relay.outbox.audit_log import Act, add_act
from relay.outbox.database_session import Session, Sessions
from relay.outbox.rules_versions import Draft, Version
from relay.outbox.statements import Statements
from relay.rules.reading.yaml_document import MAX_BYTES
from relay.services import read_in_thread, write_in_thread

SHORT = 12
"""How many characters of a hash are shown to people."""

log = logging.getLogger(__name__)


def hash_of(source: bytes) -> str:
    """The SHA-256 of a text, as 64 hexadecimal digits."""
    return hashlib.sha256(source).hexdigest()


@dataclass(frozen=True)
class RulesHistory:
    """Versions and drafts of the rules file. Methods raise StorageRefused and StorageUnavailable; those that aren't async block."""

    sessions: Sessions
    clock: Clock

    async def previous(self, hash_: str) -> tuple[Version, bytes] | None:
        """The text that the newest version replaced; None where that is not known, or the newest version has another hash."""

        def work(session: Session) -> tuple[Version, bytes] | None:
            newest = _newest(session)
            if newest is None or newest.hash != hash_ or not newest.base_hash:
                return None
            return rules_versions.find_version(*_at(session), newest.base_hash)

        return await read_in_thread(self.sessions, work)

    async def versions(
        self, before: int = rules_versions.NEWEST, most: int = rules_versions.KEPT
    ) -> list[Version]:
        """At most `most` versions with a number below `before`, newest first."""
        return await read_in_thread(
            self.sessions,
            lambda session: rules_versions.list_versions(*_at(session), before=before, most=most),
        )

    async def version(self, hash_: str) -> tuple[Version, bytes] | None:
        """The newest version with this hash, and its bytes; None where there is none."""
        return await read_in_thread(
            self.sessions, lambda session: rules_versions.find_version(*_at(session), hash_)
        )

    async def drafts(self) -> list[Draft]:
        """The drafts of all users, oldest first."""
        return await read_in_thread(
            self.sessions, lambda session: rules_versions.all_drafts(*_at(session))
        )

    async def keep_draft(self, user: int, base: str, text: str) -> None:
        """Store a user's draft. `base`: the hash of the text from which it began."""

        def work(session: Session) -> None:
            rules_versions.keep_draft(
                *_at(session), user, base_hash=base, text=text, now=self.clock()
            )

        await write_in_thread(self.sessions, work)

    async def discard_draft(self, user: int) -> None:
        """Delete the draft of the user with this number."""
        await write_in_thread(
            self.sessions, lambda session: rules_versions.discard_draft(*_at(session), user)
        )

    # -- while a text is published ---------------------------------------------------------------------------

    def keep_overwritten(self, before: IO[bytes], version: Version, source: bytes) -> str:
        """Store what the file contained at the last moment, if it was not the edited text; returns its hash.

        Returns an empty text otherwise.
        """
        before.seek(0)
        written = before.read(MAX_BYTES + 1)
        if hash_of(written) in {version.base_hash, version.hash, hash_of(b"")}:
            return ""
        theirs = Version(hash=hash_of(written), seen_at=self.clock())
        with self.sessions.writing() as session:
            # In the order in which the file had them.
            if (newest := _newest(session)) and newest.hash == version.hash:
                rules_versions.remove_version(*_at(session), newest.id)
            _add(session, theirs, written)
            _add(session, version, source)
        log.warning(
            "somebody else saved the rules file at the same moment; their text is kept as version %s",
            theirs.hash[:SHORT],
        )
        return theirs.hash

    def keep_both(self, current: bytes, source: bytes, version: Version, act: Act) -> Version:
        """Store the text in the file and the one that replaces it; returns the version of the latter."""
        with self.sessions.writing() as session:
            _add(session, Version(hash=version.base_hash, seen_at=self.clock()), current)
            add_act(*_at(session), act, self.clock())
            return _add(session, version, source)

    def take_back(self, version: Version, act: Act) -> None:
        """Remove a version whose text could not be written, and log the act as failed."""
        with self.sessions.writing() as session:
            rules_versions.remove_version(*_at(session), version.id)
            add_act(*_at(session), replace(act, detail="failed"), self.clock())

    def keep(self, source: bytes, *, only_unknown: bool = False) -> None:
        """Store a text that others have written to the file. `only_unknown`: only if no version has it."""
        version = Version(hash=hash_of(source), seen_at=self.clock())
        with self.sessions.writing() as session:
            if not (only_unknown and rules_versions.find_version(*_at(session), version.hash)):
                _add(session, version, source)


def _at(session: Session) -> tuple[Statements, Any]:
    return session.operations.sql, session.cursor


def _newest(session: Session) -> Version | None:
    return next(iter(rules_versions.list_versions(*_at(session), most=1)), None)


def _add(session: Session, version: Version, source: bytes) -> Version:
    return rules_versions.add_version(*_at(session), version, zlib.compress(source))
