"""Voice activity detection: audio to speech segments."""
