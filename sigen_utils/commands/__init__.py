"""What `python -m sigen_utils` does, by subject; the options are in `__main__`."""
