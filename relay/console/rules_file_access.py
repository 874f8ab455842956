"""The rules file for pages and the API: its editor, why it can't be changed, and when it is in force."""

from relay.console.page import AnyRequest
from relay.console.visit import Visit, visit_of
from relay.languages import N_
from relay.redaction import redact, redact_line
from relay.services.edit_file import ReadOnly
from relay.services.publish_rules import Author, RulesFile
from relay.services.text_diff import shown
from relay.web.app import Running

IN_FORCE_WITHIN = 15.0
"""Seconds that a page waits for a published text to be in force."""
READ_ONLY = {
    ReadOnly.SETTING: N_("RELAY_CONSOLE_EDIT is set to no."),
    ReadOnly.SEVERAL: N_(
        "The database is on a server, and relays that share it may each have a rules file of their own. If this is the only relay, or all read one file, set RELAY_CONSOLE_EDIT=yes and restart it."
    ),
    ReadOnly.MISSING: N_("The file is not there."),
    ReadOnly.UNREADABLE: N_("The relay's user may not read the file."),
    ReadOnly.TOO_LARGE: N_("The file is larger than a rules file may be."),
    ReadOnly.NOT_WRITABLE: N_(
        "The relay's user may not write the file. To allow it, make that user its owner: chown relay {path}"
    ),
    ReadOnly.READ_ONLY_DISK: N_("The file is on a disk that is mounted read-only."),
    ReadOnly.CONFIG_MAP: N_(
        "The file is in a volume that Kubernetes replaces as a whole: change the ConfigMap."
    ),
}


def rules_file(running: Running) -> RulesFile:
    """The rules file of a running relay."""
    return RulesFile(
        running.parts.outbox.sessions,
        running.ready.settings,
        running.variables,
        in_force=lambda: running.parts.in_force.rules,
        clock=running.clock,
    )


def readable(source: bytes, *, is_refused: bool) -> str:
    """A text of the file without secrets. With `is_refused` more is left out, as secrets may be why it was refused."""
    return "\n".join(map(redact_line if is_refused else redact, shown(source).split("\n")))


def who_edits(request: AnyRequest) -> Author:
    """The author of a request's changes to the rules file."""
    return author_of(visit_of(request.scope))


def author_of(visit: Visit) -> Author:
    """The author of a user's or program's changes to the rules file. A program has no draft: its `user` is 0."""
    user = visit.session.user if visit.session else None
    return Author(
        name=visit.name,
        role=visit.role,
        user=user.id if user else 0,
        address=visit.address,
        via=visit.via,
    )
