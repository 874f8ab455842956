"""Classifies a mail server's refusal: does it concern the relay, one recipient or one email?

Enhanced codes alone are ambiguous: x.7.1 is used for a forbidden relay, a blocked address and spam (RFC 3463).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from aiosmtplib.response import SMTPResponse

from relay.languages import N_
from relay.transports import Ending
from relay.transports.cures import CHECK, FAILED, SEND_TEST, Row
from relay.transports.email.failure import Stage


class About(Enum):
    """The cause of a refusal: what must change before such an email is accepted."""

    US = "us"
    """The relay's login, address or network: no email is accepted until somebody changes the settings."""
    RECIPIENT = "recipient"
    MAIL = "mail"
    SIZE = "size"
    """The size or format: the short form may be accepted."""
    LIMIT = "limit"
    """The account has reached its daily or hourly limit."""
    NOW = "now"
    """Nothing: the refusal is permanent only by its code."""


# At the start of a line, or after a number sign as qmail writes it, but no IP address.
_ENHANCED = re.compile(r"(?:^\s*|#)([245]\.\d{1,3}\.\d{1,3})\b(?!\.\d)", re.MULTILINE)


def enhanced_code(reply: SMTPResponse) -> str:
    """Return the enhanced code of a reply, such as `5.7.1` (RFC 3463); empty if it has none."""
    return match[1] if (match := _ENHANCED.search(reply.message)) else ""


def refusal(stage: Stage, reply: SMTPResponse) -> "Refusal":
    """Return the kind of a permanent refusal (5yz) at this stage."""
    codes, words = f"{reply.code} {enhanced_code(reply)}", " ".join(reply.message.split())
    return next(row for row in REFUSALS if row.fits(stage, codes, words))


def is_about_room(reply: SMTPResponse) -> bool:
    """Whether a temporary refusal (4yz) says that the mailbox is full."""
    return re.search("|".join(_FULL_WORDS), reply.message, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind of refusal, which fits if its stages include the stage, and its codes or words match the reply."""

    about: About
    cure: Row
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


_BROKEN, _REFUSED, _LATER = Ending.DESTINATION_BROKEN, Ending.REFUSED, Ending.LATER
NOTHING = Row(
    "`421`, `450`, `451` and others from 400 on; `5.3.1`, `5.3.2`, *too many connections*, *try again later*",
    _LATER,
    N_("The server is busy or lets newcomers wait: the relay comes back by itself."),
    once=N_("The server is busy or lets newcomers wait: send the test again in a few minutes."),
)
FULL_NOW = Row(
    "`4.2.2`; *mailbox full* and *over quota* after a number from 400 on",
    _LATER,
    N_("The mailbox is full: its owner has to make room, and the relay tries again meanwhile."),
    once=N_("The mailbox is full: its owner has to make room."),
)
FULL = Row(
    "`5.2.2`; *mailbox full* and *over quota* after a number from 500 on",
    _REFUSED,
    N_("The mailbox is full: its owner has to make room, then send the notification again."),
    FAILED,
)
_LIMIT = Row(
    "`5.4.5`, *daily limit exceeded*",
    _LATER,
    N_(
        "The account has sent as many mails as it may: the relay tries again every hour; a larger plan or another server takes more."
    ),
    once=N_("The account has sent as many mails as it may: a larger plan takes more."),
)
SIZE = Row(
    "`552`, `5.3.4`, `5.6.x`, *message too large*",
    _REFUSED,
    N_(
        "The mail is too large for the server, even in its short form: shorten the template, or have the server take more."
    ),
    FAILED,
)
_NO_PASSWORDS = Row(
    "`5.7.30`, `5.7.139`, *basic authentication is disabled*",
    _BROKEN,
    N_(
        "Logins with a password are turned off there: log in with OAuth, as the page Mail of the documentation tells."
    ),
    CHECK,
)
LOGIN = Row(
    "`535`, `534`, and any other refusal of the login",
    _BROKEN,
    N_(
        "The login is refused: check user name and password in RELAY_SMTP_URL, and use an app password where the provider wants one."
    ),
    CHECK,
)
_NEEDS_LOGIN = Row(
    "`530`, *authentication required*, *log in first*",
    _BROKEN,
    N_("The server wants a login, and an encrypted connection: write both into RELAY_SMTP_URL."),
    CHECK,
)
_SEND_AS = Row(
    "`5.7.60`, `5.2.252`, *SendAsDenied*, *not owned by user*",
    _BROKEN,
    N_(
        "The login may not send as the address of RELAY_MAIL_FROM: use an address of its own, or allow it to send as this one."
    ),
    SEND_TEST,
)
_DNS = Row(
    "`5.7.23`, `5.7.26`, `5.7.509`, *SPF*, *DKIM*, *DMARC*",
    _BROKEN,
    N_(
        "The DNS of the domain in RELAY_MAIL_FROM does not let this server send for it: add it to SPF, and set up DKIM."
    ),
    SEND_TEST,
)
_HELO = Row(
    "*Helo command rejected*",
    _BROKEN,
    N_(
        "The server does not accept the name that the relay gives: write the host's own name with ?helo= in RELAY_SMTP_URL."
    ),
    SEND_TEST,
)
_REVERSE_DNS = Row(
    "`5.7.25`, *cannot find your reverse hostname*, *PTR*",
    _BROKEN,
    N_(
        "The IP address of this host has no name in reverse DNS: have your provider set one, or use a server with a login."
    ),
    SEND_TEST,
)
_BLOCKED = Row(
    "*blocked using*, *your IP*, *reputation*, `5.7.606`, `5.7.708`",
    _BROKEN,
    N_(
        "The IP address of this host is blocked: follow the link in the answer to be taken off the list, or use a server with a login."
    ),
    SEND_TEST,
)
_RELAYING = Row(
    "*relaying denied*, `5.7.54`, `5.7.64`",
    _BROKEN,
    N_(
        "The server takes no mail for other domains from this host: log in with RELAY_SMTP_URL, or have its administrator allow this host."
    ),
    SEND_TEST,
)
_SENDER = Row(
    "`5.1.7`, `5.1.8`, *sender address rejected*",
    _BROKEN,
    N_(
        "The server does not accept the sender: write an address into RELAY_MAIL_FROM that exists and that you may use."
    ),
    SEND_TEST,
)
_ACCOUNT = Row(
    "*your account*",
    _BROKEN,
    N_(
        "Something is wrong with the account at the mail server: log in to it, or ask whoever runs the server."
    ),
    SEND_TEST,
)
_US = Row(
    "any other refusal of the relay itself, such as *denied by policy*",
    _BROKEN,
    N_("The server takes no mail from this relay: ask whoever runs it, with its answer at hand."),
    SEND_TEST,
)
_RECIPIENT = Row(
    "`550`, `5.1.x`, *user unknown*, *no such user*, and any other refusal of a recipient",
    _REFUSED,
    N_(
        "The server does not take mail for this recipient: correct the address in the rules file, then send the notification again."
    ),
    FAILED,
)
_GROUP = Row(
    "`5.7.12x`, `5.7.13x`, *not in allowed-senders list*",
    _REFUSED,
    N_(
        "The recipient takes mail from some senders only: let its owner allow the address of RELAY_MAIL_FROM."
    ),
    FAILED,
)
_MAIL = Row(
    "*spam*, *virus*, *content rejected*, and any other refusal of the mail itself",
    _REFUSED,
    N_(
        "The server does not like what the mail says: let its spam filter pass mails from RELAY_MAIL_FROM."
    ),
    FAILED,
)

# -- words of refusals -----------------------------------------------------------------------------------------

# Actions that the relay is not allowed.
_RELAYING_WORDS = (
    r"relaying|(?:relay|relay access|mail relay)(?: is)? (?:denied|not|prohibited|forbidden|refused|rejected)",
    r"(?:not?|n't|to|as a|open) relay|rcpthosts",
)
_SEND_AS_WORDS = (r"send ?as|send on behalf|not owned|permissions? to (?:send|submit)",)
_MAY_NOT_SEND_WORDS = (r"(?:not|n't) (?:allowed|authori[sz]ed|permitted) to (?:send|submit|use)",)
_ACCOUNT_WORDS = (r"your account|sending (?:is |was )?(?:paused|suspended|disabled|blocked)",)
# The relay's login.
_LOGIN_WORDS = (
    r"(?:un)?authenticat|smtp auth|auth (?:is )?required|auth (?:command )?first|log(?:ged)? ?in|sign in|starttls",
)
# The relay's network.
_REVERSE_DNS_WORDS = (r"ptr\b|r(?:everse )?dns|reverse (?:host)?name",)
_BLOCKED_WORDS = (
    r"ips?\b|(?:client|sending|connecting|remote|source) (?:host|server|domain|ip|address|\[)",
    r"your (?:[\w-]+ )?(?:host|hostname|server|mail ?server|domain|network|address|mta)\b",
    r"(?:black|block|deny|ban)[ -]?(?:list|hole)|blocked using|(?<!not )listed (?:at|in|on|by)|dnsbl|rbls?\b|spamhaus|spamcop",
    r"reputation|banned",
)
# The relay's name.
_HELO_WORDS = (r"helo|ehlo",)
_DNS_WORDS = (r"spf\b|dkim\b|dmarc\b",)
_SENDER_WORDS = (
    r"badmailfrom|sender[ -]?id\b|envelope sender",
    r"sender (?:address |domain |verif\w+ |is |was )*(?:rejected|denied|refused|failed|not|blocked|invalid|unknown)",
    r"domain of sender|from address|(?:address|domain|sender)(?: \S+)? is not verified|identit(?:y|ies) failed",
)
_NO_PASSWORDS_WORDS = (r"basic auth\w* (?:is )?disabled",)
_FULL_WORDS = (r"mailbox (?:is )?full|over ?quota|quota exceeded|exceed\w* (?:\w+ ){0,2}quota",)
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
_LIMITED = (
    r"(?:hourly|daily|weekly|monthly|send(?:ing|er)?|out(?:going|bound)) (?:[\w-]+ ){0,4}(?:limit|quota|rate)\b",
    r"(?:limit|quota)\w* (?:[\w-]+ ){0,4}(?:(?:per|a|an) (?:day|hour)|for sender)|(?:rate|message|mail) limit\b|too many (?:recipients|e?-?mails)\b",
)
_PASSES = (r"too many (?:concurrent|connections|sessions|messages|errors)|try (?:again )?later",)

_TO_US = tuple(stage for stage in Stage if stage <= Stage.MAIL)
_BEFORE_BODY, _SINGLE = (Stage.RCPT, Stage.DATA), (Stage.RCPT, Stage.DATA, Stage.BODY)

# The first that fits is used.
REFUSALS = (
    Refusal(
        About.NOW,
        NOTHING,
        (Stage.GREETING, Stage.MAIL, *_BEFORE_BODY),
        r"\d+ 5\.3\.[12]$",
        _PASSES,
    ),
    Refusal(About.LIMIT, _LIMIT, codes=r"\d+ 5\.4\.5$", words=_LIMITED),
    Refusal(About.SIZE, SIZE, codes=r"\d+ 5\.(?:3\.4|6\.\d+)$"),
    Refusal(About.SIZE, SIZE, (Stage.MAIL, Stage.BODY), r"(?:552|523) (?!5\.2\.)", _TOO_BIG),
    # 5.2.252 and 5.7.12x to 5.7.13x are Exchange's: forbidden senders, and closed groups.
    Refusal(About.US, _NO_PASSWORDS, codes=r"\d+ 5\.7\.(?:30|139)$", words=_NO_PASSWORDS_WORDS),
    Refusal(About.US, _NEEDS_LOGIN, codes=r"530 |\d+ 5\.7\.57$"),
    Refusal(About.US, LOGIN, (Stage.LOGIN,), r"53[0458] "),
    Refusal(About.US, LOGIN, codes=r"53[458] "),
    Refusal(About.US, _SENDER, codes=r"\d+ 5\.1\.[78]$"),
    Refusal(About.US, _SEND_AS, codes=r"\d+ 5\.(?:2\.252|7\.60)$"),
    Refusal(About.US, _REVERSE_DNS, codes=r"\d+ 5\.7\.25$"),
    Refusal(About.US, _RELAYING, codes=r"\d+ 5\.7\.(?:54|64)$"),
    Refusal(About.US, _DNS, codes=r"\d+ 5\.7\.(?:2\d|509)$"),
    Refusal(About.US, _BLOCKED, codes=r"\d+ 5\.7\.[5-7]\d\d$"),
    Refusal(About.RECIPIENT, FULL, _SINGLE, r"\d+ 5\.2\.2$"),
    Refusal(About.RECIPIENT, _GROUP, _SINGLE, r"\d+ 5\.7\.(?:12\d|13[0-6])$", (r"resolver\.rst",)),
    Refusal(
        About.RECIPIENT, _RECIPIENT, _SINGLE, r"\d+ 5\.(?:1\.(?:[1-6]|9|10)|2\.\d+|7\.(?:2|17|18))$"
    ),
    Refusal(About.MAIL, _MAIL, (Stage.BODY,), words=_A_MAIL),
    Refusal(About.US, LOGIN, (Stage.LOGIN,)),
    Refusal(About.US, _SEND_AS, words=_SEND_AS_WORDS),
    Refusal(About.US, _DNS, words=_DNS_WORDS),
    Refusal(About.US, _HELO, words=_HELO_WORDS),
    Refusal(About.US, _RELAYING, words=_RELAYING_WORDS),
    Refusal(About.US, _REVERSE_DNS, words=_REVERSE_DNS_WORDS),
    Refusal(About.US, _BLOCKED, words=_BLOCKED_WORDS),
    Refusal(About.US, _NEEDS_LOGIN, words=_LOGIN_WORDS),
    Refusal(About.US, _ACCOUNT, words=_ACCOUNT_WORDS),
    Refusal(About.US, _SENDER, words=_SENDER_WORDS),
    Refusal(About.US, _SEND_AS, words=_MAY_NOT_SEND_WORDS),
    Refusal(About.MAIL, _MAIL, (Stage.BODY,)),
    Refusal(About.RECIPIENT, FULL, _BEFORE_BODY, words=_FULL_WORDS),
    Refusal(About.RECIPIENT, _RECIPIENT, _BEFORE_BODY, words=_A_RECIPIENT),
    Refusal(About.US, _US, (*_BEFORE_BODY, Stage.GREETING), r"\d+ 5\.7\.\d+$", _POLICY),
    Refusal(About.NOW, NOTHING, (Stage.GREETING,)),
    Refusal(About.US, _US, _TO_US),
    Refusal(About.RECIPIENT, _RECIPIENT),
)

_OUR_DNS = re.compile(r"4\.7\.2[0-35-7]$")
_MAY_BE_US = re.compile(r"4\.(?:1\.[78]|7\.(?!24$|28$)\d+)$")
_SURELY_US = re.compile(
    r"(?i)relay(?:ing| access) denied|blocked using|dnsbl|helo command rejected|reverse hostname"
)
_FOR_A_WHILE = re.compile(
    r"(?i)gr[ae]y|\b(?:try|trying|retry|again|later|temporar\w*|transient|wait|defer\w*|delay\w*|busy|load|moments?|minutes?"
    r"|seconds?|hours?|soon|too (?:many|much|fast|frequent)\w*|rates?|throttl\w*|limit\w*|exceed\w*|quota|resources"
    r"|could not|can't be|unable|timed? ?out|servfail|lookup|local (?:problem|error)|come back|not available)\b"
)


def refusal_of_us(stage: Stage, reply: SMTPResponse) -> Refusal | None:
    """Return the kind of a temporary refusal (4yz) that concerns the relay and so does not pass by itself; else None."""
    enhanced, words = enhanced_code(reply), " ".join(reply.message.split())
    of_us = _MAY_BE_US.match(enhanced) or _SURELY_US.search(words)
    passes = not _OUR_DNS.match(enhanced) and (not of_us or _FOR_A_WHILE.search(words))
    if passes or stage in {Stage.TLS, Stage.LOGIN}:
        return None
    permanent = refusal(stage, SMTPResponse(550, f"5{enhanced[1:]} {words}" if enhanced else words))
    return permanent if permanent.about is About.US and permanent.cure is not _US else None
