"""Converts a notification to the bytes of an email, which are the same in each attempt and Python version.

Headers are not written by `email.message.EmailMessage`: it loses quotes and breaks headers when it
folds them (differently in Python 3.11, 3.12 and 3.13) and takes five times as long. The result is
parsed by the standard library before it is sent.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from email.header import Header
from email.parser import BytesHeaderParser
from email.policy import default
from email.utils import format_datetime

from relay.destination import NOBODY, VISITOR
from relay.mail_address import MailAddress, UnusableAddress, read_mailbox, visitor_address
from relay.notification import Notification
from relay.text import clean, clean_line, cut, tidy_line
from relay.transports import Identity

MAX_NAME = 60
"""The most characters of a display name: longer ones are folded, and older Pythons then lose quotes."""
# Without these characters a name needs no quotes (cpython#80222).
_SPECIALS = re.compile(r'[()<>\[\]:;@\\,."]+')


def recipient_address(text: str) -> MailAddress:
    """Return the address in `anna@example.com` or `Anna <anna@example.com>`, ready for a header. Raises ValueError."""
    try:
        mailbox = read_mailbox(text)
    except UnusableAddress as error:
        raise ValueError(f"{clean_line(text, 100)!r} {error}") from None
    return MailAddress(display_name(mailbox.name), mailbox.address)


def display_name(text: str) -> str:
    """Return a name that needs no quotes before an address, at most 60 characters; may be empty."""
    return clean_line(_SPECIALS.sub(" ", header_text(text)), MAX_NAME)


def header_text(text: str, limit: int = 200) -> str:
    """Return text for a header: on one line, and without anything that reads as an encoded word (`=?utf-8?q?...?=`)."""
    return tidy_line(text.replace("=?", "= ?"), limit)


MAX_SUBJECT = 200
MAX_SUBJECT_BYTES = 800
SAFE_SUBJECT = "New notification from Smartsupp chat"
"""The subject that replaces one that could not be read back correctly."""
ROOM = 62
"""How many ASCII characters fit on the first line of any header."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The sender and recipient of an email."""

    sender: MailAddress
    recipient: MailAddress
    reply_to: str = VISITOR
    """The recipient of replies: VISITOR, NOBODY, or an address."""
    mark_as_automatic: bool = True
    """Whether to mark the email as automatic, which prevents automatic replies but makes some ticket systems drop it.
    """


def pack(notification: Notification, envelope: Envelope, identity: Identity) -> bytes:
    """Return an email in 7-bit ASCII with CRLF line ends.

    Lines have at most 998 characters, those of headers and text 78.
    """
    boundary = f"=_{hashlib.sha256(identity.message_id.encode()).hexdigest()[:32]}"
    body = _body(notification, boundary)
    headers = _headers(notification, envelope, identity)
    if not (_is_plain(headers) or _reads_back(headers)):
        headers["Subject"] = SAFE_SUBJECT
        headers.pop("Reply-To", None)
    return _block(headers) + body


# -- headers -----------------------------------------------------------------------------------------------


def _headers(notification: Notification, envelope: Envelope, identity: Identity) -> dict[str, str]:
    """Return the headers of an email by name, not yet encoded."""
    headers = {
        "From": _mailbox(envelope.sender.name, envelope.sender.address),
        "To": _mailbox(envelope.recipient.name, envelope.recipient.address),
        "Reply-To": _reply_to(notification, envelope.reply_to),
        "Subject": _subject(notification),
        "Date": format_datetime(identity.date),
        "Message-ID": f"<{identity.message_id}>",
        **_thread(identity),
        **(_AUTOMATIC if envelope.mark_as_automatic else {}),
        "MIME-Version": "1.0",
    }
    if not headers["Reply-To"]:
        del headers["Reply-To"]
    return headers


_AUTOMATIC = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "OOF, AutoReply"}
"""The headers for automatic email: RFC 3834's, and the one that Exchange uses."""


def _reply_to(notification: Notification, reply_to: str) -> str:
    """Return the Reply-To address; empty if replies go to the sender, which is the relay."""
    if reply_to != VISITOR:
        return "" if reply_to == NOBODY else reply_to
    address = visitor_address(notification.visitor_email)
    return _mailbox(notification.visitor_name, address) if address else ""


def _thread(identity: Identity) -> dict[str, str]:
    """Return the headers that group emails about one chat, and those about one visitor's chats.

    The headers refer to IDs that no email has. Apple Mail, Thunderbird and most others use References;
    Gmail also needs equal subjects. Outlook uses the GUID in Thread-Index, or else the subject
    ([MS-OXOMSG] 2.2.1.2 and 2.2.1.3).
    """
    visitor, chat = identity.visitor_thread_id, identity.thread_id
    guid = hashlib.sha256((visitor or chat).encode()).digest()[:16]
    return {
        "In-Reply-To": f"<{chat}>",
        # One ID per line: two may be longer than a line.
        "References": f"<{visitor}>\r\n <{chat}>" if visitor else f"<{chat}>",
        # Version 1, and five bytes for a time that is not used.
        "Thread-Index": base64.b64encode(b"\x01" + bytes(5) + guid).decode(),
    }


def _subject(notification: Notification) -> str:
    subject = header_text(notification.subject, MAX_SUBJECT)
    return cut(subject, MAX_SUBJECT_BYTES, lambda piece: len(piece.encode())) or SAFE_SUBJECT


def _mailbox(name: str, address: str) -> str:
    name = display_name(name)
    if not name:
        return address
    # The name has its own line: an encoded word and an address may be too long together.
    return (
        f"{_encoded(name)}\r\n <{address}>" if len(name) > 20 else f"{_encoded(name)} <{address}>"
    )


def _encoded(text: str) -> str:
    """Return text for a header: ASCII that fits on one line, or encoded words."""
    if text.isascii() and len(text) <= ROOM:
        return text
    # 64 rather than 78, because the first line also has the header's name.
    charset = "us-ascii" if text.isascii() and _folds(text) else "utf-8"
    return Header(text, charset, maxlinelen=ROOM).encode(linesep="\r\n")


def _folds(text: str) -> bool:
    return all(len(word) < ROOM for word in text.split(" "))


def _block(headers: dict[str, str]) -> bytes:
    lines = [
        f"{name}: {_encoded(value) if name == 'Subject' else value}"
        for name, value in headers.items()
    ]
    return "\r\n".join([*lines, ""]).encode("ascii")


_PLAIN_MAILBOX = re.compile(
    r"(?:[A-Za-z0-9' -]{1,60} <[\w.+-]+@[\w.-]+>|[\w.+-]+@[\w.-]+)", re.ASCII
)


def _is_plain(headers: dict[str, str]) -> bool:
    """Whether the headers are obviously unambiguous, as most are, and need not be read back."""
    subject = headers["Subject"]
    return (
        len(subject) <= ROOM
        and subject.isascii()
        and subject.isprintable()
        and "=?" not in subject
        and all(
            _PLAIN_MAILBOX.fullmatch(headers[name])
            for name in ("From", "To", "Reply-To")
            if name in headers
        )
    )


def _reads_back(headers: dict[str, str]) -> bool:
    """Whether an email program would read the headers, addresses and subject as they are meant."""
    try:
        parsed = BytesHeaderParser(policy=default).parsebytes(_block(headers) + b"\r\n")
        return (
            parsed.keys() == list(headers)
            and str(parsed["Subject"]).split() == headers["Subject"].split()
            and all(
                [mailbox.addr_spec for mailbox in parsed[name].addresses] == [_bare(headers[name])]
                for name in ("From", "To", "Reply-To")
                if name in headers
            )
        )
    except Exception:  # noqa: BLE001 - the parser raises nearly anything on odd input
        return False


def _bare(mailbox: str) -> str:
    return mailbox.rpartition("<")[2].rstrip(">")


# -- body --------------------------------------------------------------------------------------------------


def _body(notification: Notification, boundary: str) -> bytes:
    """Return the body, beginning with the Content-Type header."""
    words = _alternatives(notification, boundary)
    if not notification.attachment:
        return words
    transcript = _part("plain", notification.attachment, _ATTACHED)
    # One boundary must not begin with the other: some readers would take it for that one's end.
    return _multipart("mixed", f"=_all{boundary}", words, transcript)


def _alternatives(notification: Notification, boundary: str) -> bytes:
    text = _part("plain", notification.text)
    if not notification.html:
        return text
    return _multipart("alternative", boundary, text, _html(notification.html))


def _multipart(kind: str, boundary: str, *parts: bytes) -> bytes:
    # "=_" occurs in neither quoted-printable nor base64, so no content can end a part early.
    mark = boundary.encode()
    joined = b"".join(b"--%s\r\n%s\r\n" % (mark, part) for part in parts)
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'
    return b"%s%s--%s--\r\n" % (head.encode(), joined, mark)


_ATTACHED = b'Content-Disposition: attachment; filename="transcript.txt"\r\n'


def _html(content: str) -> bytes:
    """Return HTML as ASCII, with other letters as character references, so that no transfer encoding is needed."""
    raw = content.encode("ascii", "xmlcharrefreplace")
    if len(raw.translate(None, _CONTROLS)) != len(raw) or _UNCLEAN.search(raw):
        raw = clean(content).encode("ascii", "xmlcharrefreplace")
    lines = raw.removesuffix(b"\n").split(b"\n")
    if (
        len(max(lines, key=len)) > LONGEST_LINE
        or len(raw) > MOST_LONGER * len(content)
        or any(b"&#" in style for style in _STYLE.split(raw)[1::2])
    ):
        return _part("html", content)
    return b'Content-Type: text/html; charset="us-ascii"\r\n\r\n%s\r\n' % b"\r\n".join(lines)


LONGEST_LINE = 998
"""The most characters of an email's line (RFC 5322 2.1.1)."""
MOST_LONGER = 1.3
"""The largest growth in size for which references are used; beyond it base64 is shorter, and Gmail
cuts off at 102 KB.
"""
_CONTROLS = bytes({*range(32), 127} - {9, 10})
_UNCLEAN = re.compile(rb"&#(?:12[89]|1[345]\d|823[2-8]|829[4-7]|5[5-7]\d{3}|6553[45]);")
"""References to characters that `clean` removes: C1 controls, separators, bidi controls and surrogates."""
_STYLE = re.compile(rb"</?style", re.IGNORECASE)
"""The start or end of a style element, in which references are not decoded."""


def _part(subtype: str, content: str, headers: bytes = b"") -> bytes:
    raw = clean(content).replace("\n", "\r\n").encode()
    if not raw.endswith(b"\r\n"):
        raw += b"\r\n"
    # Text in Cyrillic is half as long in base64; text in Latin letters stays readable.
    if _share_of_others(raw) > 0.3:
        encoding, coded = b"base64", _base64_lines(raw)
    else:
        encoding, coded = b"quoted-printable", binascii.b2a_qp(raw, istext=True)
    return (
        b'Content-Type: text/%s; charset="utf-8"\r\nContent-Transfer-Encoding: %s\r\n%s\r\n%s'
        % (
            subtype.encode(),
            encoding,
            headers,
            coded,
        )
    )


def _share_of_others(raw: bytes) -> float:
    others = len(raw) - len(raw.translate(None, _OTHERS))
    return others / len(raw)


_OTHERS = bytes(range(0x80, 0x100))


def _base64_lines(raw: bytes) -> bytes:
    return base64.encodebytes(raw).replace(b"\n", b"\r\n")
