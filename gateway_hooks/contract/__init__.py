"""What portal, gateway, workers and Celery agree on, and nothing else.

Frozen msgspec structs with a ``schema_version``; golden JSON of every past version lies in
``tests/contract/golden`` and must keep parsing. No I/O here.
"""
