"""The ways to run SAM 2, behind one protocol."""
