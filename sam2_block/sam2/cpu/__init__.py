"""SAM 2 on a CPU: the same arithmetic as Meta's modules, in blocks that stay in the caches."""
