"""Alerts: what the relay reports about its own problems, to the destinations in `alerts_to:`."""
