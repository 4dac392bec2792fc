"""The gateway with all its hooks against LiteLLM: the same uvicorn settings, the same stand-in backend.

LiteLLM twice: bare (no limits at all), and with its own limiter on Redis. The gateway serves a snapshot of
10,000 tenants and checks every kind of limit at every scope.

``python -m tests.bench.bench_gateway`` prints progress, and as its last line one JSON object.
Rounds are interleaved, so that whatever else the machine does meets all alike.
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
from typing import Any
from urllib.parse import urlsplit

import msgspec
import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import encode_record
from gateway_hooks.contract.snapshot import App, Limits, encode_snapshot
from tests.bench import admission_figures, pii_figures
from tests.bench.load import Round, request_bytes, run
from tests.gateway_hooks import processes, world

ROUNDS = 5
ONE, MANY = 1, 32
COUNTS = {ONE: 120, MANY: 400}
PATH = "/v1/chat/completions"
MASTER_KEY = "sk-bench-" + secrets.token_hex(16)
TENANTS = 10_000
NOT_LIMITING = Limits(
    requests_per_minute=10**6,
    tokens_per_minute=10**9,
    concurrency=10**4,
    kv_bytes=10**14,
    context_tokens=10**6,
    daily_spend_micro=10**14,
    monthly_spend_micro=10**14,
)
LIMITER_AUTH = """
from litellm.proxy._types import UserAPIKeyAuth

async def authenticate(request, api_key):
    return UserAPIKeyAuth(
        api_key=api_key, user_id="bench", team_id="bench", rpm_limit=10**6, tpm_limit=10**9,
        max_parallel_requests=10**4, team_rpm_limit=10**6, team_tpm_limit=10**9,
    )
"""


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
def litellm_proxy(
    environment: dict[str, str], folder: Path, name: str, backend_url: str, settings: dict[str, Any]
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """LiteLLM as its users run it; ``settings`` go on top of one model and a master key."""
    model = {"model": "hosted_vllm/bench", "api_base": backend_url + "/v1", "api_key": "unused"}
    config = folder / f"{name}.yaml"
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "bench", "litellm_params": model}],
                "litellm_settings": settings.get("litellm", {}),
                "general_settings": {"master_key": MASTER_KEY, **settings.get("general", {})},
            }
        )
    )
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
    with processes.running(command, {**kept, **quiet}, folder / f"{name}.log") as process:
        url = f"http://127.0.0.1:{port}"
        processes.wait_for(
            lambda: processes.answers(url + "/health/liveliness"),
            seconds=processes.START_SECONDS,
            what=f"LiteLLM ({name}) answers",
        )
        yield url, process


def limiter_settings(folder: Path, redis_url: str) -> dict[str, Any]:
    """LiteLLM's own limiter, per key and team, in Redis; nothing is cached there but its counters."""
    (folder / "limiter_auth.py").write_text(LIMITER_AUTH)
    parts = urlsplit(redis_url)
    cache = {"type": "redis", "host": parts.hostname, "port": parts.port, "supported_call_types": []}
    return {
        "litellm": {"cache": True, "cache_params": cache},
        "general": {"custom_auth": "limiter_auth.authenticate"},
    }


def publish(client: "redis.Redis", backend_url: str) -> str:
    """10,000 tenants, of which one asks: it meets every limit and no refusal. Its key's secret."""
    neighbours = [
        world.tenant(f"n{number}", {"bench": world.route("b" * 64)}) for number in range(TENANTS - 1)
    ]
    tenant = world.tenant("bench", {"bench": world.route("a" * 64)}, limits=NOT_LIMITING)
    key, secret = world.api_key(tenant.id, limits=NOT_LIMITING)
    others = [world.api_key(entry.id)[0] for entry in neighbours]
    client.sadd(keys.WORKERS, "worker-1")
    record = world.worker(backend_url, max_num_seqs=256, kv_cache_tokens=10**7)
    client.set(keys.worker("worker-1"), encode_record(record))
    client.set(keys.spend_known(tenant.id), 1)
    snapshot = world.snapshot(1, [tenant, *neighbours], [key, *others])
    app = App(id=key.app_id, tenant_id=tenant.id, name="bench", limits=NOT_LIMITING)
    pools = {
        name: msgspec.structs.replace(pool, kv_bytes_per_token=1024) for name, pool in snapshot.pools.items()
    }
    snapshot = msgspec.structs.replace(snapshot, apps={app.id: app}, pools=pools)
    client.set(keys.SNAPSHOT, encode_snapshot(snapshot))
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
        "own_limiter_latency_ratio": p50("gateway") / p50("limiter"),
        "own_limiter_throughput_ratio": throughput("gateway") / throughput("limiter"),
        "added_latency_ms": p50("gateway") - p50("backend"),
        **{f"{name}_p50_ms": p50(name) for name in ("gateway", "bare", "limiter", "backend")},
        **{f"{name}_per_second": throughput(name) for name in ("gateway", "bare", "limiter")},
        **{f"{name}_rss_mib": value for name, value in rss.items()},
    }
    return {name: round(value, 3) for name, value in figures.items()}


def bench() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        own = processes.OwnRedis(folder)
        limiter_redis = processes.OwnRedis(folder)
        for server in (own, limiter_redis):
            server.start()
            stack.callback(server.kill)
        environment = {
            **processes.environment(folder, own.url),
            **fresh_secrets(),
        }
        backend_url = stack.enter_context(backend(environment, folder / "backend.log"))
        client = stack.enter_context(redis.Redis.from_url(own.url))
        secret = publish(client, backend_url)
        bare_url, bare = stack.enter_context(litellm_proxy(environment, folder, "bare", backend_url, {}))
        limiter_url, limiter = stack.enter_context(
            litellm_proxy(
                environment, folder, "limiter", backend_url, limiter_settings(folder, limiter_redis.url)
            )
        )
        gateway_url, gateway = stack.enter_context(
            processes.gateway_process(environment, folder / "gateway.log")
        )
        processes.wait_for(
            lambda: processes.answers(gateway_url + "/readyz"), seconds=10, what="the gateway is ready"
        )
        asked = request_bytes(PATH, MASTER_KEY, chat("bench"))
        results = measure(
            {
                "bare": (bare_url, asked),
                "limiter": (limiter_url, asked),
                "gateway": (gateway_url, request_bytes(PATH, secret, chat("bench"))),
                "backend": (backend_url, request_bytes(PATH, "none", chat("bench"))),
            }
        )
        require_counters(limiter_redis.url)
        made = {"gateway": rss_mib(gateway), "bare": rss_mib(bare), "limiter": rss_mib(limiter)}
        return summary(results, made) | rooms(own.url)


def require_counters(redis_url: str) -> None:
    """LiteLLM's limiter did count in Redis, or the comparison would be with nothing."""
    with redis.Redis.from_url(redis_url) as client:
        if not client.dbsize():
            message = "LiteLLM's limiter left nothing in Redis"
            raise RuntimeError(message)


def rooms(redis_url: str) -> dict[str, float]:
    """The figures of single rooms, measured without the gateway around them."""
    return {**admission_figures.figures(redis_url), **pii_figures.figures()}


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.stdout.write(json.dumps(bench()) + "\n")
