"""Jobs over HTTP: made, read, heard, exported, replayed and erased."""
