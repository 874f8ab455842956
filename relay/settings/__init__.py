"""The settings in environment variables, read once into immutable values; `table` lists every variable."""
