"""Commands, as a person runs them."""

from pathlib import Path

from click.testing import CliRunner, Result

from relay.cli import main

_MAIL = {"RELAY_SMTP_URL": "smtp://127.0.0.1:2525", "RELAY_MAIL_FROM": "relay@example.com"}


def relay(*arguments: str | Path, given: bytes = b"", **environment: str) -> Result:
    """Run a command with nothing of the relay in the environment but what is given."""
    # None takes a variable away, so that the tests don't depend on where they run.
    clean = dict.fromkeys(("RELAY_RULES", "RELAY_TEMPLATES", *_MAIL))
    return CliRunner().invoke(
        main, [str(each) for each in arguments], input=given, env={**clean, **environment}
    )


def check(*arguments: str | Path, **environment: str) -> Result:
    """`relay check` where mail is set up."""
    variables = {**_MAIL, **environment}
    return relay("check", *arguments, **variables)  # type: ignore[arg-type]
