"""One product for all end-to-end tests: starting it takes most of a minute."""

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.product import Product, running_product


@pytest.fixture(scope="session")
def product() -> Iterator[Product]:
    with running_product() as product:
        yield product


@pytest.fixture(scope="session")
def api(product: Product) -> Iterator[httpx.Client]:
    """The REST API as the admin."""
    with product.api() as client:
        yield client
