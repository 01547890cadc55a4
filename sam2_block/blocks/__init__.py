"""The blocks of the plugin: one folder a block, one module a version."""
