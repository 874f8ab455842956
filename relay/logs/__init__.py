"""Log records: their format, and a handler that never blocks (`log_format`)."""
