"""What a mail looks like: headers that nobody but us writes, text that arrives as it was."""

import base64
import dataclasses
import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.mail_address import MailAddress, visitor_address
from relay.notification import Notification
from relay.text import clean, graphemes
from relay.transports import Identity
from relay.transports.email.mime import SAFE_SUBJECT, Envelope, pack, recipient_address
from tests.transports.examples import (
    HOSTILE,
    IDENTITY,
    MISSED,
    NOTIFICATIONS,
    TEXTS,
    a_notification,
    typed,
)

OURS = MailAddress("Relay", "relay@example.org")
ENVELOPE = Envelope(OURS, MailAddress("Anna Nová", "anna@example.com"))
HEADERS = [
    "From",
    "To",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Thread-Index",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
]


def read(mail: bytes) -> EmailMessage:
    message = message_from_bytes(mail, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def packed(**changes: object) -> EmailMessage:
    return read(pack(a_notification(**changes), ENVELOPE, IDENTITY))


def text_of(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    assert part is not None
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


def test_a_missed_chat_has_every_header() -> None:
    message = read(pack(MISSED, ENVELOPE, IDENTITY))
    assert {name: str(message[name]) for name in HEADERS[:12]} == {
        "From": "Relay <relay@example.org>",
        "To": "Anna Nová <anna@example.com>",
        "Reply-To": "Marta Nowák <marta@example.com>",
        "Subject": "Missed chat from Marta Nowák",
        "Date": "Sun, 22 Nov 2026 12:00:00 +0000",
        "Message-ID": "<0123456789abcdef01234567@example.org>",
        "In-Reply-To": "<fedcba987654321001234567@example.org>",
        "References": "<visitor.456789abcdef01234567@example.org> <fedcba987654321001234567@example.org>",
        "Thread-Index": "AQAAAAAAThxyT6AE+I0thP51mHYJqA==",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "OOF, AutoReply",
        "MIME-Version": "1.0",
    }
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert text_of(message, "plain") == MISSED.text
    assert resolved(text_of(message, "html")) == f"{MISSED.html}\n"


def test_outlook_is_told_of_the_conversation_in_its_own_way() -> None:
    """22 bytes: version 1, a time, and a GUID that stands for the conversation ([MS-OXOMSG] 2.2.1.3)."""

    def index(identity: Identity) -> bytes:
        return base64.b64decode(read(pack(MISSED, ENVELOPE, identity))["Thread-Index"])

    same_visitor = replace(IDENTITY, message_id="2@example.org", thread_id="chat.2@example.org")
    nobody = replace(IDENTITY, visitor_thread_id="")
    assert len(index(IDENTITY)) == 22
    assert index(IDENTITY)[0] == 1
    assert index(IDENTITY) == index(same_visitor)
    assert (
        len({index(IDENTITY), index(nobody), index(replace(nobody, thread_id="2@example.org"))})
        == 3
    )


def test_the_longest_thread_stands_unfolded_for_readers_and_on_short_lines() -> None:
    longest = replace(
        IDENTITY, thread_id=f"{'c' * 23}@{'d' * 36}", visitor_thread_id=f"{'v' * 26}@{'d' * 36}"
    )
    mail = pack(MISSED, ENVELOPE, longest)
    assert read(mail)["References"] == f"<{'v' * 26}@{'d' * 36}> <{'c' * 23}@{'d' * 36}>"
    assert all(len(line) <= 78 for line in mail.split(b"\r\n") if b"@ddd" in line)


def test_a_mail_without_html_is_plain_text() -> None:
    message = packed(html="")
    assert message.get_content_type() == "text/plain"
    assert text_of(message, "plain") == MISSED.text


@pytest.mark.parametrize("html", ["", MISSED.html])
@pytest.mark.parametrize(
    "transcript", ["[12:00] Eve: Hi\n", "Где мой заказ?\n" * 5_000, "--=_all\n" * 9]
)
def test_a_transcript_that_the_mail_has_no_room_for_is_attached(html: str, transcript: str) -> None:
    message = packed(html=html, attachment=transcript)
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == "transcript.txt"
    assert attached.get_content_type() == "text/plain"
    assert attached.get_content().replace("\r\n", "\n") == transcript
    assert text_of(message, "plain") == MISSED.text
    assert (message.get_body(("html",)) is not None) == bool(html)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Marta said hello", "quoted-printable"),
        ("Где мой заказ?", "base64"),
        ("", "quoted-printable"),
    ],
)
def test_the_shorter_encoding_is_taken(text: str, encoding: str) -> None:
    assert packed(text=text, html="")["Content-Transfer-Encoding"] == encoding


@pytest.mark.parametrize(
    ("typed_address", "reply_to"),
    [
        ("marta@example.com", "Marta <marta@example.com>"),
        (" marta@example.com ", "Marta <marta@example.com>"),
        ("marta@münchen.de", "Marta <marta@xn--mnchen-3ya.de>"),
        ("josé@example.com", None),
        ("a@x.cz, b@x.cz", None),
        ("a@x.cz\nBcc: b@x.cz", None),
        ("group: a@x.cz, b@x.cz;", None),
        ("Marta <a@x.cz>", None),
        ("not an address", None),
        ("a..b@x.cz", None),
        ("a@-bad.cz", None),
        ("a@exa_mple.org", None),
        ("a@localhost", None),
        ("", None),
        ("x" * 10_000 + "@x.cz", None),
    ],
)
def test_an_answer_goes_to_the_visitor_where_the_address_is_one(
    typed_address: str, reply_to: str | None
) -> None:
    message = packed(visitor_name="Marta", visitor_email=typed_address)
    assert message["Reply-To"] == reply_to


def test_a_mail_to_a_ticket_system_need_not_say_that_a_program_sent_it() -> None:
    marked = read(pack(MISSED, ENVELOPE, IDENTITY))
    bare = read(pack(MISSED, dataclasses.replace(ENVELOPE, mark_as_automatic=False), IDENTITY))
    assert set(marked) - set(bare) == {"Auto-Submitted", "X-Auto-Response-Suppress"}


@pytest.mark.parametrize(
    ("said", "reply_to"),
    [
        ("visitor", "Marta <marta@example.com>"),
        ("nobody", None),
        ("support@example.com", "support@example.com"),
    ],
)
def test_an_answer_goes_where_the_destination_says(said: str, reply_to: str | None) -> None:
    notification = a_notification(visitor_name="Marta", visitor_email="marta@example.com")
    envelope = dataclasses.replace(ENVELOPE, reply_to=said)
    assert read(pack(notification, envelope, IDENTITY))["Reply-To"] == reply_to
    nameless = a_notification(visitor_email="")
    expected = "support@example.com" if "@" in said else None
    assert read(pack(nameless, envelope, IDENTITY))["Reply-To"] == expected


@pytest.mark.parametrize(
    ("written", "name", "address"),
    [
        ("anna@example.com", "", "anna@example.com"),
        ("Anna Nová <anna@example.com>", "Anna Nová", "anna@example.com"),
        ('"Nová, Anna" <anna@example.com>', "Nová Anna", "anna@example.com"),
        ("<anna@example.com>", "", "anna@example.com"),
        ("desk@mail.local", "", "desk@mail.local"),
        ("root@localhost", "", "root@localhost"),
        ("anna@bücher.example", "", "anna@xn--bcher-kva.example"),
    ],
)
def test_a_recipient_is_written_with_or_without_a_name(
    written: str, name: str, address: str
) -> None:
    assert recipient_address(written) == MailAddress(name, address)


@pytest.mark.parametrize(
    "written", ["", "anna", "a b@x.cz", "a@x.cz, b@x.cz", "a@x.cz\n", "é@x.cz"]
)
def test_what_is_no_address_is_no_recipient(written: str) -> None:
    with pytest.raises(ValueError, match=r"is not an email address|has letters before the @"):
        recipient_address(written)


def test_a_subject_that_says_nothing_is_replaced() -> None:
    assert packed(subject=" \n\x00 ")["Subject"] == SAFE_SUBJECT


def test_an_encoded_word_in_a_subject_is_shown_and_not_decoded() -> None:
    assert packed(subject="=?utf-8?q?hello?=")["Subject"] == "= ?utf-8?q?hello?="


@pytest.mark.parametrize(
    "subject",
    [
        "word " * 39,
        "w" * 199,
        "ž" * 199,
        "👍🏽" * 95,
        "a" * 61 + "é",
        ("x" * 80 + " ") * 2,
        "a; b, " * 30,
    ],
)
def test_a_long_subject_arrives_whole(subject: str) -> None:
    assert str(packed(subject=subject)["Subject"]).split() == subject.split()


def test_each_attempt_has_the_same_bytes() -> None:
    assert pack(MISSED, ENVELOPE, IDENTITY) == pack(MISSED, ENVELOPE, IDENTITY)


def check(notification: Notification, mail: bytes) -> None:
    """Everything that must hold of any mail."""
    mail.decode("ascii")
    # An angle bracket within an encoded word is how folding spoils an id or an address.
    assert not re.search(rb"(?i)=\?utf-8\?q\?=3c", mail.partition(b"\r\n\r\n")[0])
    assert mail.endswith(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\x00", mail)
    assert max(map(len, mail.split(b"\r\n"))) <= 998
    message = read(mail)
    assert [name for name in HEADERS if name in message] == list(message.keys())
    assert [mailbox.addr_spec for mailbox in message["From"].addresses] == ["relay@example.org"]
    assert [mailbox.addr_spec for mailbox in message["To"].addresses] == ["anna@example.com"]
    subject = str(message["Subject"])
    assert 1 <= len(list(graphemes(subject))) <= 200
    assert len(subject.encode()) <= 800
    if "Reply-To" in message:
        (mailbox,) = message["Reply-To"].addresses
        assert mailbox.addr_spec == visitor_address(notification.visitor_email)
    assert text_of(message, "plain").rstrip("\n") == clean(notification.text).rstrip("\n")
    for part in message.walk():
        assert part.defects == []


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text(text: str) -> None:
    notification = typed(text)
    check(notification, pack(notification, ENVELOPE, IDENTITY))


@settings(max_examples=300, deadline=None)
@given(NOTIFICATIONS)
@pytest.mark.long
def test_any_notification_makes_a_mail_with_our_headers_and_addresses_only(
    notification: Notification,
) -> None:
    check(notification, pack(notification, ENVELOPE, IDENTITY))


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from(("marta@example.com", "a@b.cz")))
@pytest.mark.long
def test_any_name_and_subject_beside_a_good_address_keep_their_place(
    name: str, subject: str, address: str
) -> None:
    notification = a_notification(visitor_name=name, subject=subject, visitor_email=address)
    mail = pack(notification, ENVELOPE, IDENTITY)
    check(notification, mail)
    assert read(mail)["Reply-To"] is not None


@settings(max_examples=200, deadline=None)
@given(TEXTS)
@pytest.mark.long
def test_any_html_arrives_as_it_was(html: str) -> None:
    message = packed(html=html + "<p>end</p>")
    assert resolved(text_of(message, "html")) == resolved(clean(html + "<p>end</p>")) + "\n"


def resolved(html: str) -> str:
    """As a mail program shows it: each character reference as its letter."""
    return re.sub(r"&#([0-9]{1,6});", lambda found: chr(int(found[1])), html)


def html_part(html: str) -> EmailMessage:
    part = packed(html=html).get_body(("html",))
    assert isinstance(part, EmailMessage)
    return part


@pytest.mark.parametrize("letters", ["ž", "Где", "注文", "👍🏽", "\u200c", "\xa0"])
def test_html_is_legible_in_the_mail_with_other_letters_as_references(letters: str) -> None:
    html = f'<p title="{letters}">Hello {letters}</p>{"<p>so it goes</p>" * 20}'
    part = html_part(html)
    assert part.get_content_charset() == "us-ascii"
    assert "Content-Transfer-Encoding" not in part
    written = str(part.get_content()).strip()
    assert written.startswith('<p title="&#')
    assert resolved(written) == html


@pytest.mark.parametrize(
    "html",
    [
        "<style>p::before { content: 'ž' }</style><p>Hello</p>" + "<p></p>" * 20,
        "<STYLE type='text/css'>/* ž */</STYLE><p>Hello</p>" + "<p></p>" * 20,
        "<p>" + "long " * 200 + "</p>",
        "<p>" + "Где мой заказ?</p>\n" * 50,
    ],
    ids=["letters in a style", "letters in a STYLE", "a long line", "mostly other letters"],
)
def test_html_that_references_would_spoil_or_bloat_is_encoded(html: str) -> None:
    part = html_part(html)
    assert part["Content-Transfer-Encoding"] in {"quoted-printable", "base64"}
    assert part.get_content().replace("\r\n", "\n") == html.rstrip("\n") + "\n"


def test_no_reference_stands_for_what_is_cleaned_away() -> None:
    letters = map(chr, [*range(0xD801), *range(0xDFFE, 0x10000)])
    dirt = [each for each in letters if clean(each) != each]
    assert {"\x85", "\u202e", "\u2028", "\u2066", "\ud800", "\ufffe"} <= set(dirt)
    for each in dirt:
        html = f"<p>one{each}two</p>"
        assert resolved(text_of(packed(html=html), "html")).strip() == clean(html), ascii(each)


def test_the_html_of_shipped_templates_needs_no_encoding() -> None:
    pages = list((Path(__file__).parents[1] / "golden").rglob("*.html"))
    assert pages
    for page in pages:
        assert html_part(page.read_text("utf-8")).get_content_charset() == "us-ascii", page
