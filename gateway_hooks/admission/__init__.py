"""May this request run now? All limits of all scopes at once, or none.

``model`` is the rule in plain Python; ``script`` is the same rule in Lua, run atomically by Redis;
``ledger`` asks it; ``outage`` is what happens while Redis is away.
"""
