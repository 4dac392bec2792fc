from collections.abc import Iterator

import pytest

from tests.gateway_hooks.processes import OwnRedis
from tests.gateway_hooks.routing.fleet import Fleet, open_fleet


@pytest.fixture(scope="session")
def open_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    own = OwnRedis(folder)
    own.start()
    try:
        with open_fleet(folder, own, "worker-1", "worker-2", "worker-3") as fleet:
            yield fleet
    finally:
        own.kill()


@pytest.fixture
def fleet(open_workers: Fleet) -> Fleet:
    """Two gateways and three workers, all alive at the start of a test."""
    open_workers.restart_dead()
    return open_workers
