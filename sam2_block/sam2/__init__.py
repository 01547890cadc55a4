"""The network of SAM 2 alone: tensors in, tensors out."""
