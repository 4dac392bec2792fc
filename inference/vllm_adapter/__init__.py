"""The only package that knows vLLM. Verified against 0.32; policy and arithmetic live outside."""
