"""Decides when messages are sent: opening hours, digests, limits and mutes. Uses no clock and no database."""
