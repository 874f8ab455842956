"""`relay demo`: the relay on a scratch folder, with catchers standing in for the mail server, Slack and Teams."""
