"""May this request run now? All limits of all scopes at once, or none.

``ask`` is the question, ``decision`` the answer; ``rule`` is the rule in plain Python, ``admit_script`` and
``end_scripts`` are the same in Lua, run atomically by Redis; ``redis_ledger`` asks it, ``lease_keeper`` keeps
what runs, and ``allowance`` is what happens while Redis is away.
"""
