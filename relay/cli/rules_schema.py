"""`relay schema`: what editors need to complete and check a rules file."""

import click

from relay.cli.printing import as_json
from relay.files import shipped
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
    """For the templates that come with the relay."""
    names = template_names((shipped("templates"),))
    return as_json(json_schema(TRANSPORTS, names, LANGUAGES))
