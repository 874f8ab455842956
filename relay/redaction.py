"""Secrets taken out of what is shown: logs, errors, the words of servers, lines of the rules file.

Two nets: `redact` finds what looks like a secret, whoever's it is; `Known` finds the relay's own, and parts of them.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from html import escape
from urllib.parse import quote, quote_plus, unquote

STARS = "***"

# -- what looks like a secret ----------------------------------------------------------------------------------

_NAMES = "sig|signature|token|code|key|api_?key|secret|client_secret|password|passwd|pwd|access_token|refresh_token"
_SHAPES = tuple(
    (hint, re.compile(shape))
    for hint, shape in (
        ("/hooks/smartsupp/", r"(/hooks/smartsupp/)(?!\*)[^\s\"'?]+"),
        (
            "slack",
            r"((?i:hooks\.slack(?:-gov)?\.com)/(?:services|workflows|triggers)/)(?!\*)[^\s\"'<>]+",
        ),
        ("=", rf"([?&;](?i:{_NAMES})=)(?!\*)[^\s&\"'<>]+"),
        ("xox", r"\b(xox[a-z.]*(?:-|%2[Dd]))[\w.%-]+"),
        ("whsec_", r"\b(whsec_)[\w+/=-]+"),
        ("relay_", r"\b(relay_)[A-Za-z0-9]{49}\b"),
        ("xapp", r"\b(xapp(?:-|%2[Dd]))[\w.%-]+"),
        ("://", r"(://[^\s/:@]*:)[^\s/@]+(?=@)"),
        ("bearer", r"\b((?i:bearer)\s+)(?!xox)(?=\S*(?:[0-9=]|[a-z][A-Z]))[\w.~+/=-]{8,}"),
        ("basic", r"\b((?i:basic)\s+)(?=\S*(?:[0-9=]|[a-z][A-Z]))[\w+/=-]{8,}"),
        *(
            (name, rf"((?i:{name})[\"']?\s*[:=]\s*[\"']?)(?!\*)[^\s\"'&,;}}<]+")
            for name in ("access_token", "refresh_token", "id_token", "client_secret", "assertion")
        ),
        ("password", r"((?i:password)(?:[\"']\s*:\s*[\"']|=[\"']?))(?!\*)[^\s\"'&,;}<]+"),
    )
)
"""What stands in lower case in each text that has the shape, and the shape: the group stays, the rest is taken out."""
_ADDRESS = re.compile(r"(?i)\b(https?://)(?!\*)[^\s/?#<>\"']+[^\s<>\"']*")
_BEHIND_HOST = re.compile(r"(https?://[^/\s\"']*/)[^\s\"',}\]]+")
_LONG = re.compile(r"()[A-Za-z0-9_+/=-]{32,}")
_VALUE = re.compile(
    r"""((?i:password|passwd|pwd|secret|token|api_?key)["']?\s*:\s*)(?!["']?\$|[*\s]|xox)"""
    r"""(?:"[^"]*"?|'[^']*'?|[^\s,}\]]+)"""
)
"""In YAML, where only a name such as $CRM_SECRET may stand."""


def redact(text: str) -> str:
    """A text without what looks like a secret: tokens, passwords in URLs, the part of a webhook's URL that lets somebody in."""
    lower = text.lower()
    for hint, shape in _SHAPES:
        if hint in lower:
            text = shape.sub(rf"\g<1>{STARS}", text)
    return text


def redact_addresses(text: str) -> str:
    """A text without secrets and web addresses: for words of servers, which may say back what they were called by."""
    return redact(_ADDRESS.sub(rf"\g<1>{STARS}", text))


def redact_line(line: str) -> str:
    """A line of the rules file with as many stars as there were characters, so that columns stay what they are.

    Such a file is no place for secrets: whatever is long enough to be one is taken for one.
    """
    for shape in (_BEHIND_HOST, *(shape for _, shape in _SHAPES), _VALUE, _LONG):
        line = shape.sub(lambda found: found[1] + "*" * len(found[0][len(found[1]) :]), line)
    return line


_NO_PATH = r"(?i:://|^//[^/]*@|%3a%2f|xox|xapp-|hooks\.slack|[?&;]sig=)"
_HOLDS_ONE = re.compile(
    rf"{_NO_PATH}|@|[0-9a-f]{{24,}}|(?=[\w.~+=-]*[0-9])(?=[\w.~+=-]*[a-z])(?=[\w.~+=-]*[A-Z])[\w.~+=-]{{16,}}"
)


def may_hold_secret(text: str) -> bool:
    """Whether a setting's value may be a secret, or hold one: then it is not quoted in an error."""
    return _HOLDS_ONE.search(text) is not None


def may_name_file(text: str) -> bool:
    """Whether a text may be the name of a file: not where somebody gave the secret itself in its place."""
    is_path = text.startswith(("/", "./", "../"))
    return not re.search(_NO_PATH, text) and (is_path or "@" not in text)


# -- known secrets ---------------------------------------------------------------------------------------------

SHORTEST = 8
"""Characters. A shorter part of a secret may be shown; a shorter secret is found only where it stands alone, from 4 on."""
_STEP = 5
"""How far apart parts are looked for: each part of 8 characters has one of 4 that begins at a multiple of 5."""
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)


class Known:
    """Secrets, found whole and in parts of 8 characters or more, also as they are spelled in URLs, forms, JSON and pages."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._parts: set[str] = set()
        self._beginnings: set[str] = set()
        self._short: set[str] = set()
        self._alone: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Find these secrets, too, from now on."""
        for secret in secrets:
            for spelled, is_ordinary in _spellings(secret):
                self._learn(spelled.translate(_LOWER), is_ordinary)
        shorts = sorted(self._short, key=len, reverse=True)
        words = "|".join(map(re.escape, shorts))
        self._alone = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) if words else None

    def _learn(self, spelled: str, is_ordinary: str) -> None:
        if SHORTEST // 2 <= len(spelled) < SHORTEST:
            self._short.add(spelled)
        for start in range(len(spelled) - SHORTEST + 1):
            # Half of it at least is secret: `/manual/` of a flow's URL would be found in ordinary words.
            if is_ordinary.count("1", start, start + SHORTEST) <= SHORTEST // 2:
                part = spelled[start : start + SHORTEST]
                self._parts.add(part)
                self._beginnings.update(part[i : i + 4] for i in range(_STEP))

    def mask(self, text: str) -> str:
        """The text with stars in place of each secret, and of each part of one."""
        lower = text.lower() if text.isascii() else text.translate(_LOWER)
        shown, end = [], 0
        for start, stop in self._found(lower):
            shown += [text[end:start], STARS]
            end = stop
        text = "".join((*shown, text[end:]))
        return self._alone.sub(STARS, text) if self._alone else text

    def _found(self, lower: str) -> Iterator[tuple[int, int]]:
        """Where they stand, in their order; what overlaps or touches is one."""
        begins = ends = -1
        for near in range(0, len(lower), _STEP):
            if lower[near : near + 4] not in self._beginnings:
                continue
            for start in range(max(near - _STEP + 1, 0), near + 1):
                if lower[start : start + SHORTEST] not in self._parts:
                    continue
                if start > ends >= 0:
                    yield begins, ends
                    begins = -1
                begins, ends = (start if begins < 0 else begins), start + SHORTEST
        if ends >= 0:
            yield begins, ends


class Redactor:
    """Takes out both known secrets and what looks like one.

    Secrets that were known once stay so: an attempt that began before they were renewed may still be under way.
    """

    def __init__(self) -> None:
        self._known = Known()

    def know(self, secrets: Iterable[str]) -> None:
        """Take these secrets out of every text from now on."""
        self._known.add(secrets)

    def __call__(self, text: str) -> str:
        return redact(self._known.mask(text))


@lru_cache(maxsize=32)
def _known(secrets: tuple[str, ...]) -> Known:
    return Known(secrets)


def redact_answer(text: str, secrets: Iterable[str] = ()) -> str:
    """What a server said, without addresses, tokens or `secrets`, and without characters that are not seen."""
    return redact_addresses(_known(tuple(secrets)).mask(_INVISIBLE.sub("", text)))


# -- what is secret in a secret --------------------------------------------------------------------------------

_WORDS = re.compile(
    "(?i:api|api-version|automations|direct|environments?|flows?|hooks?|incoming|incomingwebhook|invoke|manual|paths?|"
    "powerautomate|providers|rest|run|services|sp|sv|teams|triggers?|webhooks?|webhookb2|workflows?)"
)
"""Parts that many webhooks' addresses have, and that are no secret."""
_NUMBER = re.compile(r"v?\d{1,4}(?:\.\d+)*|\d{4}-\d\d-\d\d(?:-preview)?")
_WORD = re.compile(r"[a-z]{1,12}")
_BETWEEN = re.compile(r"([/?&=#;:@]|%2[Ff])")


def _pieces(secret: str) -> Iterator[tuple[str, bool]]:
    """Its pieces in their order, and whether each is ordinary: of a web address the scheme, the host and common words.

    Whatever is no web address is secret throughout.
    """
    scheme, separator, rest = secret.partition("://")
    if not separator:
        yield secret, False
        return
    end = min((rest.find(sign) for sign in "/?#" if sign in rest), default=len(rest))
    login, _, host = rest[:end].rpartition("@")
    yield f"{scheme}://", True
    yield login, False
    yield f"@{host}" if login else host, True
    pieces = [*_BETWEEN.split(rest[end:]), ""]
    for index in range(0, len(pieces) - 1, 2):
        piece, follows = pieces[index : index + 2]
        yield piece, _is_ordinary(piece, ends=follows not in {"/", "=", "%2F", "%2f"})
        yield follows, True


def _is_ordinary(piece: str, *, ends: bool) -> bool:
    """`ends`: a path's last segment, or a value of the query."""
    if _WORDS.fullmatch(piece) or _NUMBER.fullmatch(piece):
        return True
    return not ends and _WORD.fullmatch(piece) is not None


def _spellings(secret: str) -> Iterator[tuple[str, str]]:
    """The ways in which a secret may be said back, each beside a text with a 1 for every ordinary character."""
    secret = secret.encode("utf-8", "replace").decode()
    pieces = list(_pieces(secret))
    seen = set()
    for spell in _SPELLINGS:
        spelled = [(spell(piece), "01"[ordinary]) for piece, ordinary in pieces]
        text = "".join(piece for piece, _ in spelled)
        if text not in seen:
            seen.add(text)
            yield text, "".join(mark * len(piece) for piece, mark in spelled)
    coded = base64.b64encode(secret.encode()).decode().rstrip("=")
    yield coded, "0" * len(coded)


def _quote_whole(text: str) -> str:
    return quote(text, safe="")


_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    unquote,
    quote,
    quote_plus,
    _quote_whole,
    lambda text: _quote_whole(_quote_whole(text)),
    escape,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
)
"""Ways in which a secret may be written: as it is, and as in a URL, a form, a page, JSON."""
