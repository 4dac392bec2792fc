"""What tests start from: rows with names of their own, made as the services make them."""

import io
import itertools
import json
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group, User

from portal.adapters.models import Adapter, AdapterVersion
from portal.billing.models import PriceBook, Rate
from portal.core.services import sync_roles
from portal.fleet.models import Pool
from portal.tenants.models import App, Tenant
from portal.tenants.services import IssuedKey, issue_key
from portal.tiers.models import Tier

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BASE_MODEL = "demo-model"
_number = itertools.count(1)


def make_pool(**fields: Any) -> Pool:
    values = {"name": f"pool-{next(_number)}", "base_model": BASE_MODEL, "model": "demo/model", **fields}
    return Pool.objects.create(**values)


def make_tier(**fields: Any) -> Tier:
    number = next(_number)
    return Tier.objects.create(**{"name": f"Tier {number}", "slug": f"tier-{number}", **fields})


def make_tenant(**fields: Any) -> Tenant:
    number = next(_number)
    values = {"name": f"Tenant {number}", "slug": f"tenant-{number}", **fields}
    values.setdefault("tier", None)
    return Tenant.objects.create(
        **{**values, "tier": values["tier"] or make_tier(), "pool": fields.get("pool") or make_pool()}
    )


def make_app(tenant: Tenant | None = None, **fields: Any) -> App:
    return App.objects.create(tenant=tenant or make_tenant(), **{"name": f"App {next(_number)}", **fields})


def make_key(app: App | None = None, *, now: datetime = NOW, **fields: Any) -> IssuedKey:
    return issue_key(app=app or make_app(), now=now, user=None, **fields)


def make_adapter(tenant: Tenant | None = None, **fields: Any) -> Adapter:
    return Adapter.objects.create(
        tenant=tenant or make_tenant(), **{"name": f"adapter-{next(_number)}", **fields}
    )


def make_version(adapter: Adapter | None = None, **fields: Any) -> AdapterVersion:
    """A version as if its artifact had been checked; there is no artifact."""
    adapter = adapter or make_adapter()
    number = next(_number)
    values = {
        "number": adapter.versions.count() + 1,
        "digest": f"{number:064x}",
        "size_bytes": 1000,
        "rank": 8,
        "target_modules": ["q_proj"],
        "base_model": adapter.tenant.pool.base_model,
        "dtype": "F32",
        "created_at": NOW,
    }
    return AdapterVersion.objects.create(adapter=adapter, **{**values, **fields})


def make_prices(*, base_model: str = BASE_MODEL, effective_from: datetime = NOW, **prices: str) -> Rate:
    """A published book with one rate for everyone."""
    book = PriceBook.objects.create(name="Prices", effective_from=effective_from)
    rate = Rate.objects.create(
        book=book,
        base_model=base_model,
        input_price=Decimal(prices.get("given", "0.50")),
        cached_input_price=Decimal(prices.get("cached", "0.10")),
        output_price=Decimal(prices.get("output", "1.50")),
    )
    PriceBook.objects.filter(pk=book.pk).update(published_at=effective_from)
    return rate


def make_user(role: str | None = None, *, superuser: bool = False) -> User:
    """Somebody of the console. ``role`` names one of the roles' groups."""
    sync_roles()
    user = User.objects.create_user(
        f"user-{next(_number)}", password="a-long-password", is_staff=True, is_superuser=superuser
    )
    if role:
        user.groups.add(Group.objects.get(name=role))
    return user


# Adapters' files


def lora_config(**settings: Any) -> bytes:
    values = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": BASE_MODEL,
        "bias": "none",
    }
    return json.dumps({**values, **settings}).encode()


Shapes = Mapping[str, tuple[int, ...]]
Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj"
LORA_SHAPES: Shapes = {f"{Q_PROJ}.lora_A.weight": (2, 8), f"{Q_PROJ}.lora_B.weight": (8, 2)}


def safetensors_bytes(shapes: Shapes = LORA_SHAPES, *, dtype: str = "F32", fill: int = 0) -> bytes:
    """A safetensors file of constant tensors. ``fill`` makes contents differ."""
    size = {"F32": 4, "F16": 2, "BF16": 2}.get(dtype, 8)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start = end
        end += size * int(Decimal(1) if not shape else _product(shape))
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes([fill]) * end


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result


def adapter_files(*, config: bytes | None = None, weights: bytes | None = None) -> dict[str, io.BytesIO]:
    return {
        "adapter_config.json": io.BytesIO(config if config is not None else lora_config()),
        "adapter_model.safetensors": io.BytesIO(weights if weights is not None else safetensors_bytes()),
    }


def write_adapter(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in adapter_files(**files).items():
        (folder / name).write_bytes(file.read())
    return folder
