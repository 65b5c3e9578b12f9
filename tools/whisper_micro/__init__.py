"""The recipe of models/whisper-micro: see README.md beside this file."""
