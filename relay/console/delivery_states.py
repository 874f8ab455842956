"""The state of a delivery as pages show it: a sign, a colour and a few words."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from relay.languages import N_, Language
from relay.outbox import Outbox
from relay.outbox.database_session import Session
from relay.outbox.delivery_types import State
from relay.outbox.history import Record
from relay.outbox.mutes import KeptMute, find_mute
from relay.services.find_deliveries import WaitingGroup
from relay.timing.plan import MUTED
from relay.transports import Ending

_BY_STATE = {
    State.DELIVERED: ("good", "✓", N_("delivered")),
    State.ACCEPTED: ("good", "✓", N_("accepted by the server")),
    State.IN_DIGEST: ("good", "✓", N_("in a digest")),
    State.QUEUED: ("neutral", "…", N_("waiting to be sent")),
    State.SENDING: ("neutral", "…", N_("is being sent")),
    State.SCHEDULED: ("neutral", "…", N_("scheduled")),
    State.MAYBE_DELIVERED: ("warn", "?", N_("possibly delivered")),
    State.FAILED: ("bad", "✕", N_("failed")),
    State.QUARANTINED: ("bad", "✕", N_("set aside after crashes")),
    State.MOVED: ("quiet", "→", N_("moved to another destination")),
    State.LEFT_OUT: ("quiet", "-", N_("left out")),
}
_ENDINGS: Mapping[str, str] = {
    Ending.DELIVERED: N_("delivered"),
    Ending.ACCEPTED: N_("accepted by the server"),
    Ending.LATER: N_("not delivered, for a reason that may pass"),
    Ending.RATE_LIMITED: N_("asked to wait"),
    Ending.MAYBE_DELIVERED: N_("possibly delivered"),
    Ending.REFUSED: N_("refused"),
    Ending.DESTINATION_BROKEN: N_("refused: the destination is broken"),
    Ending.MOVED: N_("not sent: its destination leads elsewhere now"),
}
_CUT_OFF = N_("cut off: the relay ended")
_MUTED = N_("held back by a mute")
SOON = timedelta(minutes=1)
_WORST_FIRST = ("bad", "warn", "neutral", "quiet", "good")


class OutcomeWords(Struct, frozen=True):
    """The state of a delivery to one destination, as pages show it."""

    destination: str
    tone: str
    """`bad`, `warn`, `neutral`, `quiet` or `good`."""
    sign: str
    words: str


def outcome_of(delivery: Record, language: Language) -> OutcomeWords:
    """The state of one delivery, in this language."""
    tone, sign, words = _BY_STATE[delivery.state]
    if delivery.state is State.QUEUED and delivery.attempts:
        tried = delivery.attempts
        sentence = language.ngettext(
            "{count} attempt, waiting", "{count} attempts, waiting", tried, count=tried
        )
        return OutcomeWords(delivery.destination, "warn", sign, sentence)
    if delivery.state is State.SCHEDULED and delivery.why.startswith(MUTED):
        words = _MUTED
    return OutcomeWords(delivery.destination, tone, sign, language.gettext(words))


def is_under_way(delivery: Record, now: datetime) -> bool:
    """Whether the delivery may change soon, so that its page refreshes by itself."""
    if delivery.state is State.QUEUED:
        return delivery.due_at - now < SOON
    return delivery.state is State.SENDING


def words_of(state: State, language: Language) -> str:
    """The name of a state, in this language."""
    return language.gettext(_BY_STATE[state][2])


def outcomes_of(deliveries: Iterable[Record], language: Language) -> list[OutcomeWords]:
    """The worst state of the deliveries to each destination."""
    worst: dict[str, OutcomeWords] = {}
    for delivery in deliveries:
        outcome = outcome_of(delivery, language)
        other = worst.get(outcome.destination)
        if other is None or _WORST_FIRST.index(outcome.tone) < _WORST_FIRST.index(other.tone):
            worst[outcome.destination] = outcome
    return list(worst.values())


def ending_in_words(ending: str, language: Language) -> str:
    """How an attempt ended, in this language. `ending`: as in `Attempt`, empty while the attempt is being made."""
    if not ending:
        return language.gettext("in progress")
    return language.gettext(_ENDINGS.get(ending, _CUT_OFF))


async def mutes_of(
    outbox: Outbox, deliveries: Iterable[Record | WaitingGroup]
) -> dict[str, KeptMute]:
    """The mutes that held back these deliveries, by the deliveries' `why`: `muted:3`."""
    whys = {each.why for each in deliveries if each.why.startswith(MUTED)}

    def read(session: Session) -> dict[str, KeptMute]:
        sql, cursor = session.operations.sql, session.cursor
        mutes = {why: find_mute(sql, cursor, int(why.removeprefix(MUTED))) for why in whys}
        return {why: mute for why, mute in mutes.items() if mute}

    return await outbox.read(read) if whys else {}
