"""The certificate authorities that the relay trusts, and descriptions of untrusted certificates."""

import ssl
from pathlib import Path

_EXPIRED, _NOT_YET = {10}, {9}
_UNKNOWN_ISSUER = {2, 19, 20, 21, 27}
_SELF_SIGNED = {18}
_OTHER_NAME = {62, 63, 64}
_CAUSES = (
    (_EXPIRED, "it has expired"),
    (_NOT_YET, "it is not valid yet"),
    (_SELF_SIGNED, "it is self-signed"),
    (_UNKNOWN_ISSUER, "its issuer is not known here"),
    (_OTHER_NAME, "it is for another host name"),
)
"""OpenSSL's error numbers (X509_V_ERR_...) and their meanings."""
_PLAIN_TEXT = {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
"""The texts of OpenSSL for an answer in plain text."""


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return the TLS settings for connections to servers, which trust the system's authorities and those in the file."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def untrusted(error: object) -> str:
    """Return why a certificate is not trusted, as the end of a sentence about its server.

    For example `has a certificate that can't be trusted: it has expired (...)`.
    """
    words = "has a certificate that can't be trusted"
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"{words}: {error}"
    number = getattr(error, "verify_code", 0)
    text = getattr(error, "verify_message", "") or getattr(error, "reason", "") or "no reason given"
    cause = next((cause for numbers, cause in _CAUSES if number in numbers), "")
    return f"{words}: {cause} ({text})" if cause else f"{words}: {text}"


def is_plain_text(error: BaseException | None) -> bool:
    """Whether the server answered the TLS handshake with plain text."""
    return isinstance(error, ssl.SSLError) and error.reason in _PLAIN_TEXT
