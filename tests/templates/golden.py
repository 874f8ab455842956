"""The golden files: what the shipped templates make of the sample chats, in each language and for each transport.

`make golden` writes them again; the diff then shows what readers will see differently. The words are kept for every
template in every language: subject, summary, facts, links and the text part (`cs.txt`), and those of the built-in
wording; what of them differs for the other sample chats, in English (`en.others.txt`). What packs them is the same in
all languages, so the HTML, the mail's headers, and the posts for Slack and Teams are kept in English; the posts of one
template in the others too, to show that they speak them. A bot's messages in a thread differ from a webhook's post by
where they are cut in two: one template shows it.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any

from relay.chat import Chat
from relay.languages import LANGUAGES, SOURCE
from relay.mail_address import MailAddress
from relay.notification import Notification
from relay.rendering.built_in_wording import built_in_notification
from relay.rendering.template_folders import DIGEST
from relay.smartsupp import read_chat
from relay.transports import Identity
from relay.transports.email.mime import Envelope
from relay.transports.email.mime import pack as mail
from relay.transports.slack.pack import pack as slack_post
from relay.transports.slack.pack import pack_thread
from relay.transports.teams.pack import pack as teams_post
from tests.templates.reading import PRAGUE, SAMPLES, digest, told

FOLDER = Path(__file__).parents[1] / "golden"
CASES = {
    "chat": "documented",
    "missed": "missed",
    "low_rating": "low_rating_vip",
    "offline": "offline",
    "vip": "low_rating_vip",
}
"""A template, and the sample chat that it is meant for."""
OTHERS = {path.stem for path in SAMPLES.glob("*.json")} - {"documented_old_variant"}
"""The old form of a hook makes the same chat as the new one, nearly."""
BUILT_IN = "built_in"
POSTS_IN_EVERY_LANGUAGE = "missed"
IN_A_THREAD = "low_rating"
WIDTH = 110

ENVELOPE = Envelope(
    sender=MailAddress("Chat relay", "relay@example.com"),
    recipient=MailAddress("Anna Nová", "anna@example.com"),
)
IDENTITY = Identity(
    message_id="delivery@example.com",
    thread_id="chat@example.com",
    visitor_thread_id="visitor@example.com",
    date=datetime(2025, 11, 22, 8, 30, tzinfo=UTC),
)


def golden_files(template: str) -> dict[str, str]:
    """Of one template, or of the built-in wording: name within FOLDER -> what has to stand there."""
    if template == BUILT_IN:
        return built_in_files()
    if template == DIGEST:
        return digest_files()
    chat = sample(CASES[template])
    files: dict[str, str] = {}
    for language in LANGUAGES:
        notification = told(template, chat, language=language)
        path = f"{template}/{language}"
        files[f"{path}.txt"] = as_text(notification)
        if language == SOURCE or template == POSTS_IN_EVERY_LANGUAGE:
            files[f"{path}.slack.json"] = laid_out(slack_post(notification)) + "\n"
            files[f"{path}.teams.json"] = laid_out(json.loads(teams_post(notification))) + "\n"
    others = sorted(OTHERS - {CASES[template]})
    files[f"{template}/en.others.txt"] = "\n".join(beginning(template, each) for each in others)
    english = told(template, chat)
    if template == IN_A_THREAD:
        thread = pack_thread(english)
        files[f"{template}/en.slack-thread.json"] = laid_out([thread.lead, *thread.replies]) + "\n"
    head = "\n".join(headers(mail(english, ENVELOPE, IDENTITY))) + "\n"
    return files | {f"{template}/en.html": english.html, f"{template}/en.headers.txt": head}


def beginning(template: str, name: str) -> str:
    """What a template makes of another chat than it is meant for; facts and transcript are the same in all."""
    made = told(template, sample(name))
    title = made.text.partition("\n")[0]
    return f"{name} ({made.tone})\n{made.subject}\n{made.summary}\n{title}\n"


def sample(name: str) -> Chat:
    return read_chat((SAMPLES / f"{name}.json").read_bytes())


def built_in_files() -> dict[str, str]:
    chat = sample("missed")
    return {
        f"{BUILT_IN}/{language}.txt": as_text(
            built_in_notification(
                chat,
                rule="Night watch",
                zone=PRAGUE,
                reason="missed/subject.txt:1: unexpected '}'",
                template="missed",
                language=language,
            )
        )
        for language in LANGUAGES
    }


def digest_files() -> dict[str, str]:
    files: dict[str, str] = {}
    for language in LANGUAGES:
        notification = digest(language)
        path = f"{DIGEST}/{language}"
        files[f"{path}.txt"] = as_text(notification)
        if language == SOURCE:
            files[f"{path}.html"] = notification.html
            files[f"{path}.slack.json"] = laid_out(slack_post(notification)) + "\n"
            files[f"{path}.teams.json"] = laid_out(json.loads(teams_post(notification))) + "\n"
    return files


def all_files() -> dict[str, str]:
    """Name within FOLDER -> what has to stand there."""
    files: dict[str, str] = {}
    for template in (*CASES, BUILT_IN, DIGEST):
        files |= golden_files(template)
    return files


def as_text(notification: Notification) -> str:
    facts = "".join(f"{fact.label}: {fact.value}\n" for fact in notification.facts)
    links = "".join(f"{link.label} <{link.url}>\n" for link in notification.links)
    return (
        f"{notification.subject}\n({notification.tone})\n\n{notification.summary}\n\n"
        f"{facts}\n{links}\n{'=' * 40}\n{notification.text}"
    )


def headers(raw: bytes) -> Iterator[str]:
    """Of the mail and of each of its parts, as they are sent."""
    for part in message_from_bytes(raw).walk():
        yield from (f"{name}: {' '.join(value.split())}" for name, value in part.items())
        yield ""


def laid_out(value: Any, margin: int = 0) -> str:
    """JSON with what fits on a line on one line: an element of a post is read at a glance."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + margin <= WIDTH or not isinstance(value, dict | list):
        return flat
    inner = " " * (margin + 1)
    if isinstance(value, dict):
        entries = [f"{json.dumps(key)}: {laid_out(v, margin + 1)}" for key, v in value.items()]
        return "{\n" + ",\n".join(inner + entry for entry in entries) + "\n" + " " * margin + "}"
    items = [inner + laid_out(item, margin + 1) for item in value]
    return "[\n" + ",\n".join(items) + "\n" + " " * margin + "]"


def write() -> None:
    for path in FOLDER.rglob("*.*"):
        path.unlink()
    for name, content in all_files().items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    write()
