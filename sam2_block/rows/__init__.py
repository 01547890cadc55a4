"""Rows of detections: the input rows of prompts and the output rows of masks."""
