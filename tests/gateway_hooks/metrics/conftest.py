from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway_hooks.metrics.metrics import Metrics

Read = Callable[..., float | None]


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[Metrics]:
    made = Metrics(tmp_path, process_id="host-1-abc_d")
    yield made
    made.close()


@pytest.fixture
def read(metrics: Metrics) -> Read:
    """The value of a sample by its name without the prefix, and its labels."""

    def value(name: str, **labels: str) -> float | None:
        for family in text_string_to_metric_families(metrics.render().decode()):
            for sample in family.samples:
                if sample.name == f"tenantry_gateway_{name}" and sample.labels == labels:
                    return float(sample.value)
        return None

    return value
