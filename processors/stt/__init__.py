"""Speech to text: utterances in, transcripts out."""
