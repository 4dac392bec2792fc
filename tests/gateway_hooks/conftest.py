from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway_hooks.house import House, open_house
from tests.gateway_hooks.processes import OwnRedis


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway and a stand-in worker, shared by all live tests; each test moves in its own customer."""
    folder: Path = tmp_path_factory.mktemp("gateway")
    own = OwnRedis(folder)
    own.start()
    try:
        with open_house(folder, own) as opened:
            yield opened
    finally:
        own.kill()
