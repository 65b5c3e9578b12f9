"""Jobs, kept in Redis."""
