"""What a delivery keeps of its posts in Slack, so that nothing is posted twice and a thread is found again."""

from urllib.parse import parse_qsl, urlencode

from msgspec import Struct
from msgspec.structs import replace


class Receipt(Struct, frozen=True, kw_only=True):
    """Where the thread is, and how far a delivery has come."""

    channel: str
    ts: str
    """Of the message that begins the thread, which may be another delivery's."""
    hook: int
    """When the delivery was first owed, in seconds: the same for all that one hook owes."""
    told: int
    """How many messages of the transcript stand in the thread, or are this delivery's to bring there."""
    steps: int
    """How many of the delivery's steps are done."""
    tries: int = 0
    """How often the next step failed, where it is one that may be left out."""

    def written(self) -> str:
        """One line of text, for the outbox."""
        fields = {
            "channel": self.channel,
            "ts": self.ts,
            "hook": self.hook,
            "told": self.told,
            "steps": self.steps,
            "tries": self.tries,
        }
        return urlencode(fields)

    def after_step(self) -> "Receipt":
        return replace(self, steps=self.steps + 1, tries=0)

    def after_failure(self) -> "Receipt":
        return replace(self, tries=self.tries + 1)


def read_receipt(text: str) -> Receipt | None:
    """None for what is none: an empty one, or one of another version of the relay."""
    fields = dict(parse_qsl(text))
    try:
        numbers = {name: int(fields[name]) for name in ("hook", "told", "steps", "tries")}
        return Receipt(channel=fields["channel"], ts=fields["ts"], **numbers)
    except (KeyError, ValueError):
        return None
