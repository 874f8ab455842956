"""A self-hosted relay from Smartsupp's live chat to mail, Slack and Microsoft Teams."""

__version__ = "0.1.0"
