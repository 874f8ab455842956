"""The page of the demo: what the catchers received, as a person would see it. Works without scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from relay.preview.lookalike.mrkdwn import mrkdwn_html
from relay.preview.lookalike.slack_post import SLACK_CSS, slack_post_html
from relay.preview.lookalike.teams_card import TEAMS_CSS, teams_card_html
from relay.preview.received import CaughtMail, Received

_HERE = files("relay.demo")

STYLE = "\n".join([(_HERE / "page.css").read_text(encoding="utf-8"), SLACK_CSS, TEAMS_CSS])


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedSample:
    """A sample chat that was posted to the hook, and the relay's answer."""

    name: str
    status: int
    deliveries: int = 0
    """How many new deliveries it has."""
    trouble: str = ""

    @property
    def words(self) -> str:
        if self.trouble:
            return self.trouble
        if self.status == 200:
            return "known already, so nothing new is queued"
        if not self.deliveries:
            return "no rule matched"
        return f"{self.deliveries} {'delivery' if self.deliveries == 1 else 'deliveries'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What the page tells beside the messages: what was done, and how to go on."""

    hook_url: str = ""
    """Empty until the relay takes hooks."""
    rules: str = ""
    """Path of the rules file."""
    samples: str = ""
    """Path of the folder with the sample chats, quoted for a shell."""
    folder: str = ""
    """The folder that the user named, to be kept; empty for one that goes away with the demo."""
    posted: Sequence[PostedSample] = ()
    mails: int = 0
    """How many of the mails are of the samples: these are shown in their order, below those that came later."""
    waiting: bool = True
    """Whether samples are still under way, so that the page is worth another look by itself."""

    @property
    def deliveries(self) -> int:
        return sum(sample.deliveries for sample in self.posted)

    @property
    def curl(self) -> str:
        """Posts the missed chat under a new id, as the relay would not tell of the same chat twice."""
        return (
            f'sed "s/910001/$(date +%s)/" {self.samples}/missed.json |\n'
            f"  curl -sS -H 'Content-Type: application/json' --data-binary @- {self.hook_url}"
        )


def render_page(received: Received, guide: Guide) -> str:
    """A whole HTML document, to be served beside `/style.css` and `/mails/<number>`."""
    return _PAGE.render(
        guide=guide,
        mails=sorted(received.mails, key=partial(_place, of_samples=guide.mails)),
        posts=list(reversed(received.posts)),
        post_count=received.post_count,
        cards=list(reversed(received.cards)),
        bodies=list(reversed(received.bodies)),
    )


def _place(mail: CaughtMail, of_samples: int) -> int:
    """Later ones first; those of the samples after them, the first one first."""
    return mail.number if mail.number <= of_samples else -mail.number


def clock(arrived: datetime) -> str:
    """The time on this computer's clock."""
    return arrived.astimezone().strftime("%H:%M:%S")


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["clock"] = clock
    environment.filters["toast"] = lambda post: mrkdwn_html(post.toast)
    # Both escape all they are given.
    environment.filters["slack"] = lambda post: Markup(  # noqa: S704
        slack_post_html(post.message, time=clock(post.arrived))
    )
    environment.filters["teams"] = lambda card: Markup(  # noqa: S704
        teams_card_html(card.message, time=clock(card.arrived))
    )
    return environment


_PAGE = _environment().from_string((_HERE / "page.html").read_text(encoding="utf-8"))
