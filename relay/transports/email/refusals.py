"""What a mail server's refusal (5yz) is about: us, one recipient, one mail. Read from its codes, its words and its moment.

Servers say it in many ways: x.7.1 is a forbidden relay, a blocked address, an unknown HELO and spam alike (RFC 3463),
and half of all refusals have no enhanced code. docs/mail.md has this table in words.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from aiosmtplib.response import SMTPResponse

from relay.transports.email.failure import Stage


class About(Enum):
    """What has to change before a mail like this one passes."""

    US = "us"
    """Our login, our address, our network: no mail passes until somebody changes the settings."""
    RECIPIENT = "recipient"
    MAIL = "mail"
    SIZE = "size"
    """Or form: the short form may pass."""
    LIMIT = "limit"
    """Of a day or an hour."""
    NOW = "now"
    """Nothing: permanent by its code only."""


# At the head of a line, or after a number sign as qmail writes it; no address of four numbers.
_ENHANCED = re.compile(r"(?:^\s*|#)([245]\.\d{1,3}\.\d{1,3})\b(?!\.\d)", re.MULTILINE)


def enhanced_code(reply: SMTPResponse) -> str:
    """`5.7.1` (RFC 3463), or nothing."""
    found = _ENHANCED.search(reply.message)
    return found[1] if found else ""


def refusal_is_about(stage: Stage, reply: SMTPResponse) -> About:
    """`reply` is a 5yz, given at this stage."""
    codes, words = f"{reply.code} {enhanced_code(reply)}", " ".join(reply.message.split())
    return next(row.about for row in _TABLE if row.fits(stage, codes, words))


@dataclass(frozen=True, slots=True)
class _Row:
    """Fits where the stage is one of these, and code and enhanced code, or the words, are so."""

    about: About
    stages: Iterable[Stage] = tuple(Stage)
    codes: str = ""
    words: tuple[str, ...] = ()
    _codes: re.Pattern[str] = field(init=False)
    _words: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        always = "" if not self.codes and not self.words else "(?!)"
        words = "|".join(rf"\b(?:{each})" for each in self.words)
        object.__setattr__(self, "_codes", re.compile(self.codes or always))
        object.__setattr__(self, "_words", re.compile(words or always, re.IGNORECASE))

    def fits(self, stage: Stage, codes: str, words: str) -> bool:
        return stage in self.stages and bool(self._codes.match(codes) or self._words.search(words))


_US = (
    # What we may not do there.
    r"relaying|(?:relay|relay access|mail relay)(?: is)? (?:denied|not|prohibited|forbidden|refused|rejected)",
    r"(?:not?|n't|to|as a|open) relay|rcpthosts",
    r"(?:not|n't) (?:allowed|authori[sz]ed|permitted) to (?:send|submit|use)|permissions? to (?:send|submit)",
    r"send ?as|send on behalf|your account",
    # Our login.
    r"(?:un)?authenticat|smtp auth|auth (?:is )?required|log(?:ged)? ?in|sign in|starttls",
    # Where we come from.
    r"ips?\b|(?:client|sending|connecting|remote|source) (?:host|server|domain|ip|address|\[)",
    r"your (?:[\w-]+ )?(?:host|hostname|server|mail ?server|domain|network|address|mta)\b",
    r"(?:black|block|deny|ban)[ -]?(?:list|hole)|blocked using|(?<!not )listed (?:at|in|on|by)|dnsbl|rbls?\b|spamhaus|spamcop",
    r"reputation|banned|ptr\b|r(?:everse )?dns|reverse (?:host)?name",
    # What we call ourselves.
    r"helo|ehlo|spf\b|dkim\b|dmarc\b|badmailfrom|sender[ -]?id\b|envelope sender",
    r"sender (?:address |domain |verif\w+ |is |was )*(?:rejected|denied|refused|failed|not|blocked|invalid|unknown)",
    r"domain of sender|from address",
)
_A_RECIPIENT = (
    r"recipient(?:s|'s)?\b|not listed|unknown (?:user|recipient|address|account|mailbox)|no such|mailbox|not our customer",
    r"(?:user|account|address)(?: is| has been| was)? (?:unknown|not|disabled|inactive|suspended|rejected|unavailable)",
    r"(?:does|do|did)(?: not|n't) (?:exist|have)|doesn't|unroute?able|undeliverable|no longer|over quota",
    r"(?:invalid|bad|unknown) (?:user|address|account|destination)",
)
_POLICY = (
    r"polic(?:y|ies)|prohibit|access (?:is )?denied|(?:not|n't) (?:allowed|authori[sz]ed|permitted)|blocked|refused",
)
_A_MAIL = (r"ur[il]s?\b|links?\b|attachment|virus|malware|phish|surbl|uribl|content",)
_TOO_BIG = (r"too (?:big|large)|size exceeds|exceed\w* (?:[\w']+ )*size",)
_LIMIT = (
    r"(?:daily|hourly) (?:[\w-]+ ){0,4}(?:limit|quota)|(?:limit|quota)\w* (?:[\w-]+ ){0,4}(?:per|a|an) (?:day|hour)",
)
_PASSES = (r"too many (?:concurrent|connections|sessions|messages|errors)|try (?:again )?later",)

_TO_US = tuple(stage for stage in Stage if stage <= Stage.MAIL)
_OF_ONE = (Stage.RCPT, Stage.DATA, Stage.BODY)
_BEFORE_BODY = (Stage.RCPT, Stage.DATA)

# The first row that fits decides.
_TABLE = (
    _Row(About.NOW, (Stage.GREETING, Stage.MAIL, *_BEFORE_BODY), r"\d+ 5\.3\.[12]$", _PASSES),
    _Row(About.LIMIT, codes=r"\d+ 5\.4\.5$", words=_LIMIT),
    _Row(About.SIZE, codes=r"\d+ 5\.(?:3\.4|6\.\d+)$"),
    _Row(About.SIZE, (Stage.MAIL, Stage.BODY), r"(?:552|523) (?!5\.2\.)", _TOO_BIG),
    # 5.2.252 and 5.7.12x to 5.7.13x are Exchange's: who may not send as whom, and whom a group takes mail from.
    _Row(
        About.US,
        codes=r"53[0458] |\d+ 5\.(?:1\.[78]|2\.252|7\.(?:2\d|30|54|57|60|64|139|[5-7]\d\d))$",
    ),
    _Row(
        About.RECIPIENT,
        _OF_ONE,
        r"\d+ 5\.(?:1\.(?:[1-6]|9|10)|2\.\d+|7\.(?:2|17|18|12\d|13[0-6]))$",
    ),
    _Row(About.RECIPIENT, _OF_ONE, words=(r"resolver\.rst",)),
    _Row(About.MAIL, (Stage.BODY,), words=_A_MAIL),
    _Row(About.US, words=_US),
    _Row(About.MAIL, (Stage.BODY,)),
    _Row(About.RECIPIENT, _BEFORE_BODY, words=_A_RECIPIENT),
    _Row(About.US, (*_BEFORE_BODY, Stage.GREETING), r"\d+ 5\.7\.\d+$", _POLICY),
    _Row(About.NOW, (Stage.GREETING,)),
    _Row(About.US, _TO_US),
    _Row(About.RECIPIENT),
)
