"""What would be sent for a chat, as files. It is sent, by the real transports, to stand-ins on this computer."""
