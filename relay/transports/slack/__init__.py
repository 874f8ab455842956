"""Slack by incoming webhook or bot token: pack to blocks, post, sort the answers."""
