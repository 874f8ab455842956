"""What a person can ask for, apart from how they ask: without click, HTTP or HTML."""
