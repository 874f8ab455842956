"""The outbox in a file of its own, used by one relay at a time."""
