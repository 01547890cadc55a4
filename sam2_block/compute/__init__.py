"""Where SAM 2 computes: threads, cores, and tensors whatever the process's defaults are."""
