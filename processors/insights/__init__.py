"""Figures of a conversation: talk time, pace, pauses, monologues and keywords."""
