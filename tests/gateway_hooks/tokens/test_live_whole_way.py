"""Client, gateway, LiteLLM, vLLM: counted at the door, reported by the engine, one event at either end."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from gateway_hooks.contract.identity import parse_keyring
from gateway_hooks.contract.snapshot import Pool, Snapshot
from gateway_hooks.contract.usage import EngineEvent, GatewayEvent
from gateway_hooks.gateway.body.endpoints import BY_PATH
from gateway_hooks.gateway.body.parse import parse
from gateway_hooks.tokens.counter import TokenCounter
from gateway_hooks.tokens.store import TokenizerStore
from tests.gateway_hooks import processes, world
from tests.gateway_hooks.house import Customer, House
from tests.gateway_hooks.processes import OwnRedis, wait_for
from tests.gateway_hooks.tokens import folders
from tests.gateway_hooks.tokens.conversations import CHAT, COMPLETIONS, MESSAGES, RESPONSES, WITH_TOOLS
from tests.inference.live import LiveWorker, Signer, await_ready, end, start_worker

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]

MARGIN = 200
CHAT_PATH, COMPLETIONS_PATH = "/v1/chat/completions", "/v1/completions"
SEVERAL: dict[str, Any] = {"n": 3, "temperature": 1.0, "seed": 7, "max_tokens": 12}


@dataclass
class RealHouse(House):
    """A gateway before a real worker."""

    pool: Pool = world.POOL
    worker: LiveWorker | None = None
    asked: dict[str, int] = field(default_factory=dict)

    def snapshot(self) -> Snapshot:
        return msgspec.structs.replace(super().snapshot(), pools={self.pool.id: self.pool})

    def ends(self, customer: Customer) -> tuple[GatewayEvent, EngineEvent]:
        """What both ends say of the customer's newest request, which each of them tells once."""
        assert self.worker is not None
        count = self.asked[customer.tenant.id] = self.asked.get(customer.tenant.id, 0) + 1
        told = self.event(customer, count)
        engine = self.worker.event(told.request_id)
        assert [event.request_id for event in self.worker.engine_events()].count(told.request_id) == 1
        return told, engine


@pytest.fixture(scope="module")
def whole_way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHouse]:
    folder: Path = tmp_path_factory.mktemp("whole-way")
    pool = folders.pool(
        folders.talkative(folder / "model"), max_model_len=1024, max_num_batched_tokens=1024, max_loras=0
    )
    own = OwnRedis(folder)
    own.start()
    environment = processes.environment(folder, own.url)
    keyring = os.environ["TENANTRY_IDENTITY_KEYS"]
    with redis.Redis.from_url(own.url) as client:
        house = RealHouse(url="", worker_url="", redis=client, pool=pool)
        house.publish()
        house.worker = start_worker(
            redis_url=own.url,
            data=folder / "worker",
            keyring_text=keyring,
            signer=Signer(parse_keyring(keyring), worker_id="real-1"),
            pool=pool.name,
            wait=False,
        )
        try:
            await_ready(house.worker)
            with processes.gateway(environment, folder / "gateway.log") as url:
                house.url = url
                wait_for(lambda: processes.answers(url + "/readyz"), seconds=20, what="the gateway is ready")
                yield house
        finally:
            for opened in house.clients:
                opened.close()
            end(house.worker)
            own.kill()


@pytest.fixture(scope="module")
def customer(whole_way: RealHouse) -> Customer:
    moved_in = whole_way.move_in("whole")
    stranger = whole_way.move_in("stranger")
    wait_for(
        lambda: stranger.chat("hello", model="base").status_code == 200,
        seconds=20,
        what="the worker is routed to",
    )
    return moved_in


@pytest.fixture(scope="module")
def counter(whole_way: RealHouse) -> TokenCounter:
    store = TokenizerStore(None)
    store.refresh([whole_way.pool])
    return TokenCounter(store)


@pytest.mark.parametrize(
    ("path", "fields", "margin"),
    [
        (CHAT_PATH, CHAT["turns"], 0),
        (CHAT_PATH, CHAT["parts"], 0),
        (COMPLETIONS_PATH, COMPLETIONS["text"], 0),
        (CHAT_PATH, WITH_TOOLS["calls"], MARGIN),
        ("/v1/responses", RESPONSES["text"], MARGIN),
        ("/v1/responses", RESPONSES["items"], MARGIN),
        ("/v1/messages", MESSAGES["text"], MARGIN),
        ("/v1/messages", {**MESSAGES["blocks"], "tool_choice": {"type": "none"}}, MARGIN),
    ],
)
def test_the_engine_reports_what_the_door_counted(
    whole_way: RealHouse,
    customer: Customer,
    counter: TokenCounter,
    path: str,
    fields: dict[str, Any],
    margin: int,
):
    output = "max_output_tokens" if path == "/v1/responses" else "max_tokens"

    answer = customer.client.post(path, json={"model": "base", output: 4, **fields})
    told, engine = whole_way.ends(customer)

    assert answer.status_code == 200, answer.text
    checked = parse(answer.request.content, BY_PATH[path]).fields
    counted = asyncio.run(counter.count(whole_way.pool, BY_PATH[path].name, checked))
    assert told.prompt_tokens == engine.prompt_tokens
    assert engine.prompt_tokens <= counted <= engine.prompt_tokens + margin


@pytest.mark.parametrize(
    ("path", "fields"), [(CHAT_PATH, CHAT["one"]), (COMPLETIONS_PATH, COMPLETIONS["text"])]
)
def test_three_answers_are_one_request(
    whole_way: RealHouse, customer: Customer, path: str, fields: dict[str, Any]
):
    answer = customer.client.post(path, json={"model": "base", **SEVERAL, **fields})
    told, engine = whole_way.ends(customer)

    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    assert len(answer.json()["choices"]) == 3
    for event in (told, engine):
        assert event.prompt_tokens == usage["prompt_tokens"]
        assert event.completion_tokens == usage["completion_tokens"]
    assert told.reserved_tokens >= usage["prompt_tokens"] + 3 * SEVERAL["max_tokens"]


@pytest.mark.parametrize(
    ("path", "fields"), [(CHAT_PATH, CHAT["one"]), (COMPLETIONS_PATH, COMPLETIONS["text"])]
)
def test_three_streamed_answers_keep_their_places_and_ends(
    whole_way: RealHouse, customer: Customer, path: str, fields: dict[str, Any]
):
    answer = customer.client.post(path, json={"model": "base", **SEVERAL, **fields, "stream": True})
    told, engine = whole_way.ends(customer)

    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    assert {choice["index"] for choice in choices} == {0, 1, 2}
    assert {choice["index"] for choice in choices if choice.get("finish_reason")} == {0, 1, 2}
    assert told.completion_tokens == engine.completion_tokens
