"""What a connection holds."""
