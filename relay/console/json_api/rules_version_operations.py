"""Operations on versions of the rules file: list, show and compare them, and merge changes."""

from datetime import datetime
from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.file_access import rules_file
from relay.console.json_api.api_request import Call, Listing, copied, following, position
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, missing
from relay.console.json_api.rules_operations import RulesRequest, readable_text
from relay.outbox.rules_versions import NEWEST
from relay.outbox.user_accounts import Role
from relay.rules.compare_rules import Change
from relay.services import in_thread
from relay.services.text_diff import merged, to_text, with_newlines

versions = Operations("Versions of the rules")
HASH = r"^[0-9a-f]{64}$"


class VersionHash(Struct, forbid_unknown_fields=True):
    """A path that ends with the hash of a text."""

    hash: Annotated[str, Meta(pattern=HASH)]
    """SHA-256 of a text in hex, 64 digits."""


class RulesVersion(Struct, kw_only=True):
    """A version of the rules file."""

    id: int
    """The number of the version; a newer one has a larger number."""
    hash: str
    """SHA-256 of the text in hex."""
    seen_at: datetime
    """When it was saved, or when the relay first saw it, in UTC."""
    by: str
    """Who published it; empty where the file was saved by other means."""
    message: str
    """The message of its author; may be empty."""
    base_hash: str
    """The hash of the text that it replaced; may be empty."""
    problems: tuple[str, ...]
    """Why it can't be used; empty where it can."""


class VersionList(Struct, kw_only=True):
    """A page of the list of versions, newest first."""

    versions: list[RulesVersion]
    """The versions, newest first, at most `limit`."""
    next: str | None
    """The path of the next page; null on the last one."""


class VersionQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """The text to compare a version with."""

    against: Annotated[
        str,
        Meta(
            max_length=64,
            description="The hash of another version; left out: the one that it took the place of.",
        ),
    ] = ""


class MergeRequest(RulesRequest, kw_only=True, forbid_unknown_fields=True):
    """An edited text, whose changes are to be merged into the current file."""

    base: Annotated[str, Meta(pattern=HASH)]
    """The hash of the text that was edited."""


class MergedRules(Struct, kw_only=True):
    """The current file with the changes of an edited text. Nothing was published."""

    text: str
    """The merged text, which can be published in place of the text with this hash."""
    hash: str
    """SHA-256 in hex of the file's text, which is also the ETag."""


class VersionText(Struct, kw_only=True):
    """A version of the rules file with its text."""

    version: RulesVersion
    """The version's number, time and author."""
    text: str
    """The text; for viewers with asterisks in place of possible secrets."""
    changes: list[Change] | None
    """The changes from the text that it is compared with; null without one, or where one of the two can't be used."""


@versions.operation(HttpMethod.GET, "/rules/versions", Role.VIEWER)
async def list_versions(call: Call, query: Listing) -> VersionList:
    """All versions of the rules file, newest first."""
    before = position(call, query) or NEWEST
    stored_versions = await rules_file(call.running).history.versions(before, query.limit + 1)
    some = stored_versions[: query.limit]
    last = some[-1].id if len(stored_versions) > query.limit else None
    return VersionList(
        versions=[copied(RulesVersion, each) for each in some], next=following(call, query, last)
    )


@versions.operation(HttpMethod.GET, "/rules/versions/{hash}", Role.VIEWER)
async def get_version(call: Call, path: VersionHash, query: VersionQuery) -> VersionText:
    """A version of the rules file."""
    file = rules_file(call.running)
    stored_version = await file.history.version(path.hash)
    if stored_version is None:
        raise missing("version with this hash")
    version, source = stored_version
    text = await readable_text(call, source, is_refused=bool(version.problems))
    base = await file.history.version(query.against or version.base_hash)
    changes = await file.changes(base[1], source) if base else None
    return VersionText(version=copied(RulesVersion, version), text=text, changes=changes)


@versions.operation(HttpMethod.POST, "/rules/merge", Role.EDITOR, refusals=(404, 409))
async def merge_rules(call: Call, body: MergeRequest) -> MergedRules:
    """Merge the changes of an edited text into the current file, if they do not touch what others have changed."""
    file = rules_file(call.running)
    base_version, current = await file.history.version(body.base), await file.read()
    if base_version is None:
        raise missing("version with the hash `base`")
    base, theirs, mine = to_text(base_version[1]), to_text(current.source), with_newlines(body.text)
    text = await in_thread(lambda _: merged(base, theirs, mine))
    if text is None:
        words = "You and somebody else have changed the same or neighbouring lines."
        raise Refusal(409, words, kind="same-lines")
    return MergedRules(text=text, hash=current.hash)
