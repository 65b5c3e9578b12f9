"""What opening and closing costs."""
