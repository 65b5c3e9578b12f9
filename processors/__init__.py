"""Programs that read the bus and write to it, a folder each; a new one needs no line anywhere else."""
