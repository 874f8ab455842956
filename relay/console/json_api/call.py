"""A request to the JSON API, and the types that several operations use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from relay.console.acts import ActingSessions, act_of
from relay.console.jobs import Jobs
from relay.console.json_api.problem_details import Refusal
from relay.console.sign_in import SignIn
from relay.console.throttle import Throttle
from relay.console.visit import Visit
from relay.outbox.idempotency import IdempotencyKey
from relay.outbox.session import Sessions
from relay.rendering.isolation.worker_pool import RenderPool
from relay.services.wording_preview import WordingPreviews
from relay.web.app import Running

API = "/api/"
BASE = "/api/v1"
JSON = "application/json"
LARGEST = 2**63 - 1
"""The largest integer that a database column holds."""

Number = Annotated[int, Meta(ge=1, le=LARGEST)]
Line = Annotated[str, Meta(max_length=300, pattern=r"^[^\u0000]*$")]
"""A string of one line, such as a name or a filter."""
Reason = Annotated[
    str, Meta(min_length=1, max_length=300, pattern=r"^[^\u0000]*[^\s\u0000][^\u0000]*$")
]
"""The reason for an action; not blank."""
Instant = Annotated[datetime, Meta(tz=True)]


class Nothing(Struct, forbid_unknown_fields=True):
    """No parameters."""


class Numbered(Struct, forbid_unknown_fields=True):
    """A path that ends with a number."""

    number: Number
    """The number, as lists and answers give it."""


@dataclass(frozen=True, slots=True)
class Api:
    """The objects that operations need: the running relay, its sign-in and its jobs."""

    running: Running
    sign_in: SignIn
    jobs: Jobs
    tests: Throttle
    """Limits how often destinations are tested."""
    workers: RenderPool
    """Render drafts, separate from the workers that render deliveries."""
    previews: WordingPreviews
    under_way: set[tuple[str, str]] = field(default_factory=set)
    """Owners and idempotency keys of the requests that are being answered."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to an operation: who sends it, its headers, and the relay that answers it."""

    api: Api
    visit: Visit
    headers: Mapping[str, str]
    operation: str
    """The name of the operation."""
    path: str
    """The path of the operation, below BASE."""
    key: IdempotencyKey | None = None

    @property
    def running(self) -> Running:
        return self.api.running

    @property
    def sessions(self) -> Sessions:
        """Sessions for an operation that only reads."""
        return self.api.running.parts.outbox.sessions

    @property
    def now(self) -> datetime:
        return self.api.running.clock()

    def if_match(self, current: str) -> str:
        """The hash that If-Match names; of several `current`, if it is among them. Raises Refusal without the header."""
        given = self.headers.get("if-match", "").strip()
        if not given:
            words = "Say what you have read: If-Match with its ETag, as GET has told it."
            raise Refusal(428, words, kind="if-match-missing")
        hashes = [each.strip().removeprefix('"').removesuffix('"') for each in given.split(",")]
        return current if current in hashes else hashes[0]

    def acting(self, act: str, subject: str, detail: str = "") -> ActingSessions:
        """Sessions whose transaction also logs the act and stores the idempotency key.

        `act`, `subject` and `detail` must contain no words of visitors.
        """
        return ActingSessions(
            self.sessions, act_of(self.visit, act, subject, detail), self.now, self.key
        )
