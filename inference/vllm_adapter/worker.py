"""The parts that this API server process shares between the door and the resolver.

vLLM builds both from bare names and hands them nothing, so they meet here.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gateway_hooks.contract.identity import parse_keyring
from inference.adapter_bank import AdapterBank
from inference.boot import read_boot
from inference.door import Door
from inference.settings import secret

NS_PER_SECOND = 1e9


@dataclass(frozen=True)
class Worker:
    door: Door
    bank: AdapterBank
    max_body_bytes: int


def build(environment: Mapping[str, str]) -> Worker:
    """Raises if the boot or the keys are missing: a worker without a door must not start."""
    boot = read_boot(environment)
    door = Door(
        parse_keyring(secret(environment, "TENANTRY_IDENTITY_KEYS")),
        worker_id=boot.worker_id,
        base_model=boot.pool.base_model,
        opened_at=boot.started_wall_ns / NS_PER_SECOND,
    )
    bank = AdapterBank(store=Path(boot.adapter_store), folder=boot.adapters, pool=boot.pool)
    return Worker(door, bank, boot.max_body_bytes)


@cache
def current() -> Worker:
    return build(os.environ)
