"""SAM 2 on a CPU: the same arithmetic as Meta's modules, in an order that keeps to the caches."""
