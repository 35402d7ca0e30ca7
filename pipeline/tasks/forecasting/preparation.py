"""Time series: parts in time order → gaps filled without looking ahead → splits → tables and card."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.splits import Shares, in_order, in_time, pool_name, shares_of_pool
from pipeline.data.statistics import column_statistics
from pipeline.data.steps import at_month_ends, irregular_steps, usual_step
from pipeline.data.tables import SPLITS, Prepared, schema
from pipeline.formats.contents import digests_of_times
from pipeline.formats.records import Series

ORIGIN = "origin of a forecast"  # the column of a request that marks it


def prepare_series(
    parts: Mapping[str, Series], split: Shares, *, lookback: int, horizon: int, season: int, missing: str
) -> Prepared:
    """Splits the rows by time, fills gaps by the rule `missing` and describes the series.

    The tables of validation and test begin with `context` rows of the time before them, so that their first forecast
    has its `lookback` rows. Rows before the first observation of every column are dropped from train. Raises
    ValueError if the parts do not follow each other in time or a split is too short for one forecast.
    """
    shares = shares_of_pool(parts, split)
    order = in_order(parts)
    records = _joined(parts, order)
    spans = _spans(parts, order, shares)
    observed = ~np.isnan(records.values)
    _check_observed(observed, spans, records.columns)
    filled, first = fill(records.values, RULES[missing], season)
    spans["train"] = (first, spans["train"][1])
    _check_lengths(spans, lookback, horizon, season, first)
    tables = {
        part: _table(filled, observed, records.times, max(first, start - (part != "train") * lookback), start, end)
        for part, (start, end) in spans.items()
    }
    start, end = spans["train"]
    seen = [column[~np.isnan(column)].tolist() for column in records.values[start:end].T]
    statistics = column_statistics(dict(zip(records.columns, seen, strict=True)))
    seconds, months = usual_step(records.times)
    card: dict[str, Any] = {
        "shape": "sequence",
        "schema": schema(tables),
        "split": _described(shares, order),
        "columns": records.columns,
        "step_seconds": seconds,
        "step_months": months,
        "month_ends": months is not None and at_month_ends(records.times),
        **_periods(records, observed, spans),
        **statistics,
        "lookback": lookback,
        "horizon": horizon,
        "season": season,
        "missing_rule": missing,
        "warnings": [*records.warnings, *_warnings(records, observed, statistics["ranges"], spans, first)],
    }
    digests = {part: digests_of_times(records.times[start:end]) for part, (start, end) in spans.items()}
    return Prepared(tables, card, _sent(records, spans["test"], horizon), digests)


def _sent(records: Series, test: tuple[int, int], horizon: int) -> pd.DataFrame:
    """Returns the series as a user has it, from its beginning; a forecast of test begins after each `origin` row."""
    rows, (start, end) = np.arange(test[1]), test
    frame = pd.DataFrame({"date": records.times[:end].astype("datetime64[s]").astype(str)})
    for place, name in enumerate(records.columns):
        frame[name] = records.values[:end, place]
    frame[ORIGIN] = (rows >= start - 1) & (rows < end - horizon)
    return frame


def fill(values: np.ndarray, rule: Callable[[np.ndarray, int], None], season: int) -> tuple[np.ndarray, int]:
    """Fills the gaps (NaN) of (T, C) values column by column with a rule of RULES, from earlier rows only.

    Returns the values and the first row from which every column has one; before it they may be NaN. Causal: the
    result up to row t is the same whatever comes after t. Raises ValueError for a column without any value.
    """
    filled = np.array(values, dtype=np.float64)
    first = 0
    for position, column in enumerate(filled.T, start=1):
        present = np.flatnonzero(~np.isnan(column))
        if not len(present):
            raise ValueError(f"column {position} has no value at all")
        first = max(first, int(present[0]))
        rule(column[present[0] :], season)
    return filled, first


def _fill_last(values: np.ndarray, season: int) -> None:
    """Repeats the last observation. values: (T,), observed at 0, filled in place."""
    latest = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))
    values[:] = values[latest]


def _fill_seasonal(values: np.ndarray, season: int) -> None:
    """Takes the value one season earlier, moved by what the last observation gained on the season before it.

    Where the series is not a season old, repeats the last observation. values: (T,), observed at 0, filled in place.
    """
    gaps = np.isnan(values)
    latest = np.maximum.accumulate(np.where(gaps, 0, np.arange(len(values))))
    for row in np.flatnonzero(gaps):
        last = latest[row]
        values[row] = values[last]
        if last >= season:
            values[row] += values[row - season] - values[last - season]


RULES: dict[str, Callable[[np.ndarray, int], None]] = {"last": _fill_last, "seasonal": _fill_seasonal}


def _joined(parts: Mapping[str, Series], order: list[str]) -> Series:
    """Joins all parts. Raises ValueError if columns differ or a part begins before the end of the one before."""
    for name, part in parts.items():
        if not isinstance(part, Series):
            raise ValueError(f"part {name} holds {type(part).__name__}; choose a data.format that reads series")
    for before, after in pairwise(order):
        columns = parts[before].columns
        if parts[after].columns != columns:
            raise ValueError(f"part {after} has the columns {parts[after].columns}, part {before} {columns}")
        end, start = parts[before].times[-1], parts[after].times[0]
        if start <= end:
            raise ValueError(
                f"part {after} begins at {start}, but part {before} ends at {end}; parts of a series follow each other "
                "in time (train, validation, test) and do not overlap: change their rows or files"
            )
    records = [parts[name] for name in order]
    return Series(
        np.concatenate([part.values for part in records]),
        np.concatenate([part.times for part in records]),
        records[0].columns,
        tuple(warning for part in records for warning in part.warnings),
    )


def _spans(parts: Mapping[str, Series], order: list[str], shares: Mapping[str, float]) -> dict[str, tuple[int, int]]:
    """Returns first row and end of every split among all rows."""
    lengths = {name: len(parts[name].times) for name in order}
    lengths |= in_time(lengths.pop(pool_name(parts)), shares)
    if "test" in shares and "validation" not in shares:
        raise ValueError(
            "split.test: found a share, but test comes after the published validation part: publish it, too"
        )
    ends = np.cumsum([lengths[part] for part in SPLITS]).tolist()
    return {part: (end - lengths[part], end) for part, end in zip(SPLITS, ends, strict=True)}


def _table(
    filled: np.ndarray, observed: np.ndarray, times: np.ndarray, begin: int, start: int, end: int
) -> dict[str, np.ndarray]:
    """Returns the rows from `begin` on; those before `start` are context."""
    return {
        "values": filled[begin:end].astype(np.float32),  # (context + T, C)
        "observed": observed[begin:end],  # (context + T, C)
        "times": times[begin:end].astype(np.int64),  # (context + T,), seconds since 1970
        "context": np.array([start - begin], dtype=np.int64),
    }


def _check_observed(observed: np.ndarray, spans: Mapping[str, tuple[int, int]], columns: list[str]) -> None:
    for part, (start, end) in spans.items():
        unseen = [columns[column] for column in np.flatnonzero(~observed[start:end].any(axis=0))]
        if end > start and unseen and (part == "train" or unseen == columns):
            raise ValueError(
                f"column {', '.join(map(repr, unseen))} has no observation in the {end - start} rows of {part}; "
                "leave it out of data.options.columns or split the series elsewhere"
            )


def _check_lengths(spans: Mapping[str, tuple[int, int]], lookback: int, horizon: int, season: int, first: int) -> None:
    needs = {
        "train": (
            max(lookback + horizon, season + 1),
            f"lookback {lookback} + horizon {horizon}, and more than a season of {season}",
        ),
        "validation": (horizon, f"horizon {horizon}"),
        "test": (horizon, f"horizon {horizon}"),
    }
    for part, (need, reason) in needs.items():
        count = max(spans[part][1] - spans[part][0], 0)
        if count < need:
            dropped = f" after {first} rows without an observation" if part == "train" and first else ""
            raise ValueError(
                f"{part} has {count} rows{dropped}, but needs {need} or more ({reason}); "
                "use a longer series, other shares or other settings"
            )


def _periods(records: Series, observed: np.ndarray, spans: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Returns rows, first and last time and missing values of every split, context not counted."""
    return {
        "counts": {part: end - start for part, (start, end) in spans.items()},
        "start": {part: str(records.times[start]) for part, (start, _) in spans.items()},
        "end": {part: str(records.times[end - 1]) for part, (_, end) in spans.items()},
        "missing": {
            part: dict(zip(records.columns, (~observed[start:end]).sum(axis=0).tolist(), strict=True))
            for part, (start, end) in spans.items()
        },
    }


def _described(shares: Mapping[str, float], order: list[str]) -> dict[str, Any]:
    if not shares:
        return {"kind": "published", "seed": None, "detail": "train, validation and test as published"}
    taken = ", then ".join(f"{part} {share:g}" for part, share in shares.items())
    published = [f"{part} as published" for part in order[1:]]
    detail = "; ".join([*published, f"the last rows of the part {order[0]}: {taken}, rounded down"])
    return {"kind": "time", "seed": None, "detail": detail}


def _warnings(
    records: Series,
    observed: np.ndarray,
    ranges: Mapping[str, list[float]],
    spans: Mapping[str, tuple[int, int]],
    first: int,
) -> Iterator[str]:
    if first:
        late = [records.columns[column] for column in np.flatnonzero(~observed[:first].any(axis=0))]
        yield f"the first {first} rows of train were dropped: nothing observed yet in {', '.join(late)}"
    for column, (low, high) in ranges.items():
        if low == high:
            yield f"column {column} is constant in train ({low:g})"
    for part, (start, end) in spans.items():
        for place in np.flatnonzero(~observed[start:end].any(axis=0)):
            yield f"column {records.columns[place]} has no observation in {part} and is not scored there"
    yield from irregular_steps(records.times)
