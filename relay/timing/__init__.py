"""When a destination is told: opening hours, digests, limits and mutes. Pure: no clock, no database."""
