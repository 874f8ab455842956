"""What a running relay works by: everything checked at the start, the rules in force, and how a saved file takes effect."""
