"""Models: find, read, load and share their weights."""
