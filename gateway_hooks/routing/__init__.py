"""Alias -> version -> worker: which target serves a request, on which of the workers, and which do not."""

from gateway_hooks.routing.fleet import follow, read_workers
from gateway_hooks.routing.table import WorkerTable
from gateway_hooks.routing.versions import resolve

__all__ = ["WorkerTable", "follow", "read_workers", "resolve"]
