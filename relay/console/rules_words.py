"""The rules file for the console's pages, and who edits it."""

from relay.console.page import AnyRequest
from relay.console.visit import Visit, visit_of
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
    return author_of(visit_of(request.scope))


def author_of(visit: Visit) -> Author:
    """The user or program of a visit. What a program sends is no draft of its user."""
    user = visit.session.user if visit.session else None
    return Author(
        name=visit.name,
        role=visit.role,
        user=user.id if user else 0,
        address=visit.address,
        via=visit.via,
    )
