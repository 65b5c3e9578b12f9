"""Which utterance is decoded when, with what others, and by which model."""
