"""Reads a rules file: YAML, then nodes, then rules, with every problem reported at its place."""
