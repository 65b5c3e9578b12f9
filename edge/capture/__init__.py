"""The capture socket: audio in, acknowledgements, transcript segments and the summary out."""
