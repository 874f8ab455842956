"""The outbox in an SQLite file, used by one relay at a time."""
