"""The console: registry, prices, ledger. Owns the truth in PostgreSQL; never on a request's path."""
