"""Writes lines as bytes. Equal lines give equal bytes: nothing here knows the time."""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from portal.billing.exports.columns import COLUMNS, PRECISION, SCALE, Column
from portal.billing.exports.lines import Line, Value


def as_csv(lines: Iterable[Line]) -> bytes:
    """RFC 4180, UTF-8; null is an empty field, decimals are plain with a point."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(column.name for column in COLUMNS)
    for line in lines:
        writer.writerow(csv_field(line.get(column.name)) for column in COLUMNS)
    return text.getvalue().encode()


def csv_field(value: Value) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        case Decimal():
            # Always with a point: readers that guess types take a column of whole numbers for integers.
            text = plain(value)
            return text if "." in text else f"{text}.0"
        case _:
            return str(value)


def plain(value: Decimal) -> str:
    """Digits with a point, no exponent, no zeros that say nothing."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def as_parquet(lines: Iterable[Line]) -> bytes:
    """decimal128 and UTC timestamps; Snappy, one row group order, no statistics of the writer's machine."""
    rows = list(lines)
    arrays = [
        pa.array([row.get(column.name) for row in rows], type=_arrow_type(column)) for column in COLUMNS
    ]
    table = pa.Table.from_arrays(arrays, schema=_schema())
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="snappy", store_schema=False)
    return buffer.getvalue()


def _schema() -> Any:
    return pa.schema([pa.field(column.name, _arrow_type(column)) for column in COLUMNS])


def _arrow_type(column: Column) -> Any:
    match column.kind:
        case "Decimal":
            return pa.decimal128(PRECISION, SCALE)
        case "Date/Time":
            return pa.timestamp("us", tz="UTC")
        case "Integer":
            return pa.int64()
        case _:
            return pa.string()
