"""REST: creating, reading, exporting, replaying and erasing jobs over HTTP."""
