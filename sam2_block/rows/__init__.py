"""Rows of detections: what comes in with a prompt, and what goes out with its mask."""
