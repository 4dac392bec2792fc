"""A service as ``up`` knows it, and how its output is named."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from portal.ops.probes import Probe


@dataclass(frozen=True, kw_only=True)
class Service:
    """A command to keep running. ``patience`` bounds the wait until ``ready``, ``grace`` the one at its end
    (both seconds). ``starting`` is called before each start."""

    name: str
    command: tuple[str, ...]
    ready: Probe
    starting: Callable[[], None] = lambda: None
    patience: float
    grace: float = 8.0
    stop_signal: signal.Signals = signal.SIGTERM
    user: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Step:
    """Services that start together, after ``before`` was done; ``before`` may raise ``OpsError``."""

    services: tuple[Service, ...] = ()
    title: str = ""
    before: Callable[[], None] | None = None
