"""The Whisper engine: audio in, text with times out."""
