"""Personal data and secrets in texts: found, masked before the model sees them, restored in its answer.

Pure: no I/O, no LiteLLM, no Redis. ``ner`` alone starts processes.
"""
