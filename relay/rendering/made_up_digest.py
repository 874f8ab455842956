"""A made-up digest, for `relay check`, previews and tests."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from relay.chat import Chat
from relay.digest import Digest, Member, Mute, arranged
from relay.rendering.digest_wording import digest_notification
from relay.rendering.folders import BrokenTemplate
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.templates import Templates


def check_digest(templates: Templates) -> list[str]:
    """Write a digest of made-up chats of every kind, in every language; each problem as `file:line: what`."""
    problems: dict[str, None] = {}
    for language in templates.languages.names:
        for digest in (made_up_digest(), made_up_digest(late=True)):
            try:
                digest_notification(
                    templates,
                    digest,
                    language=language,
                    zone=ZoneInfo("UTC"),
                    read=read_made_up,
                )
            except BrokenTemplate as problem:
                problems[str(problem)] = None
    return list(problems)


def made_up_digest(*, late: bool = False) -> Digest:
    """A digest of the made-up chats, which `read_made_up` reads; with `late` of few, which were due long ago and were muted."""
    night = datetime(2025, 11, 23, 22, 10, tzinfo=UTC)
    morning = datetime(2025, 11, 24, 7, tzinfo=UTC)
    names = ["missed", "missed_after_an_answer"] if late else list(made_up_chats())
    members = [
        Member(
            account="208",
            chat=name,
            rules=(rule,),
            why="muted:1" if late else "hours",
            arrived=night + timedelta(minutes=37 * number),
            heard=night,
            missed=bool(made_up_chats()[name].missed),
            offline=bool(made_up_chats()[name].offline),
        )
        for number, name in enumerate(names)
        for rule in _rules_of(made_up_chats()[name])
    ]
    mute = Mute(by="Anna", because="Warehouse move", until=morning)
    return arranged(
        members,
        order=_MADE_UP_RULES,
        destination="support-room",
        closed_at=morning,
        due_since=night if late else None,
        erased=int(late),
        mutes={"muted:1": mute} if late else {},
    )


_MADE_UP_RULES = ("Missed chats", "Bad ratings", "All chats")


def _rules_of(chat: Chat) -> list[str]:
    bad = chat.rating is not None and chat.rating <= 2
    return [*["Missed chats"] * bool(chat.missed), *["Bad ratings"] * bad] or ["All chats"]


def read_made_up(member: Member) -> Chat:
    """The made-up chat of this name."""
    return made_up_chats()[member.chat]
