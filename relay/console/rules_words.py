"""The rules file for the console's pages, and who edits it."""

from relay.console.page import AnyRequest
from relay.console.visit import visit_of
from relay.outbox.people import Role
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
