"""Speech to text: utterances in, transcripts out."""

import os

# The libraries below the engine share each small piece of work between threads that then spin while they wait for each
# other: with anything else at work on the machine an inference takes several times as long, and the features before it
# ten times. Both read this when they are loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
