"""The state of a running relay: everything checked at the start, the rules in force, and how saved files take effect."""
