"""What the environment says, read once into frozen values: `table` has every variable."""
