"""Which body parameters a configuration may set or bound, and what they are while nobody sends them."""

from gateway_hooks.gateway.body.endpoints import ENDPOINTS

OUTPUTS = frozenset(name for endpoint in ENDPOINTS for name in endpoint.outputs)
"""The output cap by its names; a default for one stands for that endpoint's own."""
STOPS = ("stop", "stop_sequences")
ALL_TOKENS = 0
"""``top_k`` up to here means: no limit (vLLM)."""

UNSENT = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": ALL_TOKENS,
    "min_p": 0.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "repetition_penalty": 1.0,
    "n": 1,
}
"""Parameters that may be bounded, and the API's values where a request has none: bounds hold then, too."""

_CLIENTS_OWN = frozenset(
    {
        "model", "messages", "prompt", "input", "system", "instructions", "stream", "stream_options", "tools",
        "tool_choice", "parallel_tool_calls", "echo", "n", "logprobs", "top_logprobs", "encoding_format",
        "dimensions",
    }
)  # fmt: skip
DEFAULTABLE = (
    frozenset(name for endpoint in ENDPOINTS for name in endpoint.allowed) - _CLIENTS_OWN - set(STOPS)
)
