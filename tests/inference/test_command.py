from pathlib import Path

from inference.command import vllm_command, vllm_environment
from tests.inference.live import demo_pool


def command(**changes: object) -> list[str]:
    return vllm_command(demo_pool(**changes), host="127.0.0.1", port=8101, device="cpu", shutdown_seconds=10)


def value(line: list[str], flag: str) -> str:
    return line[line.index(flag) + 1]


def test_the_command_is_made_of_the_pool() -> None:
    line = command(max_loras=3, max_cpu_loras=2, max_lora_rank=16)

    assert value(line, "--served-model-name") == "tenantry-demo"
    assert value(line, "--max-loras") == "3"
    assert value(line, "--max-cpu-loras") == "3", "vLLM refuses fewer registered than active adapters"
    assert value(line, "--max-lora-rank") == "16"
    assert value(line, "--middleware").endswith("DoorMiddleware")
    assert value(line, "--scheduler-cls").endswith("MeteringScheduler")
    assert "--enforce-eager" in line
    assert "--disable-fastapi-docs" in line


def test_a_pool_without_adapters_has_no_lora_flags() -> None:
    assert "--enable-lora" not in command(max_loras=0)


def test_vllm_inherits_no_secret_but_the_identity_keys() -> None:
    inherited = {
        "PATH": "/bin",
        "REDIS_URL": "redis://:password@host",
        "DATABASE_URL": "postgres://user:password@host/db",
        "TENANTRY_SECRET_KEY": "s",
        "TENANTRY_SALT_SECRET": "s",
        "TENANTRY_IDENTITY_KEYS": "k:00",
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_LOGGING_LEVEL": "DEBUG",
        "OMP_NUM_THREADS": "2",
    }

    environment = vllm_environment(demo_pool(), inherited, boot_file=Path("/boot.json"))

    assert environment["TENANTRY_IDENTITY_KEYS"] == "k:00"
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["VLLM_PLUGINS"] == ""
    absent = {"REDIS_URL", "DATABASE_URL", "TENANTRY_SECRET_KEY", "TENANTRY_SALT_SECRET"}
    assert not (absent | {"VLLM_SERVER_DEV_MODE", "VLLM_LOGGING_LEVEL"}) & set(environment)
    assert "k:00" not in " ".join(command())
