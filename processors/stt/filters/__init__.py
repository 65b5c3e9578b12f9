"""What is not speech does not become text: before the engine by sound, behind it by text."""
