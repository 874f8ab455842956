"""The rules file for the console's pages: who edits it, and what a change of it means in words."""

from relay.console.page import AnyRequest
from relay.console.visit import visit_of
from relay.outbox.people import Role
from relay.rules import RulesError
from relay.rules.differences import Change, changes
from relay.runtime.startup import read_rule_book
from relay.services import in_thread
from relay.services.publish_rules import Author, RulesFile
from relay.web.app import Running


def rules_file(running: Running) -> RulesFile:
    """The rules file of a running relay."""
    return RulesFile(
        running.parts.outbox.sessions,
        running.ready.settings,
        running.variables,
        in_force=lambda: running.parts.in_force.rules,
        clock=running.clock,
    )


def who_edits(request: AnyRequest) -> Author:
    """The user of a request."""
    visit = visit_of(request.scope)
    if visit.session is None:
        return Author(name="", role=Role.VIEWER, address=visit.address)
    user = visit.session.user
    return Author(name=user.name, role=user.role, user=user.id, address=visit.address)


async def rule_changes(running: Running, before: bytes, after: bytes) -> list[Change]:
    """What is different between two texts of the file; nothing where one of them can't be used."""
    settings = running.ready.settings

    def work(_: object) -> list[Change]:
        try:
            books = [
                read_rule_book(text, str(settings.rules), settings) for text in (before, after)
            ]
        except RulesError:
            return []
        return changes(books[0], books[1], before, after)

    return await in_thread(work)
