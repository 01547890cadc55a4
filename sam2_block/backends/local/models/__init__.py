"""Models: finding, reading, loading and keeping their weights."""
