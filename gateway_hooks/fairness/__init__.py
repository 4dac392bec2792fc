"""Whose turn is it at a full pool? Weighted virtual token counters over all gateway processes.

``model`` is the rule in plain Python; ``script`` is the same rule in Lua, run atomically by Redis;
``ledger`` asks it; ``queue`` waits. ``docs/fairness.md`` states and proves what it promises.
"""
