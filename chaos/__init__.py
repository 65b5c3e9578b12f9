"""Meetings while processes are killed, stopped and fooled; then the bus has to show that not a word was lost."""
