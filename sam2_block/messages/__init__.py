"""Parts of messages to users."""
