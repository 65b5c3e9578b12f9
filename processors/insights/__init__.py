"""How a meeting is spoken: talk time, pace, pauses, monologues, and words to watch for."""
