"""Renders alerts as notifications, in built-in wording that no template can break."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from relay.alerts.problem_detection import Kind, move_command
from relay.alerts.stored_alert import Alert, alert_of
from relay.languages import N_, SOURCE
from relay.notification import Fact, Notification, Tone
from relay.outbox.troubles import Trouble
from relay.rendering.built_in_wording import Page, built_in_html
from relay.rendering.transcript import local_time
from relay.rendering.translation import Words, words_in
from relay.text import clean_line
from relay.transports.registry import cure_of


@dataclass(frozen=True, slots=True)
class _AlertTexts:
    """An alert's headline and summary in the source language, with placeholders."""

    headline: str
    summary: str


_BEGINS: Mapping[Kind, _AlertTexts] = {
    Kind.BROKEN: _AlertTexts(
        N_("Nothing gets through to {subject}"),
        N_(
            "It refuses all that the relay sends, and somebody has to fix that."
            " What waits for it is sent when it works again."
        ),
    ),
    Kind.LATE: _AlertTexts(
        N_("Notifications to {subject} are late"),
        N_("Nothing could be delivered for a quarter of an hour. The relay keeps trying."),
    ),
    Kind.REMOVED: _AlertTexts(
        N_("Notifications wait for {subject}, which is no longer in the rules file"),
        N_("Put it back into the rules file, or send them elsewhere: `{command}`."),
    ),
    Kind.CEILING: _AlertTexts(
        N_("More notifications for {subject} than it gets in an hour"),
        N_(
            "It gets at most {most} an hour. The others wait and are sent in the hours that follow; none is lost."
            " `most_per_hour:` in the rules file changes the number."
        ),
    ),
    Kind.FLOOD: _AlertTexts(
        N_("Far more chats than usual come in"),
        N_(
            "There were {count} within an hour. If visitors did not write them, somebody knows the hook's URL:"
            " `relay hook-url --new` makes a new one, and no hook is lost."
        ),
    ),
    Kind.RULES: _AlertTexts(
        N_("The rules file can't be used"),
        N_("The previous rules stay in force. `relay check` says where the mistake is."),
    ),
    Kind.STORAGE: _AlertTexts(
        N_("The relay takes no chats"),
        N_(
            "Smartsupp's chats are turned away, and may not come a second time."
            " Put the database file back, or free space on its disk: the reason says which."
        ),
    ),
    Kind.DATABASE: _AlertTexts(
        N_("The relay can't use its database"),
        N_(
            "Until that is fixed, notifications wait, and Smartsupp's chats may be turned away."
            " `/readyz` and the log say more."
        ),
    ),
    Kind.LOST: _AlertTexts(
        N_("Chats may be lost"),
        N_(
            "When the relay started, its database was not as it had left it."
            " It goes on with what is there."
        ),
    ),
    Kind.SILENCE: _AlertTexts(
        N_("No chat has come in since {since}"),
        N_(
            "Either nobody wrote, or Smartsupp no longer posts chats to the relay:"
            " `relay hook-url` prints the URL that Smartsupp must have."
        ),
    ),
    Kind.UNREACHED: _AlertTexts(
        N_("The rule “{subject}” reaches nobody"),
        N_(
            "The chat chooses who gets the notification, and its choice can't be used."
            " `relay explain --chat {chat}` says why. There is no other alert about this rule today."
        ),
    ),
    Kind.UNASKED: _AlertTexts(
        N_("The rule “{subject}” could not be evaluated for a chat"),
        N_(
            "It took too long, or failed; the log says which. The chat is kept:"
            " `relay replay --chat {chat}` tries again. There is no other alert about this rule today."
        ),
    ),
}
_OVER: Mapping[Kind, _AlertTexts] = {
    Kind.BROKEN: _AlertTexts(
        N_("{subject} works again"),
        N_("It was out of order for {duration}. What waited for it is sent now."),
    ),
    Kind.LATE: _AlertTexts(
        N_("Notifications to {subject} are sent again"),
        N_("They were late for {duration}. What waited is sent now."),
    ),
    Kind.REMOVED: _AlertTexts(
        N_("No notification waits for {subject} any more"),
        N_("They were sent elsewhere, or it is in the rules file again."),
    ),
    Kind.CEILING: _AlertTexts(
        N_("Notifications to {subject} are sent at once again"),
        N_("For {duration} there were more than it gets in an hour. All that waited is sent."),
    ),
    Kind.FLOOD: _AlertTexts(
        N_("As many chats as usual come in again"), N_("For {duration} there were far more.")
    ),
    Kind.RULES: _AlertTexts(
        N_("The rules file can be used again"), N_("The rules as they are saved are in force.")
    ),
    Kind.STORAGE: _AlertTexts(
        N_("The relay takes chats again"), N_("It turned them away for {duration}.")
    ),
    Kind.DATABASE: _AlertTexts(
        N_("The relay can use its database again"),
        N_("It could not for {duration}. What waited is sent now."),
    ),
    Kind.SILENCE: _AlertTexts(N_("Chats come in again"), N_("There was none for {duration}.")),
}


def alert_notification(
    alert: Alert, *, zone: ZoneInfo, language: str = SOURCE, to: str = "", bodies: bool = False
) -> Notification:
    """The notification of an alert, with times in `zone`. `to`: the name of its destination. HTML only with `bodies`."""
    words = words_in(language)
    notification = _Wording(alert, zone, words, to).notification()
    return replace(notification, html=_html(notification, words)) if bodies else notification


def log_headline(trouble: Trouble, *, over: bool = False) -> str:
    """An alert's headline for the log, with the reason while the problem lasts."""
    alert = alert_of(trouble, over=over, now=trouble.gone_at or trouble.since)
    subject = alert_notification(alert, zone=ZoneInfo("UTC")).subject
    return f"{subject} ({trouble.why})" if trouble.why and not over else subject


def _html(notification: Notification, words: Words) -> str:
    """The alert as HTML, in the look of all other emails."""
    _ = words.language.gettext
    page = Page(
        subject=notification.subject,
        tone=notification.tone,
        badge=_("Alert resolved") if notification.tone is Tone.GOOD else _("Alert"),
        heading=notification.subject,
        paragraphs=(notification.summary,),
        facts=notification.facts,
        foot=(notification.footer,) if notification.footer else (),
    )
    return built_in_html(page, words)


@dataclass(frozen=True, slots=True)
class _Wording:
    alert: Alert
    zone: ZoneInfo
    words: Words
    to: str

    def notification(self) -> Notification:
        headline, summary = self._headline_and_summary()
        facts = tuple(Fact(label=label, value=value) for label, value in self._facts() if value)
        lines = "\n".join(f"{fact.label}: {fact.value}" for fact in facts)
        footer = self._footer()
        small = f"-- \n{footer}" if footer else ""
        return Notification(
            subject=headline,
            summary=summary,
            facts=facts,
            text="\n\n".join(part for part in (headline, summary, lines, small) if part) + "\n",
            footer=footer,
            tone=Tone.GOOD if self.alert.over_at else Tone.BAD,
            language=self.words.language.name,
        )

    def _footer(self) -> str:
        if not self.to:
            return ""
        return self.words.language.gettext(
            "You get this because alerts_to: in the rules file names {destination}.",
            destination=self.to,
        )

    def _headline_and_summary(self) -> tuple[str, str]:
        kind, language = Kind(self.alert.kind), self.words.language
        if kind is Kind.FAILED:
            return self._failures()
        if kind is Kind.MUTED:
            headline = language.gettext("Still muted: {subject}", subject=self.alert.subject)
            return headline, self._held_back()
        if kind is Kind.PAUSED:
            headline = language.gettext("Still paused: {subject}", subject=self.alert.subject)
            return headline, self._paused()
        texts = (_OVER if self.alert.over_at else _BEGINS)[kind]
        values = {
            "subject": self.alert.subject,
            "since": self._time(),
            "duration": self._duration(),
            "chat": self.alert.chat,
            "count": str(self.alert.waiting),
            "most": self.alert.why,
            "command": move_command(self.alert.subject),
        }
        return language.gettext(texts.headline, **values), language.gettext(texts.summary, **values)

    def _failures(self) -> tuple[str, str]:
        headline = self.words.language.ngettext(
            "{count} notification did not reach {subject}",
            "{count} notifications did not reach {subject}",
            self.alert.waiting,
            count=self.alert.waiting,
            subject=self.alert.subject,
        )
        return headline, self.words.language.gettext(
            "`relay deliveries --failed` lists what failed, `relay resend` sends it again."
        )

    def _held_back(self) -> str:
        return self.words.language.ngettext(
            "{count} notification was held back so far. `relay mutes` says until when, `relay unmute` ends it sooner.",
            "{count} notifications were held back so far. `relay mutes` says until when, `relay unmute` ends it sooner.",
            self.alert.waiting,
            count=self.alert.waiting,
        )

    def _paused(self) -> str:
        return self.words.language.ngettext(
            "{count} notification waits for it. `{command}` sends what waits.",
            "{count} notifications wait for it. `{command}` sends what waits.",
            self.alert.waiting,
            count=self.alert.waiting,
            command=f"relay resume {shlex.quote(self.alert.subject)}",
        )

    def _facts(self) -> Iterator[tuple[str, str]]:
        _ = self.words.language.gettext
        kind = Kind(self.alert.kind)
        if kind.is_of_a_rule:
            yield _("Chat"), self.alert.chat
            yield _("Destination"), self.alert.destination
            yield _("Sent to instead"), self.alert.instead
            return
        if kind in {Kind.MUTED, Kind.PAUSED}:
            yield _("Reason"), clean_line(self.alert.why, 500)
            return
        if kind is Kind.SILENCE:
            yield _("Schedule"), self.alert.why
        elif not self.alert.over_at and kind is not Kind.CEILING:
            yield from self._reason(kind)
        if kind not in {Kind.SILENCE, Kind.FAILED} and not self.alert.over_at:
            yield _("Since"), f"{self._time()} ({self.zone})"
        if kind in {Kind.BROKEN, Kind.LATE, Kind.REMOVED, Kind.CEILING} and self.alert.waiting:
            yield (_("Had waited") if self.alert.over_at else _("Waiting")), self._deliveries()
        if not kind.is_of_a_destination:
            yield _("Host"), self.alert.subject

    def _reason(self, kind: Kind) -> Iterator[tuple[str, str]]:
        """A reason of the relay's own; or a destination's last answer, how to fix it, and the command to run then."""
        _, why = self.words.language.gettext, self.alert.why
        if not kind.is_of_a_destination:
            if why:  # translated where it is frequent
                yield _("Reason"), clean_line(_(why), 500)
            return
        yield _("Last answer"), clean_line(why, 500)
        if row := cure_of(why):
            yield _("What to do"), row.advice(_)
            yield _("Then run"), row.next_command(self.alert.subject)

    def _deliveries(self) -> str:
        return self.words.language.ngettext(
            "{count} notification",
            "{count} notifications",
            self.alert.waiting,
            count=self.alert.waiting,
        )

    def _time(self) -> str:
        return self.words.day_and_clock(local_time(self.alert.since, self.zone))

    def _duration(self) -> str:
        over = self.alert.over_at or self.alert.since
        return self.words.duration((over - self.alert.since).total_seconds())
