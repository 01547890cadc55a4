"""The project's benchmark: `python tools/benchmark`; see README.md here."""
