"""`sam2_block/segment`: turns boxes and points into masks."""
