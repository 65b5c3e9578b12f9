"""Tells a job's owner over HTTP that the job is finished, and what came of it."""
