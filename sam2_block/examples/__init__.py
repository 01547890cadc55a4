"""Workflows and photos to try; `sam2-block examples` lists them."""
