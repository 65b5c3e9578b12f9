"""How many streams a speech worker keeps up with."""
