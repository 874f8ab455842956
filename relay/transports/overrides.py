"""Which transports a template may have JSON of its own for: `<name>.json`. A new one adds a line.

Apart from the registry, as the processes that render open no transport and need no HTTP.
"""

from collections.abc import Mapping

from relay.override import Finish
from relay.transports.slack import override as slack
from relay.transports.teams import override as teams

OVERRIDES: Mapping[str, Finish] = {"slack": slack.finish, "teams": teams.finish}
