"""Alerts: what the relay says about its own trouble, to the destinations in `alerts_to:`."""
