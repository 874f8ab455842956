"""Two editors and a person with an editor of their own, in any order: nobody overwrites what they have not seen, nothing is lost."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from relay.clock import utc_now
from relay.outbox.database_session import CommandSessions
from relay.outbox.sqlite.sqlite_store import open_sqlite
from relay.outbox.user_accounts import Role
from relay.runtime.startup import get_ready
from relay.services.publish_rules import (
    Author,
    Changed,
    ForAdmins,
    NothingToUndo,
    NotUsable,
    RulesFile,
)
from relay.services.rules_history import hash_of
from relay.services.text_diff import as_written, merged, to_text
from tests.running import settings as variables_of

T = TypeVar("T")
PEOPLE = {
    "anna": Author(name="anna", role=Role.ADMIN),
    "petr": Author(name="petr", role=Role.EDITOR),
}
WHO = st.sampled_from(sorted(PEOPLE))
CHANGES = st.sampled_from(
    [
        ("[desk, room]", "desk"),
        ("template: missed", "template: chat"),
        ("missed: true", "offline: true"),
        ("missed: true", "mised: true"),
        ("desk@example.com", "me@example.com"),
        ("rules:\n", "rules:   # ours\n"),
        ("\n", "\r\n"),
    ]
)


class Editing(RuleBasedStateMachine):
    """What each of them holds, and what the file must hold by that."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.must: set[str] = set()
        """Hashes of texts that stood in the file when the console replaced it, refused to, or put them there."""
        self.drafts: dict[str, tuple[bytes, str]] = {}
        """By user: the text that it began from, and their own."""

    @initialize()
    def install(self) -> None:
        variables = variables_of(self.folder)
        self.path = self.folder / "rules.yaml"
        ready = get_ready(variables)
        open_sqlite(self.folder / "relay.db").close()
        self.file = RulesFile(
            CommandSessions(ready.settings.database),
            ready.settings,
            variables,
            in_force=lambda: ready.rules,
            clock=utc_now,
            rest=_no_rest,
        )
        self.expected = self.path.read_bytes()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    @rule(who=WHO)
    def open(self, who: str) -> None:
        text = self.do(self.file.read())
        assert text.source == self.expected
        self.drafts[who] = (text.source, to_text(text.source))

    @rule(who=WHO, change=CHANGES)
    @precondition(lambda self: self.drafts)
    def write(self, who: str, change: tuple[str, str]) -> None:
        if who in self.drafts:
            base, text = self.drafts[who]
            self.drafts[who] = (base, text.replace(*change))

    @rule(change=CHANGES)
    def save_by_hand(self, change: tuple[str, str]) -> None:
        old, new = (each.encode() for each in change)
        self.path.write_bytes(self.expected.replace(old, new))
        self.expected = self.path.read_bytes()

    @rule(who=WHO)
    @precondition(lambda self: self.drafts)
    def publish(self, who: str) -> None:
        if who not in self.drafts:
            return
        base, text = self.drafts[who]
        source = as_written(text, base)
        try:
            self.do(self.file.publish(source, hash_of(base), PEOPLE[who]))
        except Changed as error:
            assert self.expected not in {base, source}
            assert error.theirs == self.expected
            self.must.add(hash_of(error.theirs))
            if (both := merged(to_text(base), to_text(error.theirs), text)) is not None:
                self.drafts[who] = (error.theirs, both)
        except (NotUsable, ForAdmins):
            assert b"mised" in source or who == "petr"
        else:
            assert self.expected in {base, source}
            if self.expected != source:
                self.must |= {hash_of(self.expected), hash_of(source)}
            self.expected = source
            del self.drafts[who]

    @rule(who=WHO)
    def undo(self, who: str) -> None:
        before = hash_of(self.expected)
        previous = self.do(self.file.history.previous(before))
        try:
            self.do(self.file.undo(before, PEOPLE[who]))
        except (NothingToUndo, NotUsable, ForAdmins):
            return
        assert previous is not None
        self.must |= {before, hash_of(previous[1])}
        self.expected = previous[1]

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "file"):
            return
        assert self.path.read_bytes() == self.expected
        kept = {each.hash for each in self.do(self.file.history.versions())}
        assert self.must <= kept

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


async def _no_rest() -> None:
    """Nobody has the file open."""


EXAMPLES = settings(
    max_examples=10,
    stateful_step_count=15,
    suppress_health_check=[HealthCheck.too_slow],
    deadline=None,
)


@pytest.mark.long  # some hundred transactions
def test_in_any_order_nobody_overwrites_what_they_have_not_seen() -> None:
    run_state_machine_as_test(Editing, settings=EXAMPLES)
