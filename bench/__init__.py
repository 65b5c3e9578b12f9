"""Measurements on the whole system: each program prints a table, and a JSON object as its last line."""
