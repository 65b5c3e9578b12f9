"""Speech to text: utterances in, transcripts out."""

import os

# OpenMP and OpenBLAS split small operations over threads that spin while they wait for each other. On a busy machine
# inference then takes several times as long, and feature extraction ten times. Both libraries read these variables
# when they are loaded, so this must come before any import of them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
