"""The bodies that clients may send: an allow-list per endpoint, so that nothing passes by being new.

A parameter is allowed and checked, benign and dropped, or refused by name. What LiteLLM, vLLM or a template
would read from an unknown key never reaches them.
"""
