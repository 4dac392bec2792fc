"""What the gateway counts of itself, for Prometheus: over all its processes, without any client's text."""
