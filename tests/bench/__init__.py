"""Measurements that a person starts; each prints one JSON object as its last line."""
