"""Meetings while processes are killed and stopped; afterwards the bus must show that not a word was lost."""
