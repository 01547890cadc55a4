"""SAM 2 in this process, through PyTorch and Meta's own `sam2` package."""
