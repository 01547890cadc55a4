"""`sam2_block/segment`: boxes and points become masks."""
