"""Blocks that encode an image ahead of the prompts on it."""
