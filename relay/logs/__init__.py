"""Log lines: how they look (`log_format`), and how they get out without ever waiting (`log_handler`)."""
