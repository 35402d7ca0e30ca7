"""Results of the temporal dependency, from which the difference in training continues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pipeline.differences.networks import Design
from pipeline.differences.recorded import FILE, REMEDY, read_result
from pipeline.differences.temporal_dependency import Settings, designs
from pipeline.params import ParamsError


def earlier_results(seeds: int, lag: int) -> dict[str, Any]:
    """Reads the result of the temporal dependency.

    Raises ParamsError where it does not fit, with what to do.
    """
    known = read_result()
    budget = known["budget"]
    if budget["seeds"] != seeds or lag not in budget["lags"]:
        raise ParamsError(
            f"{FILE} must have {seeds} seeds, and {lag} among its lags, got {budget['seeds']} seeds and "
            f"lags {budget['lags']}; run `{REMEDY}` first"
        )
    return known


def recurrent_designs(known: Mapping[str, Any]) -> dict[str, Design]:
    """Returns the recurrent networks that were trained."""
    return _recurrent(json.dumps(known["budget"]))


@cache
def _recurrent(budget: str) -> dict[str, Design]:
    """Builds them; the search for their sizes takes a moment."""
    every = designs(Settings(**json.loads(budget)))
    return {name: design for name, design in every.items() if design["family"] == "rnn"}


def accuracy_at(known: Mapping[str, Any], name: str, lag: int) -> list[float]:
    """Returns the accuracy of a network at a lag, seed by seed."""
    place = known["curves"]["lags"].index(lag)
    return [float(row[place]) for row in known["curves"]["by_lag"][name]]
