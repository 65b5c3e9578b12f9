"""The records of jobs, in Redis."""
