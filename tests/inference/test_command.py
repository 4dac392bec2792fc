from pathlib import Path

from inference.command import vllm_command, vllm_environment
from tests.inference.live import demo_pool


def command(device: str = "cpu", **changes: object) -> list[str]:
    return vllm_command(demo_pool(**changes), host="127.0.0.1", port=8101, device=device, shutdown_seconds=10)


def environment(inherited: dict[str, str], *, local_model: bool = True) -> dict[str, str]:
    return vllm_environment(demo_pool(), inherited, boot_file=Path("/boot.json"), local_model=local_model)


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


def test_on_a_gpu_the_cache_is_as_large_as_the_pool_says_or_as_vllm_likes() -> None:
    assert value(command("cuda", kv_cache_gib=3), "--kv-cache-memory-bytes") == str(3 << 30)
    assert "--kv-cache-memory-bytes" not in command("cuda", kv_cache_gib=0)
    assert "--kv-cache-memory-bytes" not in command("cpu", kv_cache_gib=3), "there a variable says it"


def test_on_a_gpu_graphs_are_captured_unless_the_pool_says_no() -> None:
    assert "--enforce-eager" not in command("cuda", enforce_eager=False)
    assert "--enforce-eager" in command("cuda", enforce_eager=True)


def test_a_model_in_a_folder_keeps_vllm_off_the_hub() -> None:
    made = environment({"HF_HUB_OFFLINE": "0", "HTTPS_PROXY": "http://proxy"}, local_model=True)

    assert (made["HF_HUB_OFFLINE"], made["TRANSFORMERS_OFFLINE"]) == ("1", "1")
    assert "HTTPS_PROXY" not in made


def test_a_model_of_the_hub_may_be_downloaded_as_the_caller_would() -> None:
    made = environment({"HF_TOKEN": "token", "HTTPS_PROXY": "http://proxy"}, local_model=False)

    assert not {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} & set(made)
    assert (made["HF_TOKEN"], made["HTTPS_PROXY"]) == ("token", "http://proxy")
    assert environment({"HF_HUB_OFFLINE": "1"}, local_model=False)["HF_HUB_OFFLINE"] == "1"


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

    made = environment(inherited)

    assert made["TENANTRY_IDENTITY_KEYS"] == "k:00"
    assert made["OMP_NUM_THREADS"] == "2"
    assert made["VLLM_PLUGINS"] == ""
    absent = {"REDIS_URL", "DATABASE_URL", "TENANTRY_SECRET_KEY", "TENANTRY_SALT_SECRET"}
    assert not (absent | {"VLLM_SERVER_DEV_MODE", "VLLM_LOGGING_LEVEL"}) & set(made)
    assert "k:00" not in " ".join(command())
