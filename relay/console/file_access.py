"""The files that the console edits, the rules file and the templates' folder: their editors, and why one can't be changed."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from relay.console.page import AnyRequest, Pages
from relay.console.request_context import Caller, caller_of
from relay.languages import N_, Language
from relay.redaction import redact, redact_line
from relay.services.edit_file import ReadOnly
from relay.services.publish_rules import (
    Author,
    Changed,
    FileIsReadOnly,
    NotPublished,
    NotUsable,
    RulesFile,
)
from relay.services.template_files import TemplateFolder
from relay.services.text_diff import to_text
from relay.web.app import Running

WHY_RULES_ARE_READ_ONLY = {
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


def why_rules_are_read_only(running: Running, why: ReadOnly | None, language: Language) -> str:
    """Why the rules file can't be changed, in words of the page; empty where it can."""
    path = running.ready.settings.rules
    return language.gettext(WHY_RULES_ARE_READ_ONLY[why], path=path) if why else ""


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
    return "\n".join(map(redact_line if is_refused else redact, to_text(source).split("\n")))


def request_author(request: AnyRequest) -> Author:
    """The author of a request's changes to the rules file."""
    return author_of(caller_of(request.scope))


def author_of(caller: Caller) -> Author:
    """The author of a user's or program's changes to the rules file. A program has no draft: its `user` is 0."""
    user = caller.session.user if caller.session else None
    return Author(
        name=caller.name,
        role=caller.role,
        user=user.id if user else 0,
        address=caller.address,
        via=caller.via,
    )


WHY_FOLDER_IS_READ_ONLY = {
    ReadOnly.SETTING: N_("RELAY_CONSOLE_EDIT is set to no."),
    ReadOnly.NO_FOLDER: N_(
        "The relay knows no folder for words of your own. Make one that its user may write, put this line into relay.env, and restart it:"
    ),
    ReadOnly.SEVERAL: N_(
        "The database is on a server, and relays that share it may each have a folder of their own. If this is the only relay, or all read one folder, put this line into relay.env, and restart it:"
    ),
    ReadOnly.MISSING: N_(
        "The folder {path} is not there. Make it; the relay's user must be able to write in it."
    ),
    ReadOnly.UNREADABLE: N_("The relay's user may not read {path}."),
    ReadOnly.TOO_LARGE: N_("{path} is larger than such a file may be."),
    ReadOnly.NOT_WRITABLE: N_(
        "The relay's user may not write {path}. To allow it, make that user its owner: chown -R relay {path}"
    ),
    ReadOnly.READ_ONLY_DISK: N_("{path} is on a disk that is mounted read-only."),
    ReadOnly.CONFIG_MAP: N_(
        "{path} is in a volume that Kubernetes replaces as a whole: change the ConfigMap."
    ),
}
LINES = {
    ReadOnly.NO_FOLDER: "RELAY_TEMPLATES=mytemplates",
    ReadOnly.SEVERAL: "RELAY_CONSOLE_EDIT=yes",
}
"""Lines to add to relay.env."""


def template_folder(running: Running) -> TemplateFolder:
    """The folder of the user's own templates and catalogues."""
    return TemplateFolder(running.ready.settings, running.parts.outbox.sessions, running.clock)


class Refusal(Struct, frozen=True):
    """Why an edited file was not saved: a sentence in English, its problems, and the HTTP status of the page that says so."""

    words: str
    problems: Sequence[str] = ()
    """The problems, in English."""
    status: int = 422


def why_not(
    files: TemplateFolder, why: ReadOnly | None, path: object, pages: Pages, request: AnyRequest
) -> dict[str, Any]:
    """Values for a page: `why_not` says why a file can't be changed, `lines` has lines to add to relay.env; both empty where it can."""
    gettext = pages.language(request).gettext
    lines = [LINES[why]] if why in LINES else []
    if why is ReadOnly.NO_FOLDER and files.is_shared:
        lines.append(LINES[ReadOnly.SEVERAL])
    words = (
        gettext(WHY_FOLDER_IS_READ_ONLY[why], path=path or files.settings.templates or "")
        if why
        else ""
    )
    return {"why_not": words, "lines": lines}


def refusal_of(error: NotPublished) -> Refusal:
    """Why an edit was refused, in English; pages translate it."""
    match error:
        case Changed():
            words = N_(
                "Not saved: somebody else has saved it meanwhile. What you wrote is below; save it again to put it in place of theirs."
            )
            return Refusal(words, status=409)
        case FileIsReadOnly():
            return Refusal(N_("Not saved: it can't be changed from here."), status=409)
        case NotUsable():
            return Refusal(N_("Not saved: this can't be used."), error.problems)
    return Refusal(N_("Not saved: the disk did not take it."), [str(error)], 503)
