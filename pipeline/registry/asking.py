"""Asks a version of the registry for answers, in a fresh process with the code that travels with the version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.registry.store import Store, Version
from pipeline.serving import preflight
from pipeline.serving.rehearse import RehearsalFailed


class Refused(ValueError):
    """A request that the model cannot answer: `number` says which one."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def chosen_version(store: Store, alias: str, number: str | None) -> Version:
    """The version that a number or an alias names. Raises ValueError with those that can be named."""
    ours = [version.number for version in store.numbers.values() if version.ours]
    aliases = [name for name in store.aliases if store.at(name) is not None]
    if number is not None and number not in store.numbers:
        raise ValueError(f"--version: found {number}; {store.name} has the versions {', '.join(ours)}")
    chosen = store.at(alias) if number is None else store.numbers[number]
    if chosen is None:
        there = ", ".join([*aliases, *(f"version {number}" for number in ours)])
        reason = f"; `python -m pipeline history {store.name}` tells why" if alias == "champion" else ""
        raise ValueError(f"{store.name} has no {alias}; allowed: {there}{reason}")
    if not chosen.ours:
        raise ValueError(
            f"version {chosen.number} of {store.name} was not made by this pipeline (it has no content key); "
            f"allowed: {', '.join(ours) or 'none'}"
        )
    return chosen


def answers_of(folder: Path, requests: Sequence[pd.DataFrame], scratch: Path) -> list[pd.DataFrame]:
    """Returns what the servable folder answers to each of the requests; pickle is forbidden as in a pre-flight.

    Raises Refused for the first request that it cannot answer, and ValueError where it cannot be loaded.
    """
    files = {kind: [scratch / f"{kind}-{number}.parquet" for number in range(len(requests))] for kind in "qa"}
    for request, file in zip(requests, files["q"], strict=True):
        request.to_parquet(file, index=False)
    asked = {"requests": list(map(str, files["q"])), "answers": list(map(str, files["a"]))}
    try:
        outcome = preflight.probed(folder, asked, scratch, None)
    except RehearsalFailed as error:
        raise ValueError(f"the model gave no answer: {error}") from None
    if outcome["findings"] and outcome.get("refused"):
        raise Refused(outcome["asked"], outcome["findings"][0])
    if outcome["findings"]:
        raise ValueError(f"the model cannot be loaded: {outcome['findings'][0]}")
    return [pd.read_parquet(file) for file in files["a"]]
