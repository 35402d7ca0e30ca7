"""A user's files as requests to a served model, read so that every complaint names the file and, in tables, the line.

One function a kind of file; a task names its own in `reads`. A new kind is one function here and one line in READERS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.formats.csv import csv_rows, moment, number, position
from pipeline.formats.image import upright_image
from pipeline.formats.text import sentences
from pipeline.formats.ts import read_ts
from pipeline.tasks.requests import request_of_series

Options = Mapping[str, Any]  # `data.options` of the experiment in params.yaml: a file is read as the raw data were
Cell = Callable[[str, str], Any]  # makes a value of a text and its place in the file


def picture(file: Path, card: Mapping[str, Any], options: Options) -> pd.DataFrame:
    """Reads one picture of any size, depth and orientation."""
    upright_image(file)  # raises where it is none
    return pd.DataFrame({"image": pd.Series([file.read_bytes()], dtype=object)})


def recording(file: Path, card: Mapping[str, Any], options: Options) -> pd.DataFrame:
    """Reads one recording in WAV, FLAC or OGG, at any rate and of any number of channels."""
    from pipeline.formats.audio import read_sound

    read_sound(file, card["sample_rate"])  # raises where it is none
    return pd.DataFrame({"audio": pd.Series([file.read_bytes()], dtype=object)})


def text(file: Path, card: Mapping[str, Any], options: Options) -> pd.DataFrame:
    """Reads text in UTF-8, plain or gzipped, a sentence a line."""
    return request_of_texts(sentences(file.parent, file.name))


def request_of_texts(texts: list[str]) -> pd.DataFrame:
    """Builds the request of a task that reads text."""
    return pd.DataFrame({"text": pd.Series(texts, dtype=object)})


def history(file: Path, card: Mapping[str, Any], options: Options) -> pd.DataFrame:
    """Reads a CSV file like that of the training data: a date a row and a column for every series."""
    date, form = options.get("date", "date"), options.get("date_format", "ISO8601")

    def dated(field: str, place: str) -> str:
        return moment(field, form, place).strftime("%Y-%m-%d %H:%M:%S")

    return _table(file, {date: dated, **dict.fromkeys(card["columns"], number)}).rename(columns={date: "date"})


def series(file: Path, card: Mapping[str, Any], options: Options) -> pd.DataFrame:
    """Reads a .ts file, whose labels are not looked at, or a CSV file: a row a step, a column for every channel.

    A column `series` names the series that a row belongs to; without it the file is one series.
    """
    if ".ts" in file.suffixes:
        records = read_ts(file, labelled=False)
        if len(records.channels) != len(card["columns"]):
            raise ValueError(f"{file}: found {len(records.channels)} channels; the model knows {len(card['columns'])}")
        return request_of_series(records.values, card)
    channels: dict[str, Cell] = dict.fromkeys(card["columns"], number)
    if "series" in _header(file):
        return _table(file, {"series": _named, **channels})
    request = _table(file, channels)
    request.insert(0, "series", file.stem)
    return request


def draws(file: Path, card: Mapping[str, Any], options: Options) -> pd.DataFrame:
    """Reads a CSV file with the column `samples` (how many pictures) and perhaps `label` and `seed`, empty or not."""

    def whole(field: str, place: str) -> int:
        value = number(field, place)
        if not value.is_integer():  # a missing number is none either
            raise ValueError(f"{place}: found {field!r}; allowed: a whole number")
        return int(value)

    def seed(field: str, place: str) -> float:
        return float(whole(field, place)) if field.strip() else nan

    cells: dict[str, Cell] = {"samples": whole, "label": lambda field, place: field.strip() or None, "seed": seed}
    header = _header(file)
    table = _table(file, {name: cell for name, cell in cells.items() if name in header or name == "samples"})
    if "label" in table:
        table["label"] = table["label"].astype(object).where(table["label"].notna(), None)
    return table


READERS: dict[str, Callable[[Path, Mapping[str, Any], Options], pd.DataFrame]] = {
    "picture": picture,
    "recording": recording,
    "text": text,
    "history": history,
    "series": series,
    "draws": draws,
}


def _header(file: Path) -> list[str]:
    return [name.strip() for name in next(csv_rows(file), (0, [""]))[1]]


def _table(file: Path, cells: Mapping[str, Cell]) -> pd.DataFrame:
    """Reads the named columns of a CSV file with a header. Raises ValueError with the line and column of the fault."""
    header = _header(file)
    places = {name: position(header, name, file) for name in cells}
    columns: dict[str, list[Any]] = {name: [] for name in cells}
    rows = csv_rows(file)
    next(rows, None)
    for line, fields in rows:
        if len(fields) != len(header):
            raise ValueError(f"{file}, line {line}: found {len(fields)} columns where the header has {len(header)}")
        for name, place in places.items():
            columns[name].append(cells[name](fields[place], f"{file}, line {line}, column {name!r}"))
    table = pd.DataFrame(columns)
    if table.empty:
        raise ValueError(f"{file}: the file has no rows below its header")
    return table


def _named(field: str, place: str) -> str:
    if not field.strip():
        raise ValueError(f"{place}: the name of the series is missing")
    return field.strip()
