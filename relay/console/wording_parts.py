"""Common parts of the pages of sentences and of template files: the preview, and why nothing can be changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from relay.console.draft_pages import PreviewMails, ShownLook
from relay.console.notification_look import packed_look
from relay.console.page import AnyRequest, Pages
from relay.console.visit import visit_of
from relay.languages import N_
from relay.services.draft_trial import NoSuchChat
from relay.services.edit_file import ReadOnly
from relay.services.publish_rules import Changed, FileIsReadOnly, NotPublished, NotUsable
from relay.services.template_folder import TemplateFolder
from relay.services.wording_preview import SAMPLES, WordingPreviews, chosen_chats
from relay.smartsupp import UnreadableHook
from relay.web.app import Running

WHY_READ_ONLY = {
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
    """Why nothing was saved."""

    words: str
    problems: Sequence[str] = ()
    """The problems, in English."""
    status: int = 422


def why_not(
    files: TemplateFolder, why: ReadOnly | None, path: object, pages: Pages, request: AnyRequest
) -> dict[str, Any]:
    """Values for pages that say why a file can't be changed; empty texts where it can."""
    say = pages.language(request).gettext
    lines = [LINES[why]] if why in LINES else []
    if why is ReadOnly.NO_FOLDER and files.is_shared:
        lines.append(LINES[ReadOnly.SEVERAL])
    words = say(WHY_READ_ONLY[why], path=path or files.settings.templates or "") if why else ""
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


class PreviewParts:
    """Shows a chat with edited texts, as email, Slack and Teams would show it."""

    def __init__(self, running: Running, mails: PreviewMails, previews: WordingPreviews) -> None:
        self._running, self._mails, self.previews = running, mails, previews

    async def show(
        self,
        request: AnyRequest,
        drafts: Mapping[str, str],
        *,
        template: str,
        language: str,
        words: str = "",
    ) -> dict[str, Any]:
        """Values for `wording_preview.html`. `drafts`: files that are used before the saved ones.

        If no chat was chosen yet, shows the first sample chat whose notification contains `words`.
        """
        visit = visit_of(request.scope)
        chat, sample = visit.form.get("chat", ""), visit.form.get("sample", "")
        asked: dict[str, Any] = {"samples": SAMPLES, "sample": sample, "chat": chat, "shown": []}
        try:
            sessions, clock = self._running.parts.outbox.sessions, self._running.clock
            hook, bodies, now = await chosen_chats(sessions, chat, sample, clock())
            found = await self.previews.show(
                drafts,
                bodies,
                now,
                template=template,
                language=language,
                zone=self._running.parts.in_force.rules.timezone,
                words=words,
            )
        except (NoSuchChat, UnreadableHook):
            return {**asked, "no_chat": True}
        shown = []
        for one in found.media:
            look = packed_look(one.notification, one.transport, one.made_at, one.trouble)
            mail_at = ""
            if look.kind == "mail":
                mail_at = self._mails.keep(visit, hook, one.notification.html)
            shown.append(ShownLook(one.transport, "", "", look, mail_at))
        sample = sample or SAMPLES[found.chosen]
        is_one = len(bodies) == 1
        return {
            **asked,
            "sample": sample,
            "shown": shown,
            "is_said": found.says_it,
            "is_one": is_one,
        }
