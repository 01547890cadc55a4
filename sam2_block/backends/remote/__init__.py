"""SAM 2 on a server, through the endpoints `/sam2/embed_image` and `/sam2/segment_image`."""
