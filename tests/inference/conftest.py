"""One live vLLM worker for all tests of this folder, on a Redis of its own."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_hooks.contract.identity import parse_keyring
from inference.demo_model import voices
from portal.ops.embedded import free_port
from portal.ops.layout import Layout, ensure_secrets
from tests.inference.live import (
    LiveWorker,
    Signer,
    await_ready,
    demo_pool,
    end,
    publish,
    start_worker,
    store_adapter,
)
from tests.services import PrivateRedis, data_folder


@pytest.fixture(scope="session")
def worker_redis() -> Iterator[PrivateRedis]:
    """Not the tests' common Redis, which every test may empty."""
    layout = Layout.of(data_folder())
    layout.prepare()
    ensure_secrets(layout)
    private = PrivateRedis(layout, free_port())
    private.start()
    yield private
    private.stop()


@pytest.fixture(scope="session")
def keyring_text() -> str:
    return f"test:{secrets.token_hex(32)}"


@pytest.fixture(scope="session")
def worker_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worker")


@pytest.fixture(scope="session")
def adapters(worker_data: Path) -> dict[str, str]:
    """Digests of the demo adapters in the worker's store, by name."""
    return {
        name: store_adapter(voices.adapter_folder(name), worker_data / "adapters")
        for name in voices.ADAPTER_SENTENCES
    }


@pytest.fixture(scope="session")
def worker(
    worker_redis: PrivateRedis, keyring_text: str, worker_data: Path, adapters: dict[str, str]
) -> Iterator[LiveWorker]:
    """Ready, with both demo adapters in its store."""
    assert adapters
    signer = Signer(parse_keyring(keyring_text), worker_id="live-1")
    started = start_worker(
        redis_url=worker_redis.url, data=worker_data, keyring_text=keyring_text, signer=signer, wait=False
    )
    try:
        publish(started.redis, demo_pool())
        await_ready(started)
        yield started
    finally:
        end(started)
