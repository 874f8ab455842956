"""Microsoft Teams by a Workflows webhook: pack to an Adaptive Card, post, sort the answers."""
