"""Removes secrets from logs, errors, servers' answers and quoted lines of the rules file.

`redact` finds anything that looks like a secret; `KnownSecrets` finds the relay's own secrets and parts of
them.
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
"""Pairs of a lower-case text that each match contains, and the pattern: its group is kept, the rest is replaced."""
_ADDRESS = re.compile(r"(?i)\b(https?://)(?!\*)[^\s/?#<>\"']+[^\s<>\"']*")
_BEHIND_HOST = re.compile(r"(https?://[^/\s\"']*/)[^\s\"',}\]]+")
_LONG = re.compile(r"()[A-Za-z0-9_+/=-]{32,}")
_VALUE = re.compile(
    r"""((?i:password|passwd|pwd|secret|token|api_?key)["']?\s*:\s*)(?!["']?\$|[*\s]|xox)"""
    r"""(?:"[^"]*"?|'[^']*'?|[^\s,}\]]+)"""
)
"""Secret values in YAML, where only a name such as $CRM_SECRET is allowed."""


def redact(text: str) -> str:
    """Return the text with tokens, passwords in URLs and the secret parts of webhook URLs replaced by stars."""
    lower = text.lower()
    for hint, shape in _SHAPES:
        if hint in lower:
            text = shape.sub(rf"\g<1>{STARS}", text)
    return text


def redact_addresses(text: str) -> str:
    """Return the text with secrets and web addresses replaced by stars: servers may repeat a webhook's URL."""
    return redact(_ADDRESS.sub(rf"\g<1>{STARS}", text))


def redact_line(line: str) -> str:
    """Return a line of the rules file with each secret replaced by as many stars, so that columns stay right.

    Any text that is long enough to be a secret is replaced.
    """
    for shape in (_BEHIND_HOST, *(shape for _, shape in _SHAPES), _VALUE, _LONG):
        line = shape.sub(lambda match: match[1] + "*" * len(match[0][len(match[1]) :]), line)
    return line


_NO_PATH = r"(?i:://|^//[^/]*@|%3a%2f|xox|xapp-|hooks\.slack|[?&;]sig=)"
_MAY_HOLD_SECRET = re.compile(
    rf"{_NO_PATH}|@|[0-9a-f]{{24,}}|(?=[\w.~+=-]*[0-9])(?=[\w.~+=-]*[a-z])(?=[\w.~+=-]*[A-Z])[\w.~+=-]{{16,}}"
)


def may_hold_secret(text: str) -> bool:
    """Whether a setting's value may contain a secret; an error then does not quote it."""
    return _MAY_HOLD_SECRET.search(text) is not None


def may_name_file(text: str) -> bool:
    """Whether a text may be a file's name, and not the secret itself written by mistake."""
    is_path = text.startswith(("/", "./", "../"))
    return not re.search(_NO_PATH, text) and (is_path or "@" not in text)


# -- known secrets ---------------------------------------------------------------------------------------------

SHORTEST = 8
"""The shortest part of a secret that is hidden, in characters. A secret of 4 to 7 characters is
hidden only as a whole word.
"""
_STEP = 5
"""The distance between searched positions: each part of 8 characters contains 4 characters that
begin at a multiple of 5.
"""
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)


class KnownSecrets:
    """Finds known secrets and parts of them from 8 characters, also as encoded in URLs, forms, JSON and HTML."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._parts: set[str] = set()
        self._beginnings: set[str] = set()
        self._short: set[str] = set()
        self._alone: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Add secrets, which are found from now on."""
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
            # Require half of a part to be secret: `/manual/` in a webhook's URL would match ordinary words.
            if is_ordinary.count("1", start, start + SHORTEST) <= SHORTEST // 2:
                part = spelled[start : start + SHORTEST]
                self._parts.add(part)
                self._beginnings.update(part[i : i + 4] for i in range(_STEP))

    def mask(self, text: str) -> str:
        """Return the text with each secret, and each part of one, replaced by stars."""
        lower = text.lower() if text.isascii() else text.translate(_LOWER)
        parts, end = [], 0
        for start, stop in self._spans(lower):
            parts += [text[end:start], STARS]
            end = stop
        text = "".join((*parts, text[end:]))
        return self._alone.sub(STARS, text) if self._alone else text

    def _spans(self, lower: str) -> Iterator[tuple[int, int]]:
        """Yield the start and end of each secret in order; overlapping and adjacent ones are merged."""
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
    """Replaces known secrets and anything that looks like one.

    Replaced secrets stay known, because an attempt that uses them may still be running.
    """

    def __init__(self) -> None:
        self._known_secrets = KnownSecrets()

    def add(self, secrets: Iterable[str]) -> None:
        """Add secrets that are removed from every text from now on."""
        self._known_secrets.add(secrets)

    def __call__(self, text: str) -> str:
        return redact(self._known_secrets.mask(text))


@lru_cache(maxsize=32)
def _known_secrets(secrets: tuple[str, ...]) -> KnownSecrets:
    return KnownSecrets(secrets)


def redact_answer(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a server's answer without web addresses, tokens, `secrets` and invisible characters."""
    return redact_addresses(_known_secrets(tuple(secrets)).mask(_INVISIBLE.sub("", text)))


# -- what is secret in a secret --------------------------------------------------------------------------------

_WORDS = re.compile(
    "(?i:api|api-version|automations|direct|environments?|flows?|hooks?|incoming|incomingwebhook|invoke|manual|paths?|"
    "powerautomate|providers|rest|run|services|sp|sv|teams|triggers?|webhooks?|webhookb2|workflows?)"
)
"""Words that occur in many webhook URLs and are not secret."""
_NUMBER = re.compile(r"v?\d{1,4}(?:\.\d+)*|\d{4}-\d\d-\d\d(?:-preview)?")
_WORD = re.compile(r"[a-z]{1,12}")
_BETWEEN = re.compile(r"([/?&=#;:@]|%2[Ff])")


def _pieces(secret: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a secret in order, each with whether it is ordinary.

    In a web address the scheme, the host and common words are ordinary; in any other secret nothing
    is.
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
    """Whether a part of a URL is a common word or number.

    `ends`: the part is the last of the path, or a value of the query.
    """
    if _WORDS.fullmatch(piece) or _NUMBER.fullmatch(piece):
        return True
    return not ends and _WORD.fullmatch(piece) is not None


def _spellings(secret: str) -> Iterator[tuple[str, str]]:
    """Yield the spellings of a secret, each with a text that has a 1 for every ordinary character."""
    secret = secret.encode("utf-8", "replace").decode()
    pieces = list(_pieces(secret))
    texts = set()
    for spell in _SPELLINGS:
        spelled = [(spell(piece), "01"[ordinary]) for piece, ordinary in pieces]
        text = "".join(piece for piece, _ in spelled)
        if text not in texts:
            texts.add(text)
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
"""The encodings of a secret that are searched: plain, URL, form, HTML and JSON."""
