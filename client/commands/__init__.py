"""The commands: `stenobus X` is in `x.py`."""
