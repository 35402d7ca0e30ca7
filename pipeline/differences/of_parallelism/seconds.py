"""Seconds of a step of training: measured in interleaved blocks, so that a busy moment meets all networks alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pipeline.differences.networks import RECURRENT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A third colour of Okabe and Ito (2008), for recurrence without a chain.
SCAN: Mapping[str, Any] = {
    "color": "#009e73", "marker": "*", "linestyle": "--", "markersize": 8, "linewidth": 1.6,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """B sequences of T steps, on so many threads."""

    batch: int
    length: int
    threads: int


def median_seconds(
    networks: Mapping[str, nn.Module], cases: Sequence[Case], channels: int, blocks: int
) -> list[dict[str, Any]]:
    """Measures the median over the blocks of every network in every case, after one block that only warms up."""
    usual = torch.get_num_threads()
    seconds: dict[tuple[Case, str], list[float]] = {(case, name): [] for case in cases for name in networks}
    try:
        for block in range(blocks + 1):
            for (case, name), taken in seconds.items():
                torch.set_num_threads(case.threads)
                step = _step(networks[name], case, channels)
                if block:
                    taken.append(step)
    finally:
        torch.set_num_threads(usual)
    return [{"network": name, **asdict(case), "seconds": median(taken)} for (case, name), taken in seconds.items()]


def _step(network: nn.Module, case: Case, channels: int) -> float:
    """Measures the seconds of one pass forward and backward."""
    x = torch.zeros(case.batch, channels, case.length)
    begin = time.perf_counter()
    network(x).sum().backward()
    taken = time.perf_counter() - begin
    network.zero_grad()
    return taken


def draw_seconds(rows: Sequence[Mapping[str, Any]], scan: str) -> Figure:
    """Draws milliseconds by T: the constant number of positions on the left, single sequences on the right.

    `scan` is the network that is drawn as the third family.
    """
    from pipeline.differences.drawing import figure, legend, styles

    names = list(dict.fromkeys(row["network"] for row in rows))
    families = {name: "rnn" if name in RECURRENT else "cnn" for name in names if name != scan}
    chosen = {**styles(families), scan: SCAN}
    drawn = figure(7.0, 4.0)
    left, right = drawn.subplots(1, 2, sharey=True)
    for axes, single in ((left, False), (right, True)):
        shown = [row for row in rows if (row["batch"] == 1) == single]
        for name, threads in product(names, (1, 2)):
            points = [(row["length"], 1e3 * row["seconds"]) for row in shown
                      if (row["network"], row["threads"]) == (name, threads)]  # fmt: skip
            label = f"{name}, {threads} thread{'s'[: threads - 1]}"
            axes.plot(*zip(*points, strict=True), label=label, **{**chosen[name], "linestyle": "-:"[threads - 1]})
        lengths = sorted({row["length"] for row in shown})
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.set(xlabel="length T (steps)", title="single sequences" if single else "constant B·T")
    left.set_ylabel("milliseconds, forward and backward")
    legend(drawn, left)
    return drawn
