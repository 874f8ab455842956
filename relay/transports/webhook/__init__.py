"""Chats as signed JSON, posted to another system."""
