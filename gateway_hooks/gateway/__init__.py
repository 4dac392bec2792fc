"""What is ours around LiteLLM: paths, bodies, headers, errors, and one request's life from key to event."""
