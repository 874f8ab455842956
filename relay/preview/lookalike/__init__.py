"""Messages as Slack, Teams and mail programs show them: similar enough to judge by, safe enough for any page.

Pure functions from the JSON that is sent to an HTML fragment. Whatever the JSON holds, the fragment has no script,
style attribute, form or outside resource, so that it fits the strictest Content-Security-Policy.
"""

from collections.abc import Callable, Mapping

from relay.preview.lookalike.slack_post import SLACK_CSS, slack_post_html
from relay.preview.lookalike.teams_card import TEAMS_CSS, teams_card_html

LOOKALIKES: Mapping[str, Callable[..., str]] = {"slack": slack_post_html, "teams": teams_card_html}
"""By transport: the function from a message, and the `time` of its arrival in words, to HTML, which it escapes."""
LOOKALIKE_CSS = f"{SLACK_CSS}\n{TEAMS_CSS}"
