"""The rules file as it is published: compared and swapped, and every text that it ever had is kept."""

import asyncio
import contextlib
import hashlib
import os
import threading
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest

from relay.clock import utc_now
from relay.outbox import Outbox, StorageRefused
from relay.outbox.database_session import CommandSessions, Session
from relay.outbox.rules_versions import KEPT, list_versions
from relay.outbox.user_accounts import Role
from relay.runtime.reload import KeptVersions
from relay.runtime.startup import get_ready
from relay.services.edit_file import ReadOnly, put_in_place, why_read_only
from relay.services.publish_rules import (
    Author,
    Changed,
    FileIsReadOnly,
    ForAdmins,
    NotUsable,
    Published,
    RulesFile,
)
from tests.builders import a_hook
from tests.running import DEADLINE, RULES, RunningRelay, running_relay, settings

pytestmark = pytest.mark.usefixtures("each_store")
ADMIN = Author(name="Anna", role=Role.ADMIN)
EDITOR = Author(name="Petr", role=Role.EDITOR)
PUBLISHING = 0.02
"""Seconds that it takes, more or less."""
AT_ONCE = 25
"""Rounds before a look at what is kept: two versions of each are fewer than are kept for long."""
WITHOUT_ROOM = RULES.replace("[desk, room]", "desk")


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Installation:
    """A relay, and its rules file as the console edits it."""

    relay: RunningRelay
    file: RulesFile

    @property
    def path(self) -> Path:
        return self.relay.folder / "rules.yaml"

    def texts(self) -> set[str]:
        """The hashes of all versions."""
        return {str(one) for (one,) in self.relay.rows("SELECT hash FROM rules_versions")}

    def history(self) -> list[tuple[str, ...]]:
        return self.relay.rows("SELECT hash, by FROM rules_versions ORDER BY id")

    async def publish(self, text: str, base: str, author: Author = ADMIN) -> Published:
        return await self.file.publish(text.encode(), hash_of(base), author)


@asynccontextmanager
async def installed(folder: Path) -> AsyncIterator[Installation]:
    async with running_relay(folder, RELAY_CONSOLE_EDIT="yes") as relay:
        # As of another relay: what is published is kept whichever saves it.
        variables = settings(folder, RELAY_CONSOLE_EDIT="yes")
        ready = get_ready(variables)
        sessions = CommandSessions(ready.settings.database)
        await relay.until("SELECT hash FROM rules_versions", (hash_of(RULES),))
        yield Installation(
            relay,
            RulesFile(
                sessions, ready.settings, variables, in_force=lambda: ready.rules, clock=utc_now
            ),
        )


async def test_what_is_published_is_in_force_and_can_be_undone(tmp_path: Path) -> None:
    async with installed(tmp_path) as here:
        published = await here.publish(WITHOUT_ROOM, RULES)
        assert published == Published(hash=hash_of(WITHOUT_ROOM), is_new=True)
        assert here.path.read_text() == WITHOUT_ROOM
        again = await here.publish(WITHOUT_ROOM, RULES)
        assert again == Published(hash=hash_of(WITHOUT_ROOM), is_new=False)
        await here.file.undo(hash_of(WITHOUT_ROOM), ADMIN)
        assert here.path.read_text() == RULES
        await here.file.undo(hash_of(RULES), ADMIN)
        assert here.path.read_text() == WITHOUT_ROOM
        first, other = hash_of(RULES), hash_of(WITHOUT_ROOM)
        assert here.history() == [(first, ""), (other, "Anna"), (first, "Anna"), (other, "Anna")]
        acts = here.relay.rows("SELECT by, act, subject, detail FROM acts ORDER BY id")
        forth = ("Anna", "publish rules", other[:12], f"{first[:12]} -> {other[:12]}")
        assert acts[0] == forth
        assert [act for _, act, _, _ in acts] == ["publish rules", "undo rules", "undo rules"]


async def test_a_published_text_that_the_watch_tells_late_is_no_newer_version(
    tmp_path: Path,
) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    variables = settings(tmp_path)
    outbox = await Outbox.open(get_ready(variables).settings.database, now=utc_now())
    versions = KeptVersions(outbox, utc_now, tmp_path / "rules.yaml")
    versions.start()
    try:
        for text in (RULES, WITHOUT_ROOM):
            (tmp_path / "rules.yaml").write_text(text)
            versions.keep(text.encode(), ())
            await until_newest(outbox, hash_of(text))
        versions.keep(RULES.encode(), ())
        versions.keep(b"unknown", ())
        await until_newest(outbox, hash_of("unknown"))
        hashes = [hash_of(text) for text in ("unknown", WITHOUT_ROOM, RULES)]
        assert await outbox.read(hashes_of_versions) == hashes
    finally:
        await versions.stop()
        await outbox.close()


def hashes_of_versions(session: Session) -> list[str]:
    """The newest first."""
    return [one.hash for one in list_versions(session.operations.sql, session.cursor)]


async def until_newest(outbox: Outbox, hash_: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await outbox.read(hashes_of_versions))[:1] != [hash_]:
            pass


async def test_a_text_that_began_from_another_is_refused(tmp_path: Path) -> None:
    async with installed(tmp_path) as here:
        by_hand = f"{RULES}# by hand\n"
        here.path.write_text(by_hand)
        with pytest.raises(Changed) as refused:
            await here.publish(WITHOUT_ROOM, RULES)
        assert refused.value.theirs.decode() == by_hand == here.path.read_text()
        assert hash_of(by_hand) in here.texts()


async def test_whoever_saved_it_and_whether_it_can_be_used_a_text_is_kept(tmp_path: Path) -> None:
    async with installed(tmp_path) as here:
        for text in (WITHOUT_ROOM, f"{RULES}x: y\n", RULES):
            here.path.write_text(text)
            await here.relay.until(
                "SELECT hash FROM rules_versions ORDER BY id DESC LIMIT 1", (hash_of(text),)
            )
        found = await here.file.history.versions()
        assert [one.base_hash for one in found] == [*(one.hash for one in found[1:]), ""]
        assert ["`x`" in "".join(one.problems) or bool(one.problems) for one in found] == [
            *(False, True, False, False)
        ]


async def test_what_a_crash_left_is_removed_only_after_it_is_kept(tmp_path: Path) -> None:
    async with installed(tmp_path) as here:
        left = here.path.with_name(".rules.yaml.previous")
        left.write_text("# by somebody else\n")
        no_database = replace(here.file, sessions=CommandSessions(tmp_path / "none.db"))
        with pytest.raises(StorageRefused):
            await no_database.publish(WITHOUT_ROOM.encode(), hash_of(RULES), ADMIN)
        assert left.read_text() == "# by somebody else\n"
        await here.publish(WITHOUT_ROOM, RULES)
        assert hash_of("# by somebody else\n") in here.texts()
        assert not left.exists()


async def test_what_the_relay_would_not_take_up_is_not_published(tmp_path: Path) -> None:
    async with installed(tmp_path) as here:
        for text in (RULES.replace("missed: true", "mised: true"), RULES.replace("$ROOM", "$ROM")):
            with pytest.raises(NotUsable) as refused:
                await here.publish(text, RULES)
            assert any("rules.yaml:" in words for words in refused.value.problems)
        assert here.path.read_text() == RULES
        assert here.texts() == {hash_of(RULES)}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (RULES.replace("to: desk@", "to: me@"), [2]),
        (RULES.replace("  room:", "  hall: {email: {to: x@example.com}}\n  room:"), [3]),
        (f"alerts_to: desk\n{RULES}", [1]),
        (f"recipient_domains: [example.com]\n{RULES}", [1]),
        (RULES.replace(", rate: unlimited", ""), [3]),
        (WITHOUT_ROOM, []),
        (
            RULES.replace(
                "  desk: {email: {to: desk@example.com}}",
                "  desk:\n    email:\n      to: 'desk@example.com'",
            ),
            [],
        ),
    ],
)
async def test_an_editor_changes_rules_and_not_where_words_may_go(
    tmp_path: Path, text: str, lines: list[int]
) -> None:
    async with installed(tmp_path) as here:
        if lines:
            with pytest.raises(ForAdmins) as refused:
                await here.publish(text, RULES, EDITOR)
            assert [one.line for one in refused.value.problems] == lines
            assert here.path.read_text() == RULES
        else:
            await here.publish(text, RULES, EDITOR)
            assert here.path.read_text() == text


@pytest.mark.long  # hundreds of times
async def test_an_edit_at_the_same_moment_is_never_lost(tmp_path: Path) -> None:
    """However their saving and the publishing fall together, by whichever way of saving."""
    chance = Random(13)  # noqa: S311 - a test
    async with installed(tmp_path) as here:
        rounds = 500 if here.relay.database.startswith("sqlite:") else 100
        for first in range(0, rounds, AT_ONCE):
            complete, now = {RULES}, RULES
            for number in range(first, first + AT_ONCE):
                mine, theirs = (f"{RULES}# {whose} {number}\n" for whose in ("my", "their"))
                here.file.history.keep(now.encode())  # as the relay does when it looks
                late = chance.choice((0, chance.random() * PUBLISHING))
                other = threading.Timer(late, save, (here.path, theirs, bool(number % 2)))

                async def until_saved(thread: threading.Thread = other) -> None:
                    await asyncio.to_thread(thread.join)

                other.start()
                complete.add(theirs)
                with contextlib.suppress(Changed):
                    await replace(here.file, rest=until_saved).publish(
                        mine.encode(), hash_of(now), ADMIN
                    )
                    complete.add(mine)
                await until_saved()
                now = here.path.read_text()
                assert now in {mine, theirs}
            await replace(here.file, rest=no_rest).publish(RULES.encode(), hash_of(now), ADMIN)
            assert {hash_of(text) for text in complete} <= here.texts()


async def no_rest() -> None:
    """Nobody has the file open."""


def save(path: Path, text: str, in_place: bool) -> None:
    if in_place:
        path.write_text(text)
    else:
        beside = path.with_name("other")
        beside.write_text(text)
        beside.rename(path)


def test_the_file_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "rules.yaml"
    real.write_text("before")
    real.chmod(0o640)
    link.symlink_to("real.yaml")
    before = put_in_place(link, b"after")
    assert before is not None
    with before:
        assert before.read() == b"before"
    assert link.is_symlink()
    assert real.read_text() == "after"
    assert real.stat().st_mode & 0o777 == 0o640


def test_why_a_file_can_not_be_edited(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    assert why_read_only(path) is ReadOnly.MISSING
    path.write_text("x")
    assert why_read_only(path) is None
    path.chmod(0o444)
    assert why_read_only(path) is ReadOnly.NOT_WRITABLE
    volume = tmp_path / "volume"
    (volume / "..2026_11").mkdir(parents=True)
    (volume / "..2026_11" / "rules.yaml").write_text("x")
    (volume / "..data").symlink_to("..2026_11")
    (volume / "rules.yaml").symlink_to("..data/rules.yaml")
    assert why_read_only(volume / "rules.yaml") is ReadOnly.CONFIG_MAP
    (tmp_path / "linked").symlink_to(volume / "rules.yaml")
    assert why_read_only(tmp_path / "linked") is ReadOnly.CONFIG_MAP
    os.mkfifo(tmp_path / "pipe")
    assert why_read_only(tmp_path / "pipe") is ReadOnly.NOT_WRITABLE
    assert why_read_only(tmp_path) is ReadOnly.NOT_WRITABLE


async def test_a_setting_makes_it_read_only(tmp_path: Path) -> None:
    async with installed(tmp_path) as here:
        variables = {**here.file.variables, "RELAY_CONSOLE_EDIT": "no"}
        file = RulesFile(
            here.file.sessions,
            get_ready(variables).settings,
            variables,
            in_force=here.file.in_force,
            clock=utc_now,
        )
        with pytest.raises(FileIsReadOnly) as refused:
            await file.publish(WITHOUT_ROOM.encode(), hash_of(RULES), ADMIN)
        assert refused.value.why is ReadOnly.SETTING


async def test_where_no_file_can_take_its_place_the_bytes_are_written_into_it(
    tmp_path: Path,
) -> None:
    async with installed(tmp_path) as here:
        before = here.path.stat().st_ino
        tmp_path.chmod(0o555)
        try:
            assert (await here.file.read()).in_place
            for text, base in ((f"{RULES}# longer\n", RULES), (RULES, f"{RULES}# longer\n")):
                await here.publish(text, base)
                assert here.path.read_text() == text
                assert here.path.stat().st_ino == before
        finally:
            tmp_path.chmod(0o755)
        assert sorted(each.name for each in tmp_path.glob("*rules*")) == ["rules.yaml"]


async def test_old_versions_are_kept_as_long_as_chats_were_judged_by_them(tmp_path: Path) -> None:
    async with installed(tmp_path) as here:
        assert (await here.relay.post(a_hook(1, missed=True))).status == 202
        first = hash_of(RULES)
        for number in range(KEPT + 3):
            here.relay.change(
                "INSERT INTO rules_versions (hash, text, seen_at, by, message, base_hash, problems) "
                "VALUES (?, ?, 0, '', '', '', '')",
                *(hash_of(str(number)), zlib.compress(b"x")),
            )
        here.path.write_text(WITHOUT_ROOM)
        await here.relay.until("SELECT count(*) FROM rules_versions", (KEPT + 1,))
        texts = here.texts()
        assert first in texts
        assert hash_of(WITHOUT_ROOM) in texts
        assert not {hash_of(str(number)) for number in range(4)} & texts
