"""What we count is what vLLM counts: the demo model, and one under a template that uses everything."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway_hooks.contract.identity import parse_keyring
from gateway_hooks.contract.snapshot import Pool
from gateway_hooks.tokens.counter import TokenCounter
from gateway_hooks.tokens.dialects import conversation_of
from gateway_hooks.tokens.store import TokenizerStore
from tests.gateway_hooks.processes import OwnRedis
from tests.gateway_hooks.tokens import folders
from tests.gateway_hooks.tokens.conversations import CHAT, COMPLETIONS, RESPONSES, TURNS, WITH_TOOLS
from tests.inference.live import LiveWorker, Signer, await_ready, demo_pool, end, publish, start_worker

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]


class Engine(NamedTuple):
    worker: LiveWorker
    pool: Pool
    counter: TokenCounter

    def counted(self, endpoint: str, fields: dict[str, Any]) -> int:
        return asyncio.run(self.counter.count(self.pool, endpoint, fields))

    def reported(self, path: str, fields: dict[str, Any]) -> int:
        output = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
        answer = self.worker.post({**fields, output: 1, "temperature": 0}, path=path)
        assert answer.status_code == 200, answer.text
        usage = answer.json()["usage"]
        return int(usage["input_tokens"] if path == "/v1/responses" else usage["prompt_tokens"])


@pytest.fixture(scope="module", params=["demo", "talkative"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    data: Path = tmp_path_factory.mktemp(request.param)
    model = folders.demo() if request.param == "demo" else folders.talkative(data / "model")
    pool = demo_pool(model=str(model), max_loras=0)
    keyring = f"test:{secrets.token_hex(32)}"
    store = TokenizerStore(None)
    store.refresh([pool])
    own = OwnRedis(data)
    own.start()
    signer = Signer(parse_keyring(keyring), worker_id=f"counted-{request.param}")
    worker = start_worker(
        redis_url=own.url, data=data / "worker", keyring_text=keyring, signer=signer, wait=False
    )
    try:
        publish(worker.redis, pool)
        await_ready(worker)
        yield Engine(worker, pool, TokenCounter(store))
    finally:
        end(worker)
        own.kill()


@pytest.mark.parametrize("name", CHAT)
def test_a_chat_counts_exactly(engine: Engine, name: str):
    fields = CHAT[name]

    assert engine.counted("chat.completions", fields) == engine.reported("/v1/chat/completions", fields)


@pytest.mark.parametrize("name", COMPLETIONS)
def test_a_completion_counts_exactly(engine: Engine, name: str):
    fields = COMPLETIONS[name]

    assert engine.counted("completions", fields) == engine.reported("/v1/completions", fields)


@pytest.mark.parametrize("name", WITH_TOOLS)
def test_tools_and_calls_count_exactly_but_for_their_margin(engine: Engine, name: str):
    fields = WITH_TOOLS[name]
    margin = conversation_of("chat.completions", fields).margin

    reported = engine.reported("/v1/chat/completions", fields)

    assert engine.counted("chat.completions", fields) == reported + margin


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_counts_exactly_but_for_its_margin(engine: Engine, name: str):
    fields = RESPONSES[name]
    margin = conversation_of("responses", fields).margin

    assert engine.counted("responses", fields) == engine.reported("/v1/responses", fields) + margin


def test_ten_turns_count_exactly(engine: Engine):
    fields = {"messages": [TURNS[0], *(TURNS[1:3] * 10), TURNS[3]]}

    assert engine.counted("chat.completions", fields) == engine.reported("/v1/chat/completions", fields)
