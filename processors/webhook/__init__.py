"""Posts finished jobs to the addresses that their clients named."""
