"""What half an hour does."""
