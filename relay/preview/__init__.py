"""Previews of what would be sent for a chat, as files. The real transports send it to stand-ins on this computer."""
