"""What is wrong with a webhook's address by its look alone. Nothing here quotes it: it is a secret."""

from urllib.parse import urlsplit

_HOSTS = {
    "Slack": ("hooks.slack.com", "hooks.slack-gov.com"),
    "Teams": (
        *(".logic.azure.com", ".logic.azure.us", ".powerplatform.com", ".powerautomate.com"),
        *(".webhook.office.com", "outlook.office.com", "outlook.office365.com"),
    ),
}
"""A host's name, or with a dot in front the end of one."""


def not_an_address(url: str) -> str:
    """Why it is no address that can be called; empty where it is one."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in {"https", "http"} and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or not url.isprintable() or " " in url:
        return "is not a web address"
    if "..." in url or "…" in url:
        return "is a placeholder, with dots in it; write the whole address"
    if "&amp;" in url:
        return "has &amp; in it, as the source of a page has; write & in its place"
    return ""


def host_of(url: str) -> str:
    """In small letters and without a dot at its end; empty for what is no web address."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def service_of(url: str) -> str:
    """`Slack` or `Teams`; empty for a host that belongs to neither."""
    host = host_of(url)
    return next(
        (
            service
            for service, ends in _HOSTS.items()
            if any(host == end or (end.startswith(".") and host.endswith(end)) for end in ends)
        ),
        "",
    )


def of_another_service(url: str, service: str) -> str:
    """Why the address can't be a webhook of `service`; empty where it can."""
    other = service_of(url)
    if other in {"", service}:
        return ""
    return f"is a webhook of {other}, not of {service}; are two of them exchanged?"
