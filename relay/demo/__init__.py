"""`relay demo`: the relay in a scratch folder, with catchers in place of the mail server, Slack and Teams."""
