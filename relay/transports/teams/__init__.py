"""Microsoft Teams by a Workflows webhook: converts notifications to cards, posts them, classifies answers."""
