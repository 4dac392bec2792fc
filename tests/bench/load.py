"""A small HTTP/1.1 load maker: keep-alive connections that send one fixed request again and again.

It does as little as possible, since it shares the machine with what it measures.
"""

import asyncio
import statistics
import time
from typing import NamedTuple
from urllib.parse import urlsplit


class Round(NamedTuple):
    """Latencies in milliseconds, and requests per second over the whole round."""

    p50_ms: float
    p95_ms: float
    per_second: float


def request_bytes(path: str, key: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _one_connection(
    url: str, request: bytes, deadline_count: "asyncio.Queue[None]", latencies: list[float]
) -> None:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        while not deadline_count.empty():
            deadline_count.get_nowait()
            started = time.perf_counter()
            writer.write(request)
            await _read_answer(reader)
            latencies.append((time.perf_counter() - started) * 1000)
    finally:
        writer.close()
        await writer.wait_closed()


async def _read_answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        message = f"not answered: {head[:200]!r} {await reader.read(500)!r}"
        raise RuntimeError(message)
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    await reader.readexactly(length)


async def _run(url: str, request: bytes, *, concurrency: int, count: int) -> Round:
    left: asyncio.Queue[None] = asyncio.Queue()
    for _ in range(count):
        left.put_nowait(None)
    latencies: list[float] = []
    started = time.perf_counter()
    await asyncio.gather(*(_one_connection(url, request, left, latencies) for _ in range(concurrency)))
    seconds = time.perf_counter() - started
    ordered = sorted(latencies)
    return Round(statistics.median(ordered), ordered[int(len(ordered) * 0.95)], count / seconds)


def run(url: str, request: bytes, *, concurrency: int, count: int) -> Round:
    return asyncio.run(_run(url, request, concurrency=concurrency, count=count))
