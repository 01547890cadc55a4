"""All that knows the formats of the Workflows engine."""
