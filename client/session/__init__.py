"""A capture and what keeps it going: connections, retries, and audio that is not acked yet."""
