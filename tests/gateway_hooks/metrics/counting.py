"""A process that counts so many requests, says so, and waits to be ended."""

import sys
from pathlib import Path

from gateway_hooks.metrics.metrics import Metrics, State
from tests.gateway_hooks.metrics.events import event


def main() -> None:
    folder, process_id, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    metrics = Metrics(folder, process_id=process_id)
    for _ in range(count):
        metrics.observe_event(event(), "acme")
    metrics.observe_state(
        State(
            redis_up=True,
            redis_failures=1,
            snapshot_version=count,
            snapshot_age_seconds=1.0,
            spooled_events=count,
            in_flight={"pool-1": count},
        )
    )
    sys.stdout.write("counted\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
