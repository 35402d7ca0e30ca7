"""Time series in CSV files: a date a row and a column for every series."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.formats.csv import csv_rows, moment, number, position, row_range
from pipeline.formats.records import Series


def read_series(path: Path, date: str, date_format: str, columns: list[str], rows: list[int] | None) -> Series:
    """Reads columns of a CSV file over its dates; see `formats.csv_series`. Raises ValueError with line and column."""
    if not isinstance(columns, list) or not columns or len(set(columns)) != len(columns):
        raise ValueError(f"data.options.columns: found {columns!r}; allowed: a list of different columns of {path}")
    if not isinstance(date_format, str):
        raise ValueError(
            f"data.options.date_format: found {date_format!r}; allowed: text such as '%Y-%m-%d', or ISO8601"
        )
    lines = csv_rows(path)
    _, header = next(lines, (0, [""]))
    places = [position(header, column, path) for column in (date, *columns)]
    times: list[np.datetime64] = []
    values: list[list[float]] = []
    for line, fields in lines:
        if len(fields) != len(header):
            raise ValueError(f"{path}, line {line}: found {len(fields)} columns where the header has {len(header)}")
        place, *fields = [fields[index] for index in places]
        times.append(np.datetime64(moment(place, date_format, f"{path}, line {line}, column {date!r}"), "s"))
        _check_order(times, f"{path}, line {line}, column {date!r}")
        named = zip(columns, fields, strict=True)
        values.append([number(field, f"{path}, line {line}, column {name!r}") for name, field in named])
    if not values:
        raise ValueError(f"{path}: the file has no rows below its header")
    chosen = row_range(rows, len(values), path)
    array = np.array(values, dtype=np.float64)[chosen]  # (T, C)
    for column in np.flatnonzero(np.isnan(array).all(axis=0)):
        where = f"rows {chosen.start} to {chosen.stop}"
        raise ValueError(f"{path}: column {columns[column]!r} has no value in {where}; leave the column out")
    return Series(array, np.array(times, dtype="datetime64[s]")[chosen], list(columns))


def _check_order(times: list[np.datetime64], place: str) -> None:
    if len(times) < 2 or times[-2] < times[-1]:
        return
    if times[-2] == times[-1]:
        raise ValueError(
            f"{place}: the date {times[-1]} occurs twice; keep one row for every date (which counts in whole seconds)"
        )
    raise ValueError(f"{place}: the date {times[-1]} comes after {times[-2]}; sort the rows by date")
