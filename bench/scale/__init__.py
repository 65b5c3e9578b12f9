"""How many streams there can be."""
