"""`sam2_block/embed`: encodes an image before it is prompted."""
