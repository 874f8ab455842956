"""From a claimed delivery to a settled one: when it may start, one attempt, what follows, and who gets it instead."""
