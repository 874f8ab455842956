"""Posts chats as signed JSON to another system."""
