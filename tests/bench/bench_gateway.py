"""The gateway with all its hooks against bare LiteLLM: the same uvicorn settings, the same stand-in backend.

``python -m tests.bench.bench_gateway`` prints progress, and as its last line one JSON object.
Rounds are interleaved, so that whatever else the machine does meets both.
"""

import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import encode_record
from gateway_hooks.contract.snapshot import Limits, encode_snapshot
from tests.bench.load import Round, request_bytes, run
from tests.gateway_hooks import processes, world

ROUNDS = 5
ONE, MANY = 1, 32
COUNTS = {ONE: 120, MANY: 400}
PATH = "/v1/chat/completions"
MASTER_KEY = "sk-bench-" + secrets.token_hex(16)
NOT_LIMITING = Limits(
    requests_per_minute=10**6, tokens_per_minute=10**9, concurrency=10**4, monthly_spend_micro=10**14
)


def fresh_secrets() -> dict[str, str]:
    """What a gateway needs to start, made for this run."""
    return {
        "TENANTRY_IDENTITY_KEYS": f"bench:{secrets.token_hex(32)}",
        "TENANTRY_SALT_SECRET": secrets.token_hex(32),
    }


def chat(model: str) -> bytes:
    messages = [{"role": "user", "content": "Say hello, please. " * 10}]
    return json.dumps({"model": model, "messages": messages, "max_tokens": 50}).encode()


@contextlib.contextmanager
def backend(environment: dict[str, str], log: Path) -> Iterator[str]:
    port = processes.free_port()
    command = [sys.executable, "-m", "tests.bench.standin_backend", "--port", str(port)]
    with processes.running(command, environment, log):
        url = f"http://127.0.0.1:{port}"
        processes.wait_for(lambda: processes.answers(url), seconds=30, what="the backend answers")
        yield url


@contextlib.contextmanager
def bare_litellm(
    environment: dict[str, str], folder: Path, backend_url: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    config = folder / "bare.yaml"
    model = {"model": "hosted_vllm/bench", "api_base": backend_url + "/v1", "api_key": "unused"}
    settings = {
        "model_list": [{"model_name": "bench", "litellm_params": model}],
        "general_settings": {"master_key": MASTER_KEY},
    }
    config.write_text(json.dumps(settings))
    port = processes.free_port()
    quiet = {
        "CONFIG_FILE_PATH": str(config),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_TELEMETRY": "False",
    }
    ours = {"DATABASE_URL", "REDIS_URL"}
    kept = {name: value for name, value in environment.items() if name not in ours}
    command = [sys.executable, "-m", "uvicorn", "litellm.proxy.proxy_server:app", "--port", str(port)]
    command += ["--log-level", "warning", "--no-access-log", "--no-server-header", "--backlog", "2048"]
    with processes.running(command, {**kept, **quiet}, folder / "bare.log") as process:
        url = f"http://127.0.0.1:{port}"
        processes.wait_for(
            lambda: processes.answers(url + "/health/liveliness"),
            seconds=processes.START_SECONDS,
            what="bare LiteLLM answers",
        )
        yield url, process


def publish(client: "redis.Redis", backend_url: str) -> str:
    """One tenant that meets every limit and no refusal; its key's secret."""
    tenant = world.tenant("bench", {"bench": world.route("a" * 64)}, limits=NOT_LIMITING)
    key, secret = world.api_key(tenant.id, limits=NOT_LIMITING)
    client.sadd(keys.WORKERS, "worker-1")
    client.set(keys.worker("worker-1"), encode_record(world.worker(backend_url)))
    client.set(keys.spend_known(tenant.id), 1)
    client.set(keys.SNAPSHOT, encode_snapshot(world.snapshot(1, [tenant], [key])))
    return secret


def rss_mib(process: "subprocess.Popen[bytes]") -> float:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    message = "no VmRSS"
    raise RuntimeError(message)


def measure(targets: dict[str, tuple[str, bytes]]) -> dict[tuple[str, int], list[Round]]:
    results: dict[tuple[str, int], list[Round]] = {}
    for url, request in targets.values():
        run(url, request, concurrency=MANY, count=100)
    for turn in range(ROUNDS):
        order = list(targets) if turn % 2 == 0 else list(reversed(targets))
        for concurrency, count in COUNTS.items():
            for name in order:
                url, request = targets[name]
                one = run(url, request, concurrency=concurrency, count=count)
                results.setdefault((name, concurrency), []).append(one)
                sys.stdout.write(
                    f"round {turn + 1} {name:>8} x{concurrency:<3} p50 {one.p50_ms:7.2f} ms"
                    f"  {one.per_second:7.1f}/s\n"
                )
                sys.stdout.flush()
    return results


def summary(results: dict[tuple[str, int], list[Round]], rss: dict[str, float]) -> dict[str, float]:
    """Medians over the rounds; ratios are gateway / bare LiteLLM."""

    def p50(name: str) -> float:
        return statistics.median(one.p50_ms for one in results[name, ONE])

    def throughput(name: str) -> float:
        return statistics.median(one.per_second for one in results[name, MANY])

    figures = {
        "latency_p50_ratio": p50("gateway") / p50("bare"),
        "throughput_ratio": throughput("gateway") / throughput("bare"),
        "rss_ratio": rss["gateway"] / rss["bare"],
        "gateway_p50_ms": p50("gateway"),
        "bare_p50_ms": p50("bare"),
        "backend_p50_ms": p50("backend"),
        "added_latency_ms": p50("gateway") - p50("backend"),
        "gateway_per_second": throughput("gateway"),
        "bare_per_second": throughput("bare"),
        "gateway_rss_mib": rss["gateway"],
        "bare_rss_mib": rss["bare"],
    }
    return {name: round(value, 3) for name, value in figures.items()}


def bench() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        own = processes.OwnRedis(folder)
        own.start()
        stack.callback(own.kill)
        environment = {
            **processes.environment(folder, own.url),
            **fresh_secrets(),
        }
        backend_url = stack.enter_context(backend(environment, folder / "backend.log"))
        client = stack.enter_context(redis.Redis.from_url(own.url))
        secret = publish(client, backend_url)
        bare_url, bare = stack.enter_context(bare_litellm(environment, folder, backend_url))
        gateway_url, gateway = stack.enter_context(
            processes.gateway_process(environment, folder / "gateway.log")
        )
        processes.wait_for(
            lambda: processes.answers(gateway_url + "/readyz"), seconds=10, what="the gateway is ready"
        )
        results = measure(
            {
                "bare": (bare_url, request_bytes(PATH, MASTER_KEY, chat("bench"))),
                "gateway": (gateway_url, request_bytes(PATH, secret, chat("bench"))),
                "backend": (backend_url, request_bytes(PATH, "none", chat("bench"))),
            }
        )
        return summary(results, {"gateway": rss_mib(gateway), "bare": rss_mib(bare)})


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.stdout.write(json.dumps(bench()) + "\n")
