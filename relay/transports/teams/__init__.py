"""Microsoft Teams by a Workflows webhook: converts notifications to Adaptive Cards, posts them,
classifies the answers.
"""
