"""What was sent -> files: what went over the wire, how it looks, and a page that shows it all. Works without scripts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from relay.demo.received import CaughtMail, CaughtPost
from relay.outbox import Delivery
from relay.preview.capture import Shown
from relay.preview.lookalike.mrkdwn import mrkdwn_html
from relay.preview.lookalike.slack_post import SLACK_CSS, slack_post_html
from relay.preview.lookalike.teams_card import TEAMS_CSS, teams_card_html
from relay.preview.preview_folder import file_name

INDEX = "index.html"
_HERE = files("relay.preview")
_STYLE = "\n".join(
    [(_HERE / "pages" / "page.css").read_text(encoding="utf-8"), SLACK_CSS, TEAMS_CSS]
)


@dataclass(frozen=True, slots=True)
class Written:
    """One delivery with the files that show it."""

    shown: Shown
    name: str
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the page says above all."""

    chat: str
    """`<account>/<id>`."""
    notes: Sequence[str] = ()
    """What the reader should know before they look, such as a rule that does not hold."""
    problems: Sequence[str] = ()
    """What is wrong, such as a broken template."""


def written(shown: Sequence[Shown]) -> list[Written]:
    """All but the index."""
    return [_written(number, each) for number, each in enumerate(shown, 1)]


def index(all_written: Sequence[Written], about: About) -> bytes:
    """The page that links and shows them: on its own, it loads nothing."""
    return _page("index.html", deliveries=all_written, about=about)


def _written(number: int, shown: Shown) -> Written:
    delivery = shown.delivery
    to = (delivery.recipient,) if delivery.recipient != delivery.destination else ()
    name = f"{number:02}-{file_name(delivery.rule, delivery.destination, *to)}"
    one = Written(shown, name)
    found = {**_mail_files(one), **_slack_files(one), **_teams_files(one)}
    return Written(shown, name, found)


def _mail_files(one: Written) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for mail in one.shown.mails:
        found[f"{one.name}.eml"] = mail.wire
        if mail.html:
            found[f"{one.name}.html"] = mail.html.encode()
        found[f"{one.name}.txt"] = mail.text.encode()
        for name, text in attached(mail):
            found[f"{one.name}.{name}"] = text.encode()
    return found


def _slack_files(one: Written) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for post in one.shown.posts:
        found[f"{one.name}.slack.json"] = post.wire
        found[f"{one.name}.slack.html"] = _page("post.html", post=post, title=one.name)
        for place, reply in enumerate(post.replies, 1):
            found[f"{one.name}.slack.thread-{place}.json"] = reply.wire
        for file in post.files:
            found[f"{one.name}.slack.{file_name(file.name.removesuffix('.txt'))}.txt"] = (
                file.text.encode()
            )
    return found


def _teams_files(one: Written) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for card in one.shown.cards:
        found[f"{one.name}.teams.json"] = card.wire
        found[f"{one.name}.teams.html"] = _page("card.html", card=card, title=one.name)
    return found


def attached(mail: CaughtMail) -> Iterator[tuple[str, str]]:
    """Names and texts of what is attached to a mail of ours."""
    message = message_from_bytes(mail.wire, policy=policy.default)
    if isinstance(message, EmailMessage):
        for part in message.iter_attachments():
            yield str(part.get_filename("attachment.txt")), str(part.get_content())


def _page(template: str, **values: object) -> bytes:
    page = _pages().get_template(template).render(style=Markup(_STYLE), **values)  # noqa: S704 - our own
    return page.encode("utf-8", "replace")


def _destination(delivery: Delivery) -> str:
    """Its name in the rules file, and who of it, where it has several."""
    if delivery.recipient == delivery.destination:
        return delivery.destination
    return f"{delivery.destination}: {delivery.recipient}"


def _toast(post: CaughtPost) -> Markup:
    return Markup(mrkdwn_html(post.toast))  # noqa: S704 - it escapes what it is given


@cache
def _pages() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=PackageLoader("relay.preview", "pages"),
    )
    environment.filters["toast"] = _toast
    environment.filters["attached"] = attached
    environment.filters["destination"] = _destination
    # Both escape all they are given.
    environment.filters["slack"] = lambda post: Markup(slack_post_html(post.message))  # noqa: S704
    environment.filters["teams"] = lambda card: Markup(teams_card_html(card.message))  # noqa: S704
    return environment
