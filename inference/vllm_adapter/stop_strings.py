"""Stop strings as vLLM's API server sees them, looked for in EngineCore.

Only the API server knows stop strings: on a match it reports the tokens up to there and aborts the
request, and the engine, which ran on for a step or two, would call it an abort of more tokens. The same
detokenizer over the same tokens finds the same place, so the engine's event agrees with ``usage``.
"""

from typing import Any

from vllm.v1.engine.detokenizer import IncrementalDetokenizer
from vllm.v1.request import Request, RequestStatus


def tokens_until_stop(request: Request, tokenizer: Any) -> int | None:
    """How many output tokens it takes to complete a stop string; None if there is none in them."""
    parameters = request.sampling_params
    if tokenizer is None or parameters is None or not parameters.stop or not request.num_output_tokens:
        return None
    detokenizer = IncrementalDetokenizer.from_new_request(tokenizer, request)
    ended_by_token = request.status == RequestStatus.FINISHED_STOPPED
    found = detokenizer.update(list(request.output_token_ids), ended_by_token)
    return None if found is None else detokenizer.num_output_tokens()
