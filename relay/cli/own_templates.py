"""Where commands put what users change: the folder that RELAY_TEMPLATES names, or else `mytemplates`."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from relay.runtime.startup import OWN_TEMPLATES


def own_folder(variables: Mapping[str, str]) -> Path:
    """It may not be there yet."""
    return Path(variables.get("RELAY_TEMPLATES", "").strip() or OWN_TEMPLATES)


def how_to_use_it(variables: Mapping[str, str]) -> Iterator[str]:
    """What is still to be done for the relay to find the folder."""
    if not variables.get("RELAY_TEMPLATES", "").strip():
        yield f"For the relay to find it, put this line into relay.env: RELAY_TEMPLATES={OWN_TEMPLATES}"
        yield "A relay that runs has to be restarted for that."
