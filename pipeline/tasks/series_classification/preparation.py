"""Labelled series: records of all parts → gaps filled → splits → padded tables and card."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np

from pipeline.data.classes import Tables, class_numbers, duplicates, labelled_card, rare_classes
from pipeline.data.splits import BY_CONTENT, Shares, described, in_order, shares_of_pool, split_rows
from pipeline.data.statistics import column_statistics
from pipeline.data.tables import SPLITS, Prepared
from pipeline.formats.contents import digests_of
from pipeline.formats.csv import LARGEST
from pipeline.formats.padding import check_padding
from pipeline.formats.records import LabelledSeries
from pipeline.tasks.requests import request_of_series

Rows = Mapping[str, np.ndarray]  # of every split


def prepare_labelled_series(parts: Mapping[str, LabelledSeries], split: Shares, seed: int) -> Prepared:
    """Splits the series, class by class where the parts are not published, fills their gaps and describes them.

    Tables hold `values` (N, C, T), padded with zeros behind the `lengths` (N,), and `labels` (N,). Raises ValueError
    if the parts do not fit together, or a class is too small or not in train.
    """
    shares = shares_of_pool(parts, split)
    order = in_order(parts)
    _check_same_channels(parts, order)
    _check_sizes(parts, order)
    channels = parts[order[0]].channels
    raw = [series for name in order for series in parts[name].values]
    filled = [fill(series) for series in raw]
    names, labels = class_numbers(parts, order)
    sizes = {name: len(parts[name].labels) for name in order}
    units = digests_of(series.tobytes() for series in raw)
    rows = split_rows(sizes, shares, seed, units, classes=names, labels=labels)
    tables = {
        part: {**padded([filled[row] for row in rows[part]]), "labels": labels[rows[part]], "rows": rows[part]}
        for part in SPLITS
    }
    train = [filled[row] for row in rows["train"]]
    steps = [np.concatenate([series[place] for series in train]).tolist() for place in range(len(channels))]
    card = labelled_card(tables, names) | column_statistics(dict(zip(channels, steps, strict=True)))
    card |= {
        "shape": "sequence",
        "split": described(shares, order, "content", BY_CONTENT, seed),
        "columns": channels,
        "steps": {part: [int(end(table["lengths"])) for end in (min, max)] for part, table in tables.items()},
        "missing": _missing(raw, rows, channels),
        "missing_rule": "linear",
        "warnings": [
            *(warning for name in order for warning in parts[name].warnings),
            *duplicates(_hashes(tables), "series", "value"),
            *rare_classes(card["class_counts"], "example", "examples"),
            *_gaps(raw, rows),
            *_constant(train, channels),
        ],
    }
    requests = request_of_series([raw[row] for row in rows["test"]], card)
    return Prepared(tables, card, requests, {part: units[rows[part]] for part in SPLITS})


def fill(values: np.ndarray) -> np.ndarray:
    """Fills the gaps (NaN) of every channel of (C, T) along a straight line, at its ends by the nearest value.

    A series is labelled as a whole, so that a gap may see what comes behind it. Every channel needs one value.
    """
    filled = np.array(values, dtype=np.float64)
    steps = np.arange(filled.shape[1])
    for channel in filled:
        gaps = np.isnan(channel)
        if gaps.any():
            channel[gaps] = np.interp(steps[gaps], steps[~gaps], channel[~gaps])
    return filled


def padded(series: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Joins series (C, T) in one array (N, C, longest) float32 with zeros behind them; returns their lengths, too."""
    lengths = np.array([values.shape[1] for values in series], dtype=np.int64)
    check_padding(lengths, 4 * len(series[0]))
    table = np.zeros((len(series), len(series[0]), int(lengths.max())), dtype=np.float32)
    for row, values in zip(table, series, strict=True):
        row[:, : values.shape[1]] = values
    return {"values": table, "lengths": lengths}


def _check_same_channels(parts: Mapping[str, LabelledSeries], order: list[str]) -> None:
    for name in order:
        part, first = parts[name], parts[order[0]]
        if not isinstance(part, LabelledSeries):
            kind = type(part).__name__
            raise ValueError(f"part {name} holds {kind}; choose a data.format that reads labelled series, such as ts")
        if part.channels != first.channels:
            raise ValueError(
                f"series of all parts must have the same channels: part {order[0]} has {len(first.channels)}, "
                f"part {name} {len(part.channels)}"
            )


def _check_sizes(parts: Mapping[str, LabelledSeries], order: list[str]) -> None:
    """Raises ValueError for a number that the tables cannot hold, such as 1e300 in the place of a missing value."""
    for name in order:
        for number, series in enumerate(parts[name].values, start=1):
            for channel, step in np.argwhere(np.abs(series) > LARGEST):
                raise ValueError(
                    f"part {name}, series {number}, {parts[name].channels[channel]}: found {series[channel, step]:g}; "
                    f"allowed: numbers up to {LARGEST:g}, or ? where one is missing"
                )


def _missing(raw: list[np.ndarray], rows: Rows, channels: list[str]) -> dict[str, dict[str, int]]:
    """Counts the missing values of every split and channel."""
    counted = np.array([np.isnan(series).sum(axis=1) for series in raw])  # (N, C)
    return {part: dict(zip(channels, counted[rows[part]].sum(axis=0).tolist(), strict=True)) for part in SPLITS}


def _hashes(tables: Tables) -> dict[str, list[bytes]]:
    return {
        part: [
            hashlib.blake2b(np.ascontiguousarray(values[:, :length]).tobytes(), digest_size=16).digest()
            for values, length in zip(table["values"], table["lengths"], strict=True)
        ]
        for part, table in tables.items()
    }


def _gaps(raw: list[np.ndarray], rows: Rows) -> Iterator[str]:
    for part in SPLITS:
        gaps = [int(np.isnan(raw[row]).sum()) for row in rows[part]]
        if any(gaps):
            count = sum(map(bool, gaps))
            yield f"{sum(gaps)} missing values in {count} of {len(gaps)} series of {part} were filled by straight lines"


def _constant(train: list[np.ndarray], channels: list[str]) -> Iterator[str]:
    for place, name in enumerate(channels):
        flat = sum(bool((series[place] == series[place, 0]).all()) for series in train)
        if flat:
            yield f"channel {name} is constant in {flat} of {len(train)} series of train"
