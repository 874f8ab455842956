"""Notifications for the transports' tests, and text that is up to no good."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from relay.chat import Author
from relay.notification import Fact, Link, Notification, Tone, TranscriptMessage
from relay.transports import Identity

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
IDENTITY = Identity(
    message_id="0123456789abcdef01234567@example.org",
    thread_id="fedcba987654321001234567@example.org",
    visitor_thread_id="visitor.456789abcdef01234567@example.org",
    date=NOON,
)

MISSED = Notification(
    subject="Missed chat from Marta Nowák",
    summary="Marta Nowák wrote 3 messages and nobody answered.",
    facts=(
        Fact(label="Visitor", value="Marta Nowák"),
        Fact(label="Email", value="marta@example.com"),
        Fact(label="Page", value="Green shoes, size 42"),
    ),
    transcript=(
        TranscriptMessage(
            author=Author.VISITOR, name="Marta Nowák", text="Hello, is anybody there?", time="12:00"
        ),
        TranscriptMessage(
            author=Author.AUTOMATIC, name="Shop", text="We will be with you soon.", time="12:00"
        ),
        TranscriptMessage(
            author=Author.VISITOR,
            name="Marta Nowák",
            text="I would like to order.\nToday!",
            time="12:06",
            gap="6 minutes without an answer",
        ),
        TranscriptMessage(author=Author.SYSTEM, name="", text="Marta Nowák left", time="12:07"),
    ),
    text="Marta Nowák wrote 3 messages.\n\n12:00 Hello, is anybody there?\n.\n..two dots\n",
    html="<!DOCTYPE html><html><body><p>Marta Nowák wrote 3 messages.</p></body></html>",
    links=(Link(label="Open in the relay", url="https://relay.example.com/chats/208/1"),),
    tone=Tone.BAD,
    visitor_name="Marta Nowák",
    visitor_email="marta@example.com",
)


def a_notification(**changes: Any) -> Notification:
    return replace(MISSED, **changes)


def saying(text: str, *, times: int = 1) -> Notification:
    """A chat in which the visitor says it, so often."""
    message = TranscriptMessage(author=Author.VISITOR, name="Visitor", text=text, time="12:00")
    return replace(MISSED, transcript=(message,) * times, text=text * times)


def typed(text: str) -> Notification:
    """As if the visitor had typed it in every field there is."""
    messages = tuple(
        TranscriptMessage(author=author, name=text, text=text, time="12:00", gap=text)
        for author in Author
    )
    return Notification(
        subject=f"Missed chat from {text}",
        summary=text,
        facts=(Fact(label="Visitor", value=text), Fact(label=text, value="")),
        transcript=messages,
        text=text,
        html="",
        visitor_name=text,
        visitor_email=text,
    )


HOSTILE = (
    "<!channel> <!here> <!everyone> <@U012AB3CD> <#C1|x> <!subteam^S1> <https://evil.example|bank.example>",
    "&lt;!here&gt; &amp;lt;!here&amp;gt; &#60;!here&#62;",
    "*bold* _italic_ ~struck~ `code` ```fence``` > quote",
    "[bank](https://evil.example) ![x](https://evil.example/p.png) # head\n- list\n1. list",
    "<at>CEO</at> <AT id='1'>All</AT> {{DATE(2017-02-14T06:08:39Z,SHORT)}} {{{{TIME(1)}}}} ${x}",
    '"},"type":"mention" \\" \\u0022 \\',
    "=?utf-8?q?Bcc:_x@evil.example?= =?utf-8?b?Qk9N?= =?utf-8?q?=0D=0ABcc=3A_a=40evil.example?=",
    "a\r\nBcc: x@evil.example\r\n\r\nbody\n.\nQUIT\n",
    'Kmet, "evil" <x@evil.example>, y@evil.example; (z) [q] \\',
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, evil@attacker.example, yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
    "nul\x00 esc\x1b[31m bell\x07 vt\x0b ff\x0c nel\x85 ls\u2028 ps\u2029 del\x7f",
    "rtl \u202egnp.exe \u2066iso\u2069 bom\ufeff end\ufffe\uffff lone \ud83d half \udc00",
    "👩‍👩‍👧‍👦🏳️‍🌈👍🏽🇨🇿" * 60,
    "النص العربي مع مسافات كثيرة جداً " * 20,
    "word " * 400,
    "w" * 3_000,
    "&" * 5_000,
    "\n" * 500,
    "ž" * 4_000,
    "--=_5e8ba5eb6cc1fd881aa4686224397bc7--",
    " \t ",
    "",
)

TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(codec=None), max_size=300),
    st.text(
        st.sampled_from("<>@&!|*_`{}[]()=?\"',;:.\\\r\n\t \u202e\ud83dAé🇨🇿👍🏽\u200d"), max_size=300
    ),
)
"""Anything that a person, or a program that plays one, can put into a chat."""

NOTIFICATIONS = st.builds(
    Notification,
    subject=TEXTS,
    summary=TEXTS,
    facts=st.lists(st.builds(Fact, label=TEXTS, value=TEXTS), max_size=25).map(tuple),
    transcript=st.lists(
        st.builds(
            TranscriptMessage,
            author=st.sampled_from(Author),
            name=TEXTS,
            text=TEXTS,
            time=st.sampled_from(("", "12:00")),
            gap=st.one_of(st.just(""), TEXTS),
        ),
        max_size=12,
    ).map(tuple),
    text=TEXTS,
    html=st.one_of(st.just(""), TEXTS),
    links=st.lists(st.builds(Link, label=TEXTS, url=TEXTS), max_size=3).map(tuple),
    tone=st.sampled_from(Tone),
    language=st.sampled_from(("en", "cs", "de", "es", "fr")),
    visitor_name=TEXTS,
    visitor_email=TEXTS,
)
