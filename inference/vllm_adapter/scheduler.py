"""vLLM's scheduler, metered: a thin skin that tells ``inference.recorder`` what happens when.

The interface is not public in vLLM, so this file is the one to check when its version moves.
"""

import os
import time
from typing import Any

import msgspec
import vllm
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.request import Request, RequestStatus

from gateway_hooks.contract.usage import FinishReason
from inference.boot import EngineFacts, read_boot, write_atomically
from inference.facts import read_facts
from inference.meter import Outcome, Part
from inference.process import die_with_parent
from inference.recorder import Recorder
from inference.vllm_adapter import logs
from inference.vllm_adapter.stop_strings import tokens_until_stop

_REASONS: dict[RequestStatus, FinishReason] = {
    RequestStatus.FINISHED_STOPPED: "stop",
    RequestStatus.FINISHED_REPETITION: "stop",
    RequestStatus.FINISHED_LENGTH_CAPPED: "length",
    RequestStatus.FINISHED_IGNORED: "length",
    RequestStatus.FINISHED_ABORTED: "abort",
    RequestStatus.FINISHED_ERROR: "error",
}


class MeteringScheduler(AsyncScheduler):  # type: ignore[misc]  # vLLM publishes no types to us
    """Serves the synchronous mode as well as the asynchronous one with two batches in flight."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        logs.speak()
        die_with_parent()
        boot = read_boot(os.environ)
        self._recorder = Recorder(boot)
        self._cached_tokens: dict[str, int] = {}
        self._tokenizer = getattr(self.structured_output_manager, "tokenizer", None)
        blocks = self.cache_config.num_gpu_blocks
        facts = EngineFacts(
            kv_cache_tokens=blocks * self.block_size if blocks else None, vllm_version=vllm.__version__
        )
        write_atomically(boot.engine_file, msgspec.json.encode(facts))

    def add_request(self, request: Request) -> None:
        super().add_request(request)
        parameters = request.sampling_params
        extra = parameters.extra_args if parameters is not None else None
        self._recorder.arrived(request.request_id, read_facts(extra, request.request_id))

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        started_ns = time.monotonic_ns()
        output = super().schedule(*args, **kwargs)
        if output.num_scheduled_tokens:
            parts = [self._part(name, tokens) for name, tokens in output.num_scheduled_tokens.items()]
            self._recorder.scheduled(parts, started_ns=started_ns)
        return output

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        # After the engine's own bookkeeping: that is work for these requests too. Steps without tokens
        # were not announced.
        if scheduler_output.num_scheduled_tokens:
            self._recorder.updated()
        return outputs

    def shutdown(self) -> None:
        self._recorder.close()
        super().shutdown()

    def _free_request(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        # Stops, lengths, aborts and errors all end here, once.
        self._recorder.finished(request.request_id, self._outcome(request))
        return super()._free_request(request, *args, **kwargs)

    def _part(self, request_id: str, tokens: int) -> Part:
        request = self.requests[request_id]
        if request.prefill_stats is not None:
            # As the engine will report it in `usage`: the first prefill's hits, not a repeated one's.
            self._cached_tokens[request_id] = request.prefill_stats.num_cached_tokens
        blocks = self.kv_cache_manager.get_blocks(request_id).blocks
        return Part(
            request_id=request_id,
            tokens=tokens,
            computed_before=request.num_computed_tokens - tokens,
            prompt_tokens=request.num_prompt_tokens,
            preemptions=request.num_preemptions,
            kv_blocks=sum(len(group) for group in blocks),
        )

    def _outcome(self, request: Request) -> Outcome:
        stopped_at = tokens_until_stop(request, self._tokenizer)
        return Outcome(
            reason=_REASONS[request.status] if stopped_at is None else "stop",
            prompt_tokens=request.num_prompt_tokens,
            cached_tokens=self._cached_tokens.pop(request.request_id, 0),
            completion_tokens=request.num_output_tokens if stopped_at is None else stopped_at,
            preemptions=request.num_preemptions,
        )
