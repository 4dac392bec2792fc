"""The one door to LiteLLM (pinned 1.106.2). What is known of its traps is answered here or in the wrapper."""
