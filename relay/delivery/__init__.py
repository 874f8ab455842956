"""From a claimed delivery to a settled one: when it may start, one attempt, what follows, and the fallback."""
