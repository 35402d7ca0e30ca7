"""Measurements of the difference «temporal dependency», for differences that build on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.params import ParamsError

FILE = Path("differences/results/temporal_dependency.json")
REMEDY = "dvc repro differences/dvc.yaml:difference@temporal_dependency"


@dataclass(frozen=True)
class Recorded:
    """A result of temporal_dependency.

    Attributes:
        budget: the settings it was measured with.
        told: by network, what it was told about T.
        long: by network, one value for each seed: mean accuracy over the lags that count.
    """

    budget: Mapping[str, Any]
    told: Mapping[str, str]
    long: Mapping[str, Sequence[float]]


def read_result() -> dict[str, Any]:
    """Reads the result in differences/results. Raises ParamsError where there is none."""
    try:
        result: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{FILE} is missing; run `{REMEDY}` first") from None
    return result


def temporal_dependency() -> Recorded:
    """Reads of the result what other differences build on. Raises ParamsError where there is none."""
    result = read_result()
    budget, curves = result["budget"], result["curves"]
    counting = [place for place, lag in enumerate(curves["lags"]) if lag >= budget["long"]]
    long = {
        name: [sum(row[place] for place in counting) / len(counting) for row in rows]
        for name, rows in curves["by_lag"].items()
    }
    return Recorded(budget, result["told"], long)
