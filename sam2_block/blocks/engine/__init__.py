"""Adapters to the data formats, declarations and errors of the Workflows engine."""
