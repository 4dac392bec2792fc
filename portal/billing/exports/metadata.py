"""What an export says about itself (FOCUS 1.2, metadata), beside the data and never inside it."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from django.db.models import Max

from portal.billing.exports.columns import COLUMNS, PRECISION, SCALE, Column
from portal.billing.exports.lines import Line
from portal.billing.exports.writers import plain
from portal.billing.models import BillingPeriod, LedgerEntry, PeriodState

FOCUS_VERSION = "1.2"
GENERATOR_VERSION = "1"
_SUMS = ("BilledCost", "EffectiveCost", "ContractedCost", "ListCost", "ConsumedQuantity", "x_GpuSeconds")


def metadata_of(period: BillingPeriod, *, lines: Sequence[Line], file_name: str, data: bytes) -> bytes:
    """JSON. ``CreationDate`` is the age of the data, not of the file, so that bytes repeat."""
    closed = period.state == PeriodState.CLOSED
    content = {
        "DataGenerator": {"DataGenerator": "Tenantry"},
        "Schema": {
            "SchemaId": _schema_id(),
            "FocusVersion": FOCUS_VERSION,
            "CreationDate": _data_time(period),
            "DataGeneratorVersion": GENERATOR_VERSION,
            "ColumnDefinition": [_definition(column) for column in COLUMNS],
        },
        "x_Dataset": {
            "File": file_name,
            "Sha256": hashlib.sha256(data).hexdigest(),
            "Rows": len(lines),
            "BillingPeriod": period.month,
            "Status": "final" if closed else "provisional",
            "Sums": _sums(lines),
            "RequestCount": sum(int(str(line["x_RequestCount"])) for line in lines),
        },
    }
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _schema_id() -> str:
    """Changes when a column does."""
    columns = ",".join(f"{column.name}:{column.kind}" for column in COLUMNS)
    return str(uuid5(NAMESPACE_URL, f"tenantry/focus/{FOCUS_VERSION}/{GENERATOR_VERSION}/{columns}"))


def _data_time(period: BillingPeriod) -> str:
    newest: datetime | None = period.closed_at
    if newest is None:
        entries = LedgerEntry.objects.filter(period=period)
        newest = entries.aggregate(newest=Max("created_at"))["newest"] or period.start
    return f"{newest.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _definition(column: Column) -> dict[str, Any]:
    definition: dict[str, Any] = {"ColumnName": column.name, "DataType": column.kind}
    if column.kind == "Decimal":
        definition |= {"NumericPrecision": PRECISION, "NumberScale": SCALE}
    if column.kind in {"String", "JSON"}:
        definition["StringEncoding"] = "UTF-8"
    if column.name == "Tags":
        definition["ProviderTagPrefixes"] = []
    return definition


def _sums(lines: Sequence[Line]) -> dict[str, dict[str, str]]:
    """By currency, then column."""
    sums: dict[str, dict[str, Decimal]] = {}
    for line in lines:
        own = sums.setdefault(str(line["BillingCurrency"]), dict.fromkeys(_SUMS, Decimal(0)))
        for name in _SUMS:
            value = line[name]
            own[name] += value if isinstance(value, Decimal) else 0
    return {
        currency: {name: plain(value) for name, value in own.items()}
        for currency, own in sorted(sums.items())
    }
