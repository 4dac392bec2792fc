"""What is counted at the door is what reaches the worker, whatever LiteLLM makes of the body in between."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway_hooks.gateway.body.endpoints import BY_PATH
from gateway_hooks.gateway.body.parse import parse
from gateway_hooks.tokens.counter import TokenCounter
from gateway_hooks.tokens.store import TokenizerStore
from tests.gateway_hooks.house import Customer, House
from tests.gateway_hooks.tokens import folders
from tests.gateway_hooks.tokens.conversations import (
    CHAT,
    COMPLETIONS,
    DEVELOPER,
    MESSAGES,
    RESPONSES,
    WITH_TOOLS,
)

pytestmark = pytest.mark.live

EXACT = [
    *(("/v1/chat/completions", fields) for fields in [*CHAT.values(), DEVELOPER]),
    # Token ids are no matter here: nothing in them could be translated.
    ("/v1/completions", COMPLETIONS["text"]),
]
BOUNDED = [
    *(("/v1/chat/completions", fields) for fields in WITH_TOOLS.values()),
    *(("/v1/responses", fields) for fields in RESPONSES.values()),
    *(("/v1/messages", fields) for fields in MESSAGES.values()),
]
UPSTREAM = {
    "/v1/chat/completions": "chat.completions",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
}


@pytest.fixture(scope="module")
def customer(house: House) -> Customer:
    return house.move_in("counted")


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> tuple[TokenCounter, Any]:
    folder: Path = folders.talkative(tmp_path_factory.mktemp("tokenizer") / "model")
    pool = folders.pool(folder)
    store = TokenizerStore(None)
    store.refresh([pool])
    return TokenCounter(store), pool


def counts(
    house: House, customer: Customer, counter: tuple[TokenCounter, Any], path: str, fields: dict[str, Any]
) -> tuple[int, int]:
    """(tokens of what the client sent, tokens of what the worker got), each with its margin."""
    by, pool = counter
    output = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
    asked = {"model": "base", output: 5, **fields}
    answer = customer.client.post(path, json=asked)
    assert answer.status_code == 200, answer.text
    sent = house.seen(customer)[-1]
    checked = parse(answer.request.content, BY_PATH[path]).fields
    at_the_door = asyncio.run(by.count(pool, BY_PATH[path].name, checked))
    return at_the_door, asyncio.run(by.count(pool, UPSTREAM[sent["path"]], sent["body"]))


@pytest.mark.parametrize(("path", "fields"), EXACT)
def test_a_plain_body_reaches_the_worker_as_it_was_counted(
    house: House, customer: Customer, counter: tuple[TokenCounter, Any], path: str, fields: dict[str, Any]
):
    at_the_door, at_the_worker = counts(house, customer, counter, path, fields)

    assert at_the_door == at_the_worker


@pytest.mark.parametrize(("path", "fields"), BOUNDED)
def test_a_translated_body_reaches_the_worker_no_longer_than_it_was_counted(
    house: House, customer: Customer, counter: tuple[TokenCounter, Any], path: str, fields: dict[str, Any]
):
    at_the_door, at_the_worker = counts(house, customer, counter, path, fields)

    assert at_the_door >= at_the_worker
