"""Finishes closed jobs: waits for their transcripts, writes the summary and stores the result."""
