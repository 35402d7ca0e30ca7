"""Seconds of a step of training: measured in interleaved blocks, so that a busy moment meets all networks alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Case:
    """B sequences of T steps, on so many threads."""

    batch: int
    length: int
    threads: int


def median_seconds(
    networks: Mapping[str, nn.Module], cases: Sequence[Case], channels: int, blocks: int
) -> list[dict[str, Any]]:
    """The median over the blocks of every network in every case; a block before them warms up and does not count."""
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
    """Seconds of one pass forward and backward."""
    x = torch.zeros(case.batch, channels, case.length)
    begin = time.perf_counter()
    network(x).sum().backward()
    taken = time.perf_counter() - begin
    network.zero_grad()
    return taken


def draw_seconds(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Milliseconds by T: the constant number of positions on the left, single sequences on the right."""
    from pipeline.differences.drawing import figure, legend, styles

    drawn = figure(7.0, 4.0)
    left, right = drawn.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(row["network"] for row in rows))
    chosen = styles({name: "rnn" if name in ("rnn", "lstm", "gru") else "cnn" for name in names})
    for axes, single in ((left, False), (right, True)):
        for name in names:
            for threads, dashes in ((1, "-"), (2, ":")):
                points = [
                    row for row in rows
                    if row["network"] == name and row["threads"] == threads and (row["batch"] == 1) == single
                ]  # fmt: skip
                style = {**chosen[name], "linestyle": dashes}
                label = f"{name}, {threads} thread{'s'[: threads - 1]}"
                axes.plot(
                    [row["length"] for row in points], [1e3 * row["seconds"] for row in points], label=label, **style
                )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set(xlabel="length T (steps)", title="single sequences" if single else "constant B·T")
    left.set_ylabel("milliseconds, forward and backward")
    legend(drawn, left, columns=3)
    return drawn
