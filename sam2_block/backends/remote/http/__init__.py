"""Requests over HTTP: connections, retries, deadlines, and errors that hold no key."""
