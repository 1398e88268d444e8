"""What `python -m sigen_utils` can be told to do, by subject; the words of it stand in `__main__`."""
