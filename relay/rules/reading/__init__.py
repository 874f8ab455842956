"""A rules file -> YAML nodes -> rules, with every problem at its place."""
