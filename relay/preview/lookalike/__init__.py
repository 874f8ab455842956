"""Messages as Slack, Teams and mail programs show them: similar enough to judge by, safe enough for any page.

Pure functions from the JSON that is sent to an HTML fragment. Whatever the JSON holds, the fragment has no script,
style attribute, form or outside resource, so that it fits the strictest Content-Security-Policy.
"""
