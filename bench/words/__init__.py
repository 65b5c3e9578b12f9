"""Word errors of the live path and of uploads, compared with faster-whisper on the whole file."""
