"""Chargeback exports: FOCUS 1.2 as CSV and Parquet, and a workbook. Same data, same bytes."""
