"""Pages of the versions of the rules file: who saved which when, and what was different."""

from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from relay.console.file_access import readable, rules_file, who_edits
from relay.console.page import AnyRequest, Page, Pages, form_route, page_route, redirect
from relay.outbox.people import Role
from relay.outbox.rules_versions import NEWEST, Version
from relay.services import in_thread
from relay.services.text_diff import compared, shown
from relay.web.app import Running

ON_A_PAGE = 30
_Hash = FromPath[str]


class RulesVersionPages:
    """`/rules/versions` and the page of each version."""

    def __init__(self, running: Running, pages: Pages) -> None:
        self._running, self._pages = running, pages

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            page_route("/rules/versions", Role.VIEWER, self._versions),
            page_route("/rules/versions/{version:str}", Role.VIEWER, self._version),
            form_route("/rules/versions/{version:str}/restore", Role.EDITOR, self._restore),
        ]

    async def _versions(self, request: AnyRequest) -> Page:
        before = request.query_params.get("before", "")
        is_number = before.isascii() and before.isdigit() and len(before) < 19
        found = await rules_file(self._running).history.versions(
            int(before) if is_number else NEWEST, ON_A_PAGE + 1
        )
        return await self._pages.show(
            request,
            "rules_versions.html",
            nav="rules",
            versions=found[:ON_A_PAGE],
            older=found[ON_A_PAGE - 1].id if len(found) > ON_A_PAGE else 0,
            in_force=await self._in_force(),
        )

    async def _version(self, request: AnyRequest, version: _Hash) -> Page:
        return await self._one(request, version)

    async def _restore(self, request: AnyRequest, version: _Hash) -> Response[bytes]:
        file = rules_file(self._running)
        _, source = await self._find(version)
        current = await file.read()
        await file.history.keep_draft(who_edits(request).user, current.hash, shown(source))
        return redirect("/rules/edit")

    async def _in_force(self) -> int:
        """The number of the version that is in force; 0 where it is not stored."""
        hash_ = self._running.parts.in_force.rules.hash
        found = await rules_file(self._running).history.version(hash_)
        return found[0].id if found else 0

    async def _find(self, hash_: str) -> tuple[Version, bytes]:
        found = await rules_file(self._running).history.version(hash_)
        if found is None:
            raise NotFoundException
        return found

    async def _one(self, request: AnyRequest, hash_: str) -> Page:
        version, source = await self._find(hash_)
        against = request.query_params.get("against", "") or version.base_hash
        history = rules_file(self._running).history
        base = await history.version(against) if against else None
        old = base[1] if base else b""
        text = _readable(version, source)
        diff = await in_thread(lambda _: compared(_readable(base[0], old), text) if base else [])
        return await self._pages.show(
            request,
            "rules_version.html",
            nav="rules",
            version=version,
            base=base[0] if base else None,
            in_force=self._running.parts.in_force.rules.hash,
            diff=diff,
            changes=await rules_file(self._running).changes(old, source) if base else [],
            text=text,
        )


def _readable(version: Version, source: bytes) -> str:
    return readable(source, is_refused=bool(version.problems))
