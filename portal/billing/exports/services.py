"""Builds an export and writes it, whole or not at all."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from django.db import connection, transaction

from portal.billing.errors import ExportError
from portal.billing.exports.lines import focus_lines
from portal.billing.exports.metadata import metadata_of
from portal.billing.exports.workbook import as_workbook
from portal.billing.exports.writers import as_csv, as_parquet
from portal.billing.models import BillingPeriod, PeriodState
from portal.billing.selectors import tenant_summary, worker_bills

Format = Literal["focus-csv", "focus-parquet", "xlsx"]
FORMATS: tuple[Format, ...] = get_args(Format)

_ENDINGS: dict[Format, str] = {
    "focus-csv": "focus-1.2.csv",
    "focus-parquet": "focus-1.2.parquet",
    "xlsx": "xlsx",
}
CONTENT_TYPES: dict[Format, str] = {
    "focus-csv": "text/csv; charset=utf-8",
    "focus-parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@dataclass(frozen=True, kw_only=True)
class Export:
    """``name`` says ``provisional`` while the period is open."""

    name: str
    data: bytes
    metadata_name: str
    metadata: bytes


def build_export(period: BillingPeriod, chosen: Format) -> Export:
    """The period as one moment shows it."""
    with transaction.atomic():
        _one_moment()
        period = BillingPeriod.objects.get(pk=period.pk)
        lines = list(focus_lines(period))
        match chosen:
            case "focus-csv":
                data = as_csv(lines)
            case "focus-parquet":
                data = as_parquet(lines)
            case "xlsx":
                data = as_workbook(
                    period, tenants=tenant_summary(period), lines=lines, bills=worker_bills(period)
                )
        mark = "" if period.state == PeriodState.CLOSED else "-provisional"
        name = f"chargeback-{period.month}{mark}.{_ENDINGS[chosen]}"
        metadata = metadata_of(period, lines=lines, file_name=name, data=data)
    return Export(name=name, data=data, metadata_name=f"{name}.metadata.json", metadata=metadata)


def write_export(export: Export, folder: Path) -> tuple[Path, Path]:
    """Both files, each replaced in one step, the data last. Raises ``ExportError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        metadata = _replace(folder / export.metadata_name, export.metadata)
        return _replace(folder / export.name, export.data), metadata
    except OSError as error:
        message = f"Cannot write into {folder}: {error.strerror or error}."
        raise ExportError(message, code="folder_unwritable") from error


def _replace(target: Path, data: bytes) -> Path:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def _one_moment() -> None:
    """All queries of the transaction see the same data. Inside an outer transaction that one decides."""
    if not connection.savepoint_ids:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
