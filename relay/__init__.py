"""A self-hosted relay that forwards Smartsupp live chats to email, Slack and Microsoft Teams."""

__version__ = "0.1.0"
