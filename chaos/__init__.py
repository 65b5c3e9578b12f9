"""Meetings at once while every kind of process is killed, stopped and fooled; then the bus has to show that not a word was lost."""
