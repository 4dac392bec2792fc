"""One usage event per request: into the stream, or on this machine's disk until Redis is back."""
