"""vLLM workers: started, locked down and metered. Knows the contract, nothing of portal or LiteLLM."""
