"""Advice on one experiment from measured differences: which family to expect ahead, and what to set.

Every sentence carries the row that backs it. A difference that is not decided gives no advice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.tables import Table
from pipeline.differences.networks import field
from pipeline.differences.uses import TEXTBOOK
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED
from pipeline.params import Candidate, Choices, Experiment, Range

Results = Mapping[str, Mapping[str, Any]]  # name of a difference → its result
FAMILIES = {"cnn": "convolutional", "rnn": "recurrent"}
CHANCE = 0.001  # that any of the lags of a series without memory counts


@dataclass(frozen=True)
class Advice:
    """A sentence and the measured row behind it."""

    sentence: str
    row: str


@dataclass(frozen=True)
class Dependence:
    """The reach, in steps back, of the dependence of an experiment's answer on its input, and how it is known."""

    steps: int
    how: str


def advice(
    experiment: Experiment, candidates: Mapping[str, Candidate], card: Mapping[str, Any], train: Table, results: Results
) -> list[Advice]:
    """Lists all advice that the results give on an experiment."""
    decided = {name: result for name, result in results.items() if result["verdict"] != NOT_DECIDED}
    sentences = [*_family(experiment.task, results)]
    if card["shape"] == "sequence":
        far = dependence(card, train)
        sentences += _reach(candidates, far, decided)
        sentences += _lookback(card, far, decided)
        sentences += _chain(card, train, decided)
        sentences += _start(candidates, decided)
    else:
        sentences += _grid(decided)
    return sentences


def dependence(card: Mapping[str, Any], train: Table) -> Dependence:
    """Estimates it for a forecast by the autocorrelation of train, else by the length of nearly all sequences."""
    if card["task"] == "forecasting":
        return _by_correlation(train["values"].numpy(), int(card["lookback"]))
    longest = int(np.quantile(lengths_of(train), 0.95))
    return Dependence(longest, f"95 % of the sequences of train have at most {longest} steps")


def lengths_of(train: Table) -> np.ndarray:
    """Returns the (N,) lengths of sequences: the tensor of them by which batches are grouped first."""
    for name in ("lengths", "source_lengths"):
        if name in train:
            return np.asarray(train[name].numpy())
    raise ValueError("the tables of this experiment hold no lengths")


def _by_correlation(values: np.ndarray, lookback: int) -> Dependence:
    """Finds the farthest lag whose partial autocorrelation is beyond chance, in any of the columns (T, S)."""
    from scipy import stats
    from statsmodels.tsa.stattools import pacf

    farthest = 1
    for column in values.reshape(len(values), -1).T:
        known = column[np.isfinite(column)]
        lags = min(2 * lookback, len(known) // 3)
        if lags < 1 or known.std() == 0:
            continue
        bound = stats.norm.ppf(1 - CHANCE / (2 * lags)) / np.sqrt(len(known))
        beyond = np.abs(pacf(known, nlags=lags, method="burg")[1:]) > bound
        farthest = max(farthest, int(np.flatnonzero(beyond).max(initial=0)) + 1)
    return Dependence(farthest, f"the partial autocorrelation of train is beyond chance up to lag {farthest}")


def _family(task: str, results: Results) -> Iterator[Advice]:
    """Names the family to expect ahead on this use: its own row decides, whatever the verdict on all uses is."""
    effect = results.get("uses", {}).get("effects", {}).get(task)
    if effect is None or effect["verdict"] not in (HOLDS, DOES_NOT_HOLD):
        return
    named = TEXTBOOK[task]
    ahead = named if effect["verdict"] == HOLDS else {"cnn": "rnn", "rnn": "cnn"}[named]
    yield Advice(
        f"Expect the {FAMILIES[ahead]} family ahead on {task.replace('_', ' ')}.", row("uses", results["uses"], task)
    )


def _reach(candidates: Mapping[str, Candidate], far: Dependence, decided: Results) -> Iterator[Advice]:
    """Whether the receptive fields of convolutional candidates cover the dependence."""
    result = decided.get("temporal_dependency")
    if result is None:
        return
    backing = row("temporal_dependency", result)
    if result["verdict"] == HOLDS:
        yield Advice(f"Prefer a recurrent network: {far.how}.", backing)
        return
    for name, candidate in candidates.items():
        if candidate.family != "cnn":
            continue
        seen = largest_field(candidate)
        if seen is None:
            continue
        reason = f"{name} sees at most {seen} steps; {far.how}"
        if seen < far.steps:
            yield Advice(f"Give {name} more depth or wider kernels: {reason}.", backing)
        else:
            yield Advice(f"The receptive field of {name} is wide enough: {reason}.", backing)


def _lookback(card: Mapping[str, Any], far: Dependence, decided: Results) -> Iterator[Advice]:
    """Whether the window that a forecast sees covers the dependence."""
    result = decided.get("temporal_dependency")
    if result is not None and card["task"] == "forecasting" and far.steps > int(card["lookback"]):
        reason = f"it is {card['lookback']}, and {far.how}"
        yield Advice(f"Raise settings.lookback: {reason}.", row("temporal_dependency", result))


def largest_field(candidate: Candidate) -> int | None:
    """Computes the receptive field of the largest values that the search may pick; None where it is not known.

    The kernels of `textcnn` lie in another way than those of the other architectures.
    """
    architecture = candidate.parameters.get("architecture")
    if "textcnn" in (architecture.choices if isinstance(architecture, Choices) else [architecture]):
        return None
    sizes = {name: _largest(candidate.parameters.get(name)) for name in ("kernel_size", "depth")}
    if any(value is None for value in sizes.values()):
        return None
    return field({"family": "cnn", **sizes})


def _largest(entry: Any) -> Any:
    if isinstance(entry, Choices):
        return max(value for value in entry.choices if isinstance(value, int | float))
    return entry.high if isinstance(entry, Range) else entry


def _chain(card: Mapping[str, Any], train: Table, decided: Results) -> Iterator[Advice]:
    """Warns of what recurrence costs on long sequences."""
    result = decided.get("parallelism")
    if result is None or result["verdict"] != HOLDS:
        return
    longest = int(card["lookback"]) if card["task"] == "forecasting" else int(lengths_of(train).max())
    sentence = f"A recurrent candidate computes up to {longest} steps one after another; `patch` joins some of them."
    yield Advice(sentence, row("parallelism", result))


def _start(candidates: Mapping[str, Candidate], decided: Results) -> Iterator[Advice]:
    """Advises against forget biases below 1, where the initialisation was measured to matter."""
    result = decided.get("variants")
    if result is None or result["verdict"] != "depends on the initialisation":
        return
    for name, candidate in candidates.items():
        bias = candidate.parameters.get("forget_bias")
        if candidate.family == "rnn" and isinstance(bias, int | float) and bias < 1:
            yield Advice(f"Set `forget_bias` of {name} to 1 or more, found {bias:g}.", row("variants", result))


def _grid(decided: Results) -> Iterator[Advice]:
    result = decided.get("data_types")
    if result is None or result["verdict"] not in (HOLDS, DOES_NOT_HOLD):
        return
    used = "gain more from" if result["verdict"] == HOLDS else "gain no more than recurrent ones from"
    yield Advice(f"Convolutions {used} the neighbourhood of pixels.", row("data_types", result))


def row(name: str, result: Mapping[str, Any], effect: str | None = None) -> str:
    """Describes a difference, its verdict and an effect with its interval: the main one unless another is named."""
    chosen = effect or result["order"][0]
    figures = result["effects"][chosen]
    low, high = figures["interval_995"]
    return (
        f"{name}: {result['verdict']}; {figures['statistic']}: {figures['value']:+.2f} "
        f"(99.5 %: {low:+.2f} to {high:+.2f} {figures['unit']})"
    )
