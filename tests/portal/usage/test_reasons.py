"""Every code by which a gateway refuses has words and a remedy."""

import pytest

from gateway_hooks.errors import Code
from portal.usage.reasons import REASONS, reason

NEW = ("context_cap", "kv_budget", "queue_full", "queue_timeout", "gateway_lost")


@pytest.mark.parametrize("code", sorted({*(code.value for code in Code), *NEW}))
def test_a_refusal_is_explained(code: str) -> None:
    assert code in REASONS
    assert REASONS[code].what.endswith(".")


def test_a_code_of_a_newer_gateway_is_shown_as_it_is() -> None:
    assert "brand_new" in reason("brand_new").what
