"""Alerts: what the relay tells of its own trouble, to the destinations that `alerts_to:` names."""
