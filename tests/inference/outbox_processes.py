"""The two ends of an outbox as processes, to be killed: ``write ROOT BOOT N`` and ``ship URL ROOT``."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import redis

from gateway_hooks.contract.usage import WorkerInterval, encode_event
from inference.outbox import Outbox
from inference.shipping import Shipping

SEGMENT_BYTES = 20_000


def write(root: Path, boot: str, count: int) -> None:
    outbox = Outbox(root / boot, max_bytes=1 << 30, segment_bytes=SEGMENT_BYTES)
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    for number in range(count):
        event = WorkerInterval(
            event_id=f"{boot}-{number}",
            worker_id="w",
            boot_id=boot,
            pool_id="p",
            start=moment,
            end=moment,
            startup_ns=0,
            busy_ns=number,
            steps=1,
        )
        outbox.append([encode_event(event)])
        print(number, flush=True)  # noqa: T201 - tells the test how far it got


def ship_forever(url: str, root: Path) -> None:
    shipping = Shipping(redis.Redis.from_url(url), root, live_boot="live")
    shipping.start()
    sys.stdin.read()
    shipping.finish(seconds=10)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "write":
        write(Path(arguments[0]), arguments[1], int(arguments[2]))
    else:
        ship_forever(arguments[0], Path(arguments[1]))
