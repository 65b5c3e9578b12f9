"""Where clients come in: the capture socket, jobs over REST, health."""
