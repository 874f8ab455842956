"""`relay init`: writes the first files of a new user. `relay schema`: prints the JSON Schema of the rules file for editors."""

from pathlib import Path

import click

from relay.cli.printing import as_json, could_not_run
from relay.files import copy_cases, copy_rules, copy_samples, create_private, shipped
from relay.rules import LANGUAGES
from relay.rules.json_schema import json_schema
from relay.runtime.startup import template_names
from relay.transports.registry import TRANSPORTS


@click.command()
def schema() -> None:
    """Print the JSON Schema of the rules file, for editors.

    Save it beside the rules file, and let the file's first line name it:

        # yaml-language-server: $schema=rules.schema.json
    """
    click.echo(schema_text())


def schema_text() -> str:
    """The JSON Schema of the rules file, with the templates that come with the relay."""
    names = template_names((shipped("templates"),))
    return as_json(json_schema(TRANSPORTS, names, LANGUAGES))


_SETTINGS = """\
# Settings of the relay. It holds secrets: keep it to yourself. The page Settings of the documentation has them all.
# Every `relay` command reads it where it lies beside rules.yaml; from elsewhere: relay --env-file FILE ...
# Keep the single quotes: webhooks hold &, passwords may hold $. Delete the # in front of what your rules use.

# RELAY_SMTP_URL='smtp+starttls://relay%40example.com:app-password@smtp.example.com:587'
# RELAY_MAIL_FROM='Chat relay <relay@example.com>'
# RELAY_PUBLIC_URL='https://relay.example.com'

# RELAY_SLACK_TOKEN='xoxb-...'
# SLACK_SUPPORT_WEBHOOK='https://hooks.slack.com/services/...'
# TEAMS_MANAGERS_WEBHOOK='https://....environment.api.powerplatform.com:443/...&sig=...'

# Words, languages and templates of your own: made by `relay translate` and `relay template`.
# RELAY_TEMPLATES=mytemplates
"""
_NEXT = """\
Next: edit {0}rules.yaml and {0}relay.env to suit you (rules.test.yaml too, where you delete rules), then run there
  relay check
  relay test
  relay preview samples/missed.json --open
  relay serve
and in another terminal, in the same folder:
  relay post samples/missed.json"""


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Write the files to start from into FOLDER (the current one): rules.yaml, cases that try it, its schema for
    editors, relay.env, sample chats.

    Files that are there already stay as they are.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        begun = copy_rules(folder / "rules.yaml")
        # Test cases only beside the rules that they test.
        cases = [("rules.test.yaml", copy_cases(folder / "rules.test.yaml"))] if begun else []
        for name, made in (
            ("rules.yaml", begun),
            *cases,
            ("rules.schema.json", _write_schema(folder / "rules.schema.json")),
            ("relay.env", _write_settings(folder / "relay.env")),
            ("samples", copy_samples(folder / "samples")),
        ):
            click.echo(f"{folder / name}: {'written' if made else 'was there already, and stays'}")
    except OSError as error:
        could_not_run([f"{error.filename or folder}: can't be written: {error.strerror}"])
    click.echo(_NEXT.format("" if folder == Path() else f"{folder}/"))


def _write_schema(path: Path) -> bool:
    if path.exists():
        return False
    path.write_text(f"{schema_text()}\n", encoding="utf-8")
    return True


def _write_settings(path: Path) -> bool:
    try:
        with create_private(path) as file:
            file.write(_SETTINGS.encode())
    except FileExistsError:
        return False
    return True
