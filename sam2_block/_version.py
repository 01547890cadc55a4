"""The version, in a module of its own so that the build reads it without any import."""

__version__ = "0.1.0"
