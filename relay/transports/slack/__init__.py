"""Slack by incoming webhook or bot token: converts notifications to blocks, posts them, and classifies the answers."""
