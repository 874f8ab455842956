"""The outbox on a PostgreSQL server, which several relays may share."""
