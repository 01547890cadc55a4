"""How SAM 2 computes: threads, cores, and tensors independent of the process's defaults."""
